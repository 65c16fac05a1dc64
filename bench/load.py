"""Load: wrk for whole answers, aiohttp for streams."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

MESSAGES = [{"role": "user", "content": "Say something, in about fifty tokens, please."}]


@dataclass(frozen=True)
class Door:
    """Where a gateway is called, and how."""

    name: str
    url: str
    model: str = "bench"
    headers: tuple[tuple[str, str], ...] = ()
    stream_url: str = ""
    stream_model: str = ""
    stream_headers: tuple[tuple[str, str], ...] = ()

    def streamed(self) -> tuple[str, str, dict[str, str]]:
        return self.stream_url or self.url, self.stream_model or self.model, dict(self.stream_headers or self.headers)


@dataclass(frozen=True)
class Rate:
    """Calls a second, and milliseconds at the middle and at the slowest hundredth."""

    per_s: float
    median_ms: float
    p99_ms: float
    failed: int


def whole(door: Door, folder: Path, *, connections: int, seconds: int) -> Rate:
    """Whole chats, as fast as they come."""
    body = json.dumps({"model": door.model, "messages": MESSAGES, "max_tokens": 64})
    script = folder / "post.lua"
    lines = [f"wrk.method = 'POST'\nwrk.body = {json.dumps(body)}", "wrk.headers['Content-Type'] = 'application/json'"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in door.headers]
    script.write_text("\n".join(lines))
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        str(script),
        door.url,
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Rate(
        float(found.group(1)) if found else 0.0,
        _ms(re.search(r"50%\s+([\d.]+)(us|ms|s)", text)),
        _ms(re.search(r"99%\s+([\d.]+)(us|ms|s)", text)),
        int(failed.group(1)) if failed else 0,
    )


def _ms(found: re.Match[str] | None) -> float:
    return float(found.group(1)) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found.group(2)] if found else 0.0


@dataclass(frozen=True)
class Streams:
    per_s: float
    first_ms: float  # until the first piece
    failed: int


def streams(door: Door, *, connections: int, seconds: float) -> Streams:
    """Streamed chats, read to their end."""
    return asyncio.run(_streams(door, connections, seconds))


async def _streams(door: Door, connections: int, seconds: float) -> Streams:
    url, model, headers = door.streamed()
    body = {"model": model, "messages": MESSAGES, "max_tokens": 64, "stream": True}
    done, failed, firsts = 0, 0, []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def once() -> float:
            nonlocal done, failed
            began = time.perf_counter()
            async with session.post(url, json=body) as answer:
                begun = await answer.content.readany()
                first = time.perf_counter() - began
                last = begun + await answer.content.read()
                if answer.status == 200 and b"[DONE]" in last:
                    done += 1
                else:
                    failed += 1
            return first

        for _ in range(10):
            await once()
        done = failed = 0
        began = time.perf_counter()

        async def keep_on() -> None:
            while time.perf_counter() < began + seconds:
                firsts.append(await once())

        await asyncio.gather(*(keep_on() for _ in range(connections)))
        took = time.perf_counter() - began
    return Streams(done / took, statistics.median(firsts) * 1000, failed)


@dataclass(frozen=True)
class Held:
    ended: int
    longest_pause_s: float


def held(door: Door, *, count: int) -> Held:
    """That many slow streams at once: how many ended well, and the longest time in which one said nothing."""
    return asyncio.run(_held(door, count))


async def _held(door: Door, count: int) -> Held:
    url, model, headers = door.streamed()
    body = {"model": model, "messages": MESSAGES, "stream": True}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers=headers, timeout=timeout
    ) as session:

        async def one() -> tuple[bool, float]:
            longest, last = 0.0, b""
            async with session.post(url, json=body) as answer:
                at = time.perf_counter()
                async for piece in answer.content.iter_any():
                    longest, at, last = max(longest, time.perf_counter() - at), time.perf_counter(), piece
            return last.rstrip().endswith(b"[DONE]"), longest

        found = await asyncio.gather(*(one() for _ in range(count)))
    return Held(sum(ended for ended, _ in found), max(pause for _, pause in found))
