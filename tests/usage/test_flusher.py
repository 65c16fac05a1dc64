"""The thread that carries the spool to the ledger: it keeps trying, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.usage.books import Away, Book
from tests.usage.calls import make_call
from tests.usage.test_spool import LINE_BYTES, deliver, files
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
