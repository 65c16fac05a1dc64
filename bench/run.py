"""`make bench`: what the gateway costs, beside the alternatives, in one run on this machine. Ratios, not numbers.

Every gateway has one worker, the same upstream and the same load. Only llmadmin authenticates against a database's
rows, limits, budgets and meters meanwhile; the others are as fast as they can be made.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench import gateways
from bench.load import Door, Rate, Streams, held, streams, whole

HELD = 1000
PAUSE_S = 0.4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=8, help="how long each load lasts")
    parser.add_argument("--only", nargs="*", default=[], help="of nginx, LiteLLM, Portkey: those beside llmadmin")
    parser.add_argument("--calls", type=int, default=0, help="that many further calls, to see whether memory grows")
    options = parser.parse_args()
    if missing := [tool for tool in ("nginx", "wrk") if shutil.which(tool) is None]:
        print(f"make bench needs {' and '.join(missing)} (Debian: apt install nginx-light wrk).", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmadmin-bench-")))
        measure(folder, stack, options.seconds, set(options.only), options.calls)
    return 0


def measure(folder: Path, stack: ExitStack, seconds: int, only: set[str], calls: int) -> None:
    root, direct, proxy = stack.enter_context(gateways.nginx(folder))
    slow = stack.enter_context(gateways.slow_upstream(folder, pause_s=PAUSE_S))
    many: dict[str, Rate] = {}
    one: dict[str, Rate] = {}
    streamed: dict[str, Streams] = {}

    def load(door: Door) -> None:
        whole(door, folder, connections=4, seconds=2)
        one[door.name] = whole(door, folder, connections=1, seconds=seconds)
        many[door.name] = whole(door, folder, connections=32, seconds=seconds)
        streamed[door.name] = streams(door, connections=32, seconds=seconds)
        rate, stream = many[door.name], streamed[door.name]
        failed = f"  {rate.failed + stream.failed} FAILED" if rate.failed or stream.failed else ""
        print(
            f"{door.name:9} {rate.per_s:9.0f} chats/s   {one[door.name].median_ms:7.2f} ms median, "
            f"{one[door.name].p99_ms:7.2f} ms p99 at one connection   {stream.per_s:7.0f} streams/s, "
            f"first piece {stream.first_ms:6.2f} ms{failed}",
            flush=True,
        )

    wanted: Callable[[str], bool] = lambda name: not only or name in only  # noqa: E731
    load(direct)
    if wanted("nginx"):
        load(proxy)
    if wanted("Portkey"):
        with gateways.portkey(folder, root) as (door, _):
            load(door)
    if wanted("LiteLLM"):
        with gateways.litellm(folder, root) as (door, process):
            load(door)
            print(f"LiteLLM   {gateways.memory_mb(process):.0f} MB")
    with gateways.llmadmin(folder, root, slow) as (door, slow_door, process, ready_s):
        print(f"llmadmin  ready after {ready_s:.1f} s, {gateways.memory_mb(process):.0f} MB")
        load(door)
        print(f"llmadmin  {gateways.memory_mb(process):.0f} MB after the load")
        kept = held(slow_door, count=HELD)
        print(
            f"llmadmin  {kept.ended} of {HELD} slow streams held open at once ended well, none silent for longer than "
            f"{kept.longest_pause_s:.2f} s (the upstream pauses {PAUSE_S} s); {gateways.memory_mb(process):.0f} MB"
        )
        if calls:
            rate = max(1.0, many["llmadmin"].per_s)
            before = gateways.memory_mb(process)
            whole(door, folder, connections=32, seconds=max(1, round(calls / rate)))
            print(f"llmadmin  {before:.0f} MB, {gateways.memory_mb(process):.0f} MB after {calls:,} further calls")
    report(many, one, streamed)


def report(many: dict[str, Rate], one: dict[str, Rate], streamed: dict[str, Streams]) -> None:
    """The ratios that count; what an alternative would have to show is not asked of this machine."""
    ours, base = "llmadmin", one["direct"]
    print()
    for name in ("nginx", "Portkey", "LiteLLM"):
        if name not in many:
            continue
        added, theirs = one[ours].median_ms - base.median_ms, one[name].median_ms - base.median_ms
        tail, their_tail = one[ours].p99_ms - base.p99_ms, one[name].p99_ms - base.p99_ms
        first = streamed[ours].first_ms - streamed["direct"].first_ms
        their_first = streamed[name].first_ms - streamed["direct"].first_ms
        print(
            f"against {name:8} chats {many[ours].per_s / many[name].per_s:6.2f} x   "
            f"added latency {added / max(theirs, 0.001):6.3f} x, p99 {tail / max(their_tail, 0.001):6.3f} x   "
            f"streams {streamed[ours].per_s / max(streamed[name].per_s, 0.001):6.2f} x, "
            f"first piece {first / max(their_first, 0.001):6.3f} x"
        )


if __name__ == "__main__":
    raise SystemExit(main())
