"""The thread that carries the spool to the ledger: it keeps trying, and loses nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.live.processes import until
from tests.usage.books import Away, Book
from tests.usage.calls import make_call
from tests.usage.test_spool import LINE_BYTES, deliver, files, leave
from usage.carrier import LOCK, CarrierLock
from usage.spool import Flusher, Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "usage")


def test_records_wait_while_the_database_is_away(spool: Spool) -> None:
    book = Book()
    book.away.set()
    flusher = Flusher(spool, book.ingest, interval_s=0.01, longest_pause_s=0.05)
    flusher.start()
    calls = []
    for _ in range(4):
        calls.append(make_call())
        spool.append(calls[-1])
        assert book.asked.acquire(timeout=30)  # it tries, and tries again
    assert flusher.failures > 0
    assert "away" in flusher.last_error
    assert flusher.backlog_bytes == spool.backlog_bytes > 0
    assert flusher.oldest_s > 0
    book.away.clear()
    assert flusher.drain(30)
    assert list(book.calls.values()) == calls
    flusher.close()
    assert (flusher.failures, flusher.last_error, files(spool.directory)) == (0, "", [])


def test_what_fails_while_it_comes_to_rest_does_not_end_it(spool: Spool) -> None:
    book, rests = Book(), []

    def rest() -> None:
        rests.append(len(book.calls))
        if len(rests) == 1:
            raise Away("The connection cannot be closed.")

    flusher = Flusher(spool, book.ingest, interval_s=0.01, at_rest=rest)
    flusher.start()
    for _ in range(2):
        spool.append(make_call())
        assert flusher.drain(30)
    flusher.close()
    assert len(book.calls) == 2
    assert rests[0] <= rests[-1] == 2


def test_a_pause_after_a_failure_grows_and_is_bounded(spool: Spool) -> None:
    flusher = Flusher(spool, Book().ingest, interval_s=0.5, longest_pause_s=15)
    pauses = []
    for failures in range(8):
        flusher.failures = failures
        pauses.append(flusher._pause_s())
    assert pauses == [0.5, 1, 2, 4, 8, 15, 15, 15]
    flusher.failures = 5000
    assert flusher._pause_s() == 15


def test_closing_delivers_what_there_is(spool: Spool) -> None:
    book = Book()
    flusher = Flusher(spool, book.ingest, interval_s=3600)
    flusher.start()
    call = make_call()
    spool.append(call)
    flusher.close()
    assert list(book.calls) == [call.id]
    assert files(spool.directory) == []


def test_what_cannot_be_delivered_while_closing_is_left_to_the_next_process(spool: Spool) -> None:
    book = Book()
    book.away.set()
    flusher = Flusher(spool, book.ingest, interval_s=3600)
    flusher.start()
    call = make_call()
    spool.append(call)
    flusher.close(timeout_s=0.1)
    assert len(files(spool.directory)) == 1
    book.away.clear()
    deliver(Spool(spool.directory), book)
    assert list(book.calls) == [call.id]


def test_a_failure_in_the_middle_of_a_file_loses_and_forgets_nothing(tmp_path: Path) -> None:
    spool, book = Spool(tmp_path), Book()
    calls = [make_call() for _ in range(6)]
    for call in calls:
        spool.append(call)

    def twice_only(batch: list) -> list:  # type: ignore[type-arg]
        if book.batches == 2:
            book.away.set()
        return book.ingest(batch)

    flusher = Flusher(spool, twice_only, batch_bytes=LINE_BYTES + 10)
    with pytest.raises(Away):
        flusher.run_once()
    assert len(book.calls) == 2
    assert spool.backlog_bytes == sum(len(call.to_line()) for call in calls[2:])
    book.away.clear()
    deliver(spool, book)
    assert list(book.calls.values()) == calls
    assert book.batches == 3


def test_a_drain_that_takes_too_long_says_so(spool: Spool) -> None:
    book = Book()
    book.away.set()
    flusher = Flusher(spool, book.ingest, interval_s=0.01)
    spool.append(make_call())
    flusher.start()
    assert not flusher.drain(0.1)
    book.away.clear()
    assert flusher.drain(30)
    flusher.close()


# --- Who carries ----------------------------------------------------------------------------------------------------


def carry(spool: Spool, book: Book, **options: Any) -> Flusher:
    """A flusher that carries when nobody else does."""
    flusher = Flusher(spool, book.ingest, interval_s=0.01, lock=CarrierLock(spool.directory), **options)
    flusher.start()
    return flusher


def test_it_carries_when_nobody_does_and_hands_over_when_somebody_does(spool: Spool) -> None:
    mine, theirs, lock = Book(), Book(), CarrierLock(spool.directory)
    flusher = carry(spool, mine)
    spool.append(make_call())
    assert flusher.drain(30)
    assert len(mine.calls) == 1

    until(lock.take)
    spool.append(make_call())
    until(lambda: spool.has_handed_over)
    assert not flusher.drain(0.3)
    carrier = Flusher(Spool(spool.directory), theirs.ingest, interval_s=0.01, adopt_every_s=0)
    carrier.start()
    for _ in range(50):
        spool.append(make_call())
    assert flusher.drain(30)
    assert (len(mine.calls), len(theirs.calls)) == (1, 51)

    carrier.close()
    spool.append(make_call())
    until(lambda: spool.has_handed_over)
    lock.give_back()
    assert flusher.drain(30)
    assert (len(mine.calls), len(theirs.calls)) == (2, 51)
    flusher.close()
    assert files(spool.directory) == []


def test_closing_waits_for_whoever_carries(spool: Spool) -> None:
    lock, book = CarrierLock(spool.directory), Book()
    assert lock.take()
    flusher = carry(spool, Book())
    carrier = Flusher(Spool(spool.directory), book.ingest, interval_s=0.1, adopt_every_s=0)
    carrier.start()
    calls = [make_call() for _ in range(20)]
    for call in calls:
        spool.append(call)
    flusher.close(30)
    carrier.close()
    assert list(book.calls.values()) == calls
    assert files(spool.directory) == []


def test_closing_does_not_wait_for_long_when_whoever_carries_gets_nothing_done(spool: Spool) -> None:
    lock = CarrierLock(spool.directory)
    assert lock.take()
    flusher = carry(spool, Book())
    calls = [make_call() for _ in range(3)]
    for call in calls:
        spool.append(call)
        until(lambda: spool.has_handed_over)
    began = time.monotonic()
    flusher.close(60)
    assert time.monotonic() - began < 30
    book = Book()
    deliver(Spool(spool.directory), book)
    assert list(book.calls.values()) == calls


def test_beside_one_that_hangs_it_carries_itself(spool: Spool) -> None:
    lock, mine, theirs = CarrierLock(spool.directory), Book(), Book()
    assert lock.take()
    flusher = carry(spool, mine, hangs_after_s=1000)
    calls = [make_call() for _ in range(3)]
    spool.append(calls[0])
    until(lambda: spool.has_handed_over)
    carrier = Spool(spool.directory)
    until(carrier.adopt)  # it holds the file, too
    spool.append(calls[1])
    assert not flusher.drain(0.3)
    assert not mine.calls

    os.utime(spool.directory / LOCK, (0, 0))
    assert flusher.drain(30)
    spool.append(calls[2])
    assert flusher.drain(30)
    assert list(mine.calls.values()) == calls

    lock.beat()
    deliver(carrier, theirs)  # what it held it delivers when it gets on, which is for the ledger to see
    assert list(theirs.calls.values()) == calls[:1]
    spool.append(make_call())
    until(lambda: spool.has_handed_over)
    assert deliver(carrier, theirs).records == 1
    assert flusher.drain(30)
    assert (len(mine.calls), len(theirs.calls)) == (3, 2)
    flusher.close()
    carrier.close()
    assert files(spool.directory) == []


def test_flushers_of_one_folder_take_turns_and_lose_nothing(tmp_path: Path) -> None:
    book = Book()
    spools = [Spool(tmp_path) for _ in range(4)]
    flushers = [carry(spool, book, adopt_every_s=0.05) for spool in spools]
    calls = [make_call() for _ in range(400)]
    for number, call in enumerate(calls):
        spools[number % 4].append(call)
    assert all(flusher.drain(30) for flusher in flushers)
    for flusher in flushers:
        flusher.close()
    assert sorted(book.calls) == sorted(call.id for call in calls)
    assert files(tmp_path) == []


@pytest.mark.parametrize("mine", [True, False])
def test_what_the_dead_left_is_counted_where_the_carrier_belongs(spool: Spool, mine: bool) -> None:
    leave(spool.directory, make_call().to_line(), "again")
    lock, book = CarrierLock(spool.directory), Book()
    assert lock.take()
    flusher = carry(spool, Book(), carrier_pid=os.getpid() if mine else 1, adopt_every_s=0.05)
    try:
        if mine:
            until(lambda: spool.backlog_bytes)
        spool.append(make_call())
        other = Spool(spool.directory)
        until(lambda: deliver(other, book) and len(book.calls) == 2 and not spool.backlog_bytes)
    finally:
        flusher.close()
