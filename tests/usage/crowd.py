"""Processes that meter calls, and are killed over it: `python -m tests.usage.crowd <part> <options as JSON>`.

Run with the product's own settings, on a database that has its tables. What they report goes to standard output.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import django

TOKENS = ["", "a" * 32, "b" * 32]


def killed(*, seed: int, times: int, models: list[int]) -> None:
    """One after the other, processes append and deliver as fast as they can until they are killed.

    Prints the ids of the calls whose append had returned.
    """
    from usage.services import metering

    chance = random.Random(seed)
    reported: list[str] = []
    for number in range(times):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _append_for_ever(writer, random.Random(seed + number), models)
        os.close(writer)
        wanted, ids = chance.randrange(1, 400), b""
        while ids.count(b"\n") < wanted and (more := os.read(reader, 65536)):
            ids += more
        time.sleep(chance.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(reader, 65536):
            ids += more
        os.close(reader)
        reported += ids.decode().split()
    metering.replay()
    print(json.dumps({"reported": reported, "left": [path.name for path in _left()]}))


def _append_for_ever(writer: int, chance: random.Random, models: list[int]) -> None:
    from tests.usage.calls import make_call
    from usage.services import ledger, metering
    from usage.spool import Flusher

    spool = metering.open_spool()
    Flusher(spool, ledger.ingest, interval_s=0.005, adopt_every_s=0.05, batch_bytes=20_000).start()
    while True:
        call = make_call(
            token_id=chance.choice(TOKENS),
            tenant_llm_id=chance.choice([*models, None]),
            input_tokens=chance.randrange(1000),
            output_tokens=chance.randrange(1000),
        )
        spool.append(call)
        os.write(writer, f"{call.id}\n".encode())


def _left() -> list[Any]:
    from django.conf import settings

    return list(settings.USAGE_SPOOL_DIR.glob("*.spool"))


def racing(*, seed: int, calls: int, processes: int, models: list[int], rival: bool) -> None:
    """Processes that all deliver the same calls, each in an order and in batches of its own.

    A rival changes the same models in an order of its own meanwhile. Prints the calls, and what went wrong in whom.
    """
    from tests.usage.calls import make_call
    from usage.records import from_line

    chance = random.Random(seed)
    lines = [
        make_call(
            token_id=chance.choice(TOKENS),
            tenant_llm_id=chance.choice(models),
            input_tokens=chance.randrange(1000),
            started_at=time.time() - chance.randrange(3) * 86400,
        ).to_line()
        for _ in range(calls)
    ]

    def deliver(number: int) -> None:
        from usage.services import ledger

        mine, order = [from_line(line) for line in lines], random.Random(seed + number)
        order.shuffle(mine)
        while mine:
            size = order.randrange(1, 60)
            batch, mine = mine[:size], mine[size:]
            while not _done(lambda batch=batch: ledger.ingest(batch)):  # type: ignore[misc]
                pass  # the flusher would wait a little

    def change_models() -> None:
        from django.db import transaction

        from tenants.models import TenantLLM

        for _ in range(150):
            with transaction.atomic():
                for model in sorted(models, reverse=True):
                    TenantLLM.objects.filter(pk=model).update(max_tokens=4096)
                    time.sleep(0.001)

    failures = _side_by_side([lambda n=n: deliver(n) for n in range(processes)] + [change_models] * rival)
    print(json.dumps({"lines": [line.decode() for line in lines], "failures": failures}))


def _done(work: Callable[[], Any]) -> bool:
    """Whether it could be done now; a deadlock is no excuse."""
    from django.db import OperationalError

    try:
        work()
        return True
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == "40P01":
            raise
        return False


def _side_by_side(parts: list[Callable[[], None]]) -> dict[str, str]:
    """Run each in a process of its own, all from the same instant on; what each failed with."""
    gate, opener = os.pipe()
    report, reporter = os.pipe()
    children = []
    for number, part in enumerate(parts):
        child = os.fork()
        if child == 0:
            os.close(opener)
            os.read(gate, 1)
            try:
                part()
            except BaseException as error:
                os.write(reporter, f"{number}\t{type(error).__name__}: {error}".replace("\n", " ").encode() + b"\n")
            os._exit(0)
        children.append(child)
    os.close(opener)
    os.close(reporter)
    for child in children:
        os.waitpid(child, 0)
    said = b""
    while more := os.read(report, 65536):
        said += more
    return dict(line.split("\t", 1) for line in said.decode().splitlines())


if __name__ == "__main__":
    django.setup()
    {"killed": killed, "racing": racing}[sys.argv[1]](**json.loads(sys.argv[2]))
