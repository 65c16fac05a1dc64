"""Handlers of jobs that only the tests have."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import OperationalError

from core.errors import Conflict, Unavailable

if TYPE_CHECKING:  # settings name these handlers before the applications are loaded
    from jobs.services.context import JobContext

PREFIX = "tests.jobs.handlers."
ANYTHING: dict[str, Any] = {"params": {"additionalProperties": True}}
NAMES = ("add", "refuse", "break_down", "be_unavailable", "lose_database", "until_cancelled", "sleep", "mark", "steps")
TYPES: dict[str, dict[str, Any]] = {name: {"handler": PREFIX + name, **ANYTHING} for name in NAMES}
LONG = {**ANYTHING, "queue": "models", "timeout_s": 86_400, "max_attempts": 5}
TYPES |= {
    "nap": {"handler": PREFIX + "sleep", **LONG},
    "download": {"handler": PREFIX + "download", **LONG, "suspendable": True, "who": "managers"},
    "hang": {"handler": PREFIX + "hang", **LONG, "stall_after_s": 1, "max_attempts": 1},
}


def add(ctx: JobContext) -> dict[str, Any]:
    ctx.progress(50, "adding")
    return {"sum": sum(ctx.params["numbers"])}


def refuse(ctx: JobContext) -> dict[str, Any]:
    raise Conflict("The key sk-abcdefghijklmnop is taken.", hint="Use another.", code="taken")


def break_down(ctx: JobContext) -> dict[str, Any]:
    raise RuntimeError("internal detail")


def be_unavailable(ctx: JobContext) -> dict[str, Any]:
    if ctx.attempt <= ctx.params.get("times", 99):
        raise Unavailable("The upstream is away.")
    return {"attempt": ctx.attempt}


def lose_database(ctx: JobContext) -> dict[str, Any]:
    raise OperationalError("server closed the connection")


def until_cancelled(ctx: JobContext) -> dict[str, Any]:
    while True:
        ctx.raise_if_cancelled()
        time.sleep(0.05)


def sleep(ctx: JobContext) -> dict[str, Any]:
    time.sleep(ctx.params["seconds"])
    return {"pid": os.getpid()}


def mark(ctx: JobContext) -> dict[str, Any]:
    """Append a line for each attempt; the first one then takes long."""
    with Path(ctx.params["file"]).open("a") as file:
        file.write(f"{ctx.attempt} {os.getpid()}\n")
    if ctx.attempt == 1:
        time.sleep(ctx.params["seconds"])
    return {"attempt": ctx.attempt}


def steps(ctx: JobContext) -> dict[str, Any]:
    """Two steps, the second of which works only on the second attempt: the first is not done twice."""
    done = list(ctx.checkpoint.get("done", []))
    if "first" not in done:
        done.append("first")
        ctx.save_checkpoint({"done": done})
    if ctx.attempt == 1 and not ctx.params.get("again"):
        raise Conflict("Not yet.")
    return {"done": [*done, "second"]}


def download(ctx: JobContext) -> dict[str, Any]:
    """Chunk after chunk, each written down as it is done: none is done twice but the one it was killed in."""
    chunks, size = ctx.params["chunks"], 1_000_000
    for number in range(ctx.checkpoint.get("chunk", 0), chunks):
        ctx.raise_if_cancelled()
        with Path(ctx.params["file"]).open("a") as file:
            file.write(f"{number} {ctx.attempt}\n")
        ctx.stop_seen.wait(ctx.params.get("seconds", 0.05))
        ctx.save_checkpoint({"chunk": number + 1})
        done = (number + 1) * size
        ctx.progress(message="Downloading", done_bytes=done, total_bytes=chunks * size, step="weights")
    return {"size_bytes": chunks * size, "attempts": ctx.attempt}


def hang(ctx: JobContext) -> dict[str, Any]:
    """Waits for something that never comes, and looks at nothing."""
    ctx.progress(1, "hanging")
    time.sleep(3600)
    return {}
