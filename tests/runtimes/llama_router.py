"""A real llama-server in router mode: the binary that LLAMA_SERVER names, or the one on the path, if there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.processes import end_with_the_tests
from tests.live.stack import fetch, free_port

START_WITHIN_S = 60.0
BINARY = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server") or ""


@dataclass(frozen=True)
class Router:
    url: str
    key: str
    models: Path
    log: Path


@contextmanager
def routing(folder: Path, hub_url: str) -> Iterator[Router]:
    """A router over the models of a folder, which fetches others from a hub on loopback."""
    models, cache, log, port, key = (
        folder / "models",
        folder / "cache",
        folder / "router.log",
        free_port(),
        "sk-router-0123",
    )
    models.mkdir()
    cache.mkdir()
    environment = {**os.environ, "MODEL_ENDPOINT": hub_url, "LLAMA_CACHE": str(cache), "HOME": str(folder)}
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                BINARY,
                *("--host", "127.0.0.1", "--port", str(port), "--models-dir", str(models), "--models-max", "2"),
                *("--api-key", key, "-c", "512", "-t", "1", "--no-warmup"),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_the_tests,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_WITHIN_S
        while fetch(f"{url}/health")[0] != 200:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"llama-server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        yield Router(url, key, models, log)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
