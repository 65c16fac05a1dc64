"""`make bench`: what the gateway costs, beside the alternatives, in one run on this machine. Ratios, not numbers.

Every gateway has one worker, the same upstream and the same load. Only llmadmin authenticates against a database's
rows, limits, budgets and meters meanwhile; the others are as fast as they can be made.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from bench import gateways
from bench.load import Door, Rate, Streams, held, streams, whole

OURS, DIRECT = "llmadmin", "direct"
ALONE, MANY, CROWD = CONNECTIONS = 1, 32, 256
OTHERS = ("nginx", "Portkey", "LiteLLM")
HELD = 1000
GROWTH_STEP_S = 20
PAUSE_S = 0.4


@dataclass
class Measured:
    """What one way to the upstream showed, by the number of connections."""

    whole: dict[int, Rate] = field(default_factory=dict)
    streamed: dict[int, Streams] = field(default_factory=dict)
    memory_mb: float | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=6, help="how long each load lasts")
    parser.add_argument("--only", nargs="*", default=None, choices=OTHERS, help="those beside llmadmin")
    parser.add_argument("--calls", type=int, default=0, help="that many further calls, to see whether memory grows")
    options = parser.parse_args()
    if missing := [tool for tool in ("nginx", "wrk") if shutil.which(tool) is None]:
        print(f"make bench needs {' and '.join(missing)} (Debian: apt install nginx-light wrk).", file=sys.stderr)
        return 1
    others = OTHERS if options.only is None else tuple(options.only)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmadmin-bench-")))
        report(measure(folder, stack, options.seconds, others, options.calls))
    return 0


def measure(folder: Path, stack: ExitStack, seconds: int, others: tuple[str, ...], calls: int) -> dict[str, Measured]:
    root, direct, proxy = stack.enter_context(gateways.nginx(folder))
    slow = stack.enter_context(gateways.slow_upstream(folder, pause_s=PAUSE_S))
    found: dict[str, Measured] = {}

    def load(door: Door, process: Popen[bytes] | None = None) -> None:
        print(f"{door.name} …", flush=True)
        one = found[door.name] = Measured()
        whole(door, folder, connections=4, seconds=2)
        for connections in CONNECTIONS:
            one.whole[connections] = whole(door, folder, connections=connections, seconds=seconds)
            one.streamed[connections] = streams(door, connections=connections, seconds=seconds)
        if process is not None:
            one.memory_mb = gateways.memory_mb(process)

    load(direct)
    if "nginx" in others:
        load(proxy)
    if "Portkey" in others:
        with gateways.portkey(folder, root) as (door, process):
            load(door, process)
    if "LiteLLM" in others:
        with gateways.litellm(folder, root) as (door, process):
            load(door, process)
    with gateways.llmadmin(folder, root, slow) as (door, slow_door, process, ready_s):
        print(f"llmadmin is ready after {ready_s:.1f} s, with {gateways.memory_mb(process):.0f} MB", flush=True)
        load(door, process)
        kept = held(slow_door, count=HELD)
        print(
            f"llmadmin: {kept.ended} of {HELD} slow streams held open at once ended well, none silent for longer than "
            f"{kept.longest_pause_s:.2f} s (the upstream pauses {PAUSE_S} s); {gateways.memory_mb(process):.0f} MB"
        )
        if calls:
            before = gateways.memory_mb(process)
            made = failed = 0
            while made < calls:
                rate = whole(door, folder, connections=MANY, seconds=GROWTH_STEP_S)
                made, failed = made + round(rate.per_s * GROWTH_STEP_S), failed + rate.failed
                if not rate.per_s:
                    break  # it answers no more
            after = gateways.memory_mb(process)
            print(f"llmadmin: {before:.0f} MB, {after:.0f} MB after {made:,} further calls, {failed} of them failed")
    return found


def report(found: dict[str, Measured]) -> None:
    """The table, and the ratios that count; what is measured on another machine says nothing about this one."""
    print(
        f"\n{'':9} {'connections':>11} {'chats/s':>9} {'median':>9} {'p99':>9} {'streams/s':>10} {'first':>9}  memory"
    )
    for name, one in found.items():
        for connections in CONNECTIONS:
            rate, stream = one.whole[connections], one.streamed[connections]
            memory = f"{one.memory_mb:4.0f} MB" if one.memory_mb is not None and connections == CROWD else ""
            failed = f"  {rate.failed + stream.failed} FAILED" if rate.failed or stream.failed else ""
            print(
                f"{name:9} {connections:11d} {rate.per_s:9.0f} {rate.median_ms:6.2f} ms {rate.p99_ms:6.2f} ms "
                f"{stream.per_s:10.0f} {stream.first_ms:6.2f} ms  {memory}{failed}"
            )
    ours, base = found[OURS], found[DIRECT]
    print("\nllmadmin against      chats/s   added median   added p99   streams/s   added to the first piece")
    for name in OTHERS:
        if name not in found:
            continue
        other = found[name]
        print(
            f"{name:18} {_times(ours.whole[MANY].per_s, other.whole[MANY].per_s)}"
            f"   {_added(ours, other, base, 'median_ms')}   {_added(ours, other, base, 'p99_ms')}"
            f"   {_times(ours.streamed[MANY].per_s, other.streamed[MANY].per_s)}"
            f"   {_ratio(_first(ours, base), _first(other, base), other.streamed[ALONE].failed)}"
        )
    print(f"Throughputs at {MANY} connections, latencies at {ALONE}; “added” is beyond the direct way.")


def _times(ours: float, theirs: float) -> str:
    return f"{ours / theirs:7.2f} x" if theirs else "        –"


def _added(ours: Measured, theirs: Measured, base: Measured, name: str) -> str:
    added, their = (getattr(one.whole[ALONE], name) - getattr(base.whole[ALONE], name) for one in (ours, theirs))
    return _ratio(added, their, theirs.whole[ALONE].failed)


def _first(one: Measured, base: Measured) -> float:
    return one.streamed[ALONE].first_ms - base.streamed[ALONE].first_ms


def _ratio(ours: float, theirs: float, failed: int) -> str:
    """Against one that adds next to nothing, or whose calls fail, a ratio says nothing."""
    return f"{ours / theirs:9.3f} x" if theirs > 0.05 and not failed else "          –"


if __name__ == "__main__":
    raise SystemExit(main())
