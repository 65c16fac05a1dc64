"""What the Mock runtime keeps: the same for all processes, whatever happens to one of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from runtimes.mock.store import Download, Installed, Store
from tests.live.stack import ROOT

EACH = 25


def _install_many(folder: str, who: int) -> None:
    for number in range(EACH):
        with Store(Path(folder)).change() as state:
            state.models[f"model-{who}-{number}"] = Installed(file_path=f"/{who}")


def test_no_change_of_several_processes_is_lost(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_install_many, args=(str(tmp_path), who)) for who in range(3)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        Store(tmp_path).read()  # never half of a change
        time.sleep(0.005)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    names = {f"model-{who}-{number}" for who in range(3) for number in range(EACH)}
    assert names <= set(Store(tmp_path).read().models)


INSTALLING = """
import asyncio, sys
from pathlib import Path
from runtimes.mock import management
from runtimes.mock.store import Store

async def main():
    answer = await management.install(Store(Path(sys.argv[1])), "new-1b", {"steps": 1000, "step_delay_s": 0.01})
    async for line in answer.body:
        print(line.decode(), end="", flush=True)

asyncio.run(main())
"""


def test_a_download_of_a_killed_process_goes_on_where_it_was(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INSTALLING, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    done = Store(tmp_path).read().downloads["new-1b"].done_bytes
    assert done > 0
    with Store(tmp_path).change() as state:  # the lock went with the process
        assert state.downloads["new-1b"].done_bytes == done


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    try:
        with store.change() as state:
            state.models.clear()
            raise LookupError
    except LookupError:
        pass
    assert store.read().models


def test_a_download_that_wrote_nothing_for_long_is_not_under_way() -> None:
    assert Download(at=time.time()).under_way
    assert not Download(at=time.time() - 60).under_way
    assert not Download(at=time.time(), cancelled=True).under_way
