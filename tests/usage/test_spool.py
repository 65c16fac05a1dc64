"""Where metered calls wait: nothing is lost, nothing grows without bound."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path

import pytest

from tests.usage.books import Book
from tests.usage.calls import make_call
from usage.records import CallRecord
from usage.segments import SUFFIX, Segment
from usage.spool import Flusher, Spool, SpoolFull

LINE_BYTES = len(make_call().to_line())


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def deliver(spool: Spool, book: Book, **options: int) -> Flusher:
    """One pass in this thread."""
    flusher = Flusher(spool, book.ingest, **options)
    flusher.run_once()
    return flusher


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "usage")


def test_what_is_appended_is_delivered_once_and_its_file_goes(spool: Spool) -> None:
    calls = [make_call() for _ in range(5)]
    for call in calls:
        spool.append(call)
    assert spool.backlog_bytes == sum(len(call.to_line()) for call in calls)
    assert spool.oldest_s > 0
    book = Book()
    flusher = deliver(spool, book)
    assert list(book.calls.values()) == calls
    assert (spool.backlog_bytes, spool.oldest_s, flusher.records) == (0, 0.0, 5)
    spool.close()
    assert files(spool.directory) == []


def test_a_folder_of_secrets_is_nobody_elses(spool: Spool) -> None:
    spool.append(make_call())
    [path] = files(spool.directory)
    assert spool.directory.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


def test_files_are_bounded_and_delivered_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=3 * LINE_BYTES - 30)
    calls = [make_call() for _ in range(10)]
    for call in calls:
        spool.append(call)
    assert len(files(tmp_path)) == 4
    book = Book()
    deliver(spool, book)
    assert list(book.calls.values()) == calls


def test_small_batches_carry_everything(spool: Spool) -> None:
    calls = [make_call(model="x" * size) for size in range(0, 250, 7)]
    for call in calls:
        spool.append(call)
    book = Book()
    deliver(spool, book, batch_bytes=100)  # less than a line
    assert list(book.calls.values()) == calls
    assert book.batches == len(calls)


def test_new_calls_are_refused_before_calls_under_way_find_no_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=20 * LINE_BYTES)
    appended = 0
    while spool.has_room:
        spool.append(make_call())
        appended += 1
    assert 17 <= appended <= 19
    with pytest.raises(SpoolFull, match="waiting"):
        for _ in range(5):
            spool.append(make_call())
            appended += 1
    book = Book()
    deliver(spool, book)
    assert spool.has_room
    assert len(book.calls) == appended


def test_a_disk_that_takes_no_more_is_told_and_costs_no_other_record(spool: Spool) -> None:
    limit = 10 * LINE_BYTES + 50  # in the middle of a line
    kept: list[CallRecord] = []
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)
    signalled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, largest[1]))
    try:
        with pytest.raises(SpoolFull, match="cannot be written"):
            for _ in range(20):
                call = make_call()
                spool.append(call)
                kept.append(call)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, largest)
        signal.signal(signal.SIGXFSZ, signalled)
    assert not spool.has_room  # for a moment
    kept.append(make_call())
    spool.append(kept[-1])
    book = Book()
    flusher = deliver(spool, book)
    assert list(book.calls.values()) == kept
    assert (flusher.torn, flusher.quarantined) == (0, 0)


def test_threads_that_append_at_once_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=50 * LINE_BYTES)
    book = Book()
    flusher = Flusher(spool, book.ingest, interval_s=0.001)
    flusher.start()
    sent: list[str] = []

    def append() -> None:
        for _ in range(500):
            call = make_call()
            spool.append(call)
            sent.append(call.id)

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flusher.close()
    assert sorted(book.calls) == sorted(sent)
    assert (flusher.quarantined, flusher.torn, files(tmp_path)) == (0, 0, [])


# --- What others left -----------------------------------------------------------------------------------------------


def leave(folder: Path, data: bytes, name: str = "0-1-dead") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}{SUFFIX}"
    path.write_bytes(data)
    return path


def test_a_file_whose_writer_lives_is_left_alone(spool: Spool) -> None:
    call = make_call()
    spool.append(call)
    other = Spool(spool.directory)
    assert other.adopt() == 0
    spool.close()
    assert other.adopt() == 1
    book = Book()
    deliver(other, book)
    assert list(book.calls) == [call.id]


def test_an_empty_file_of_the_dead_goes(spool: Spool) -> None:
    leave(spool.directory, b"")
    deliver(spool, Book())
    assert files(spool.directory) == []


def test_a_torn_last_line_is_passed_over_and_counted(spool: Spool) -> None:
    whole, torn = make_call(), make_call().to_line()[:-7]
    leave(spool.directory, whole.to_line() + torn)
    book = Book()
    flusher = deliver(spool, book)
    assert list(book.calls) == [whole.id]
    assert (flusher.torn, flusher.quarantined, spool.backlog_bytes) == (1, 0, 0)
    assert files(spool.directory) == []


@pytest.mark.parametrize("batch_bytes", [64, 256 * 1024])
def test_a_corrupt_line_is_put_aside_and_costs_no_other_record(spool: Spool, batch_bytes: int) -> None:
    calls = [make_call() for _ in range(3)]
    bad = make_call().to_line().replace(b"Vendor", b"Vender")
    holes = b"\0" * 5000 + b"\n"  # what a file system may leave after a loss of power
    lines = [calls[0].to_line(), bad, calls[1].to_line(), holes, calls[2].to_line()]
    leave(spool.directory, b"".join(lines))
    book = Book()
    flusher = deliver(spool, book, batch_bytes=batch_bytes)
    assert list(book.calls.values()) == calls
    assert (flusher.quarantined, flusher.torn) == (2, 0)
    [aside] = (spool.directory / "quarantine").iterdir()
    assert aside.read_bytes() == bad + holes
    assert aside.stat().st_mode & 0o777 == 0o600


def test_what_the_ledger_will_never_take_is_put_aside_and_can_be_given_again(spool: Spool) -> None:
    good, odd = make_call(), make_call(factory="Odd")
    for call in (odd, good):
        spool.append(call)
    book = Book(refuses=lambda call: call.factory == "Odd")
    assert deliver(spool, book).quarantined == 1
    assert list(book.calls) == [good.id]
    [aside] = (spool.directory / "quarantine").iterdir()
    aside.rename(spool.directory / f"again{SUFFIX}")
    later = Book()
    deliver(spool, later)
    assert list(later.calls.values()) == [odd]


def test_a_file_that_vanishes_or_is_taken_meanwhile_is_nobodys(tmp_path: Path) -> None:
    assert Segment.adopt(tmp_path / "gone.spool") is None
    path = leave(tmp_path, make_call().to_line())
    held = Segment.adopt(path)
    assert held is not None
    assert Segment.adopt(path) is None
    held.discard()
    assert Segment.adopt(path) is None


def test_a_forked_child_keeps_nobody_from_adopting_what_its_parent_left(tmp_path: Path) -> None:
    """The lock is on the parent's open file, which a child would share."""
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        spool = Spool(tmp_path)
        spool.append(make_call())
        child = os.fork()
        if child == 0:
            spool.append(make_call())  # to a file of its own
            os.write(writer, f"{os.getpid()}\n".encode())
            os.close(writer)
            threading.Event().wait(60)
        os._exit(0)
    os.close(writer)
    os.waitpid(parent, 0)
    child_pid = int(os.read(reader, 100))
    os.close(reader)
    try:
        assert len(files(tmp_path)) == 2
        assert Spool(tmp_path).adopt() == 1
    finally:
        os.kill(child_pid, 9)


# --- What others carry ----------------------------------------------------------------------------------------------


def test_what_is_handed_over_waits_until_another_has_delivered_it(spool: Spool) -> None:
    calls = [make_call() for _ in range(3)]
    for call in calls:
        spool.append(call)
    waiting = spool.backlog_bytes
    spool.hand_over()
    assert spool.has_handed_over
    assert spool.backlog_bytes == waiting
    assert spool.oldest_s > 0
    book, other = Book(), Spool(spool.directory)
    deliver(other, book)
    assert list(book.calls.values()) == calls
    spool.hand_over()
    assert (spool.has_handed_over, spool.backlog_bytes, spool.oldest_s) == (False, 0, 0.0)
    spool.close()
    assert files(spool.directory) == []


def test_files_grow_instead_of_their_number_as_long_as_nobody_carries(spool: Spool) -> None:
    calls = [make_call() for _ in range(10)]
    for call in calls:
        spool.append(call)
        spool.hand_over()
    assert len(files(spool.directory)) == 2
    other, book = Spool(spool.directory), Book()
    deliver(other, book)
    assert len(book.calls) == 1
    spool.hand_over()
    deliver(other, book)
    assert list(book.calls.values()) == calls


def test_everything_is_handed_over_at_the_end(spool: Spool) -> None:
    for _ in range(2):
        spool.append(make_call())
        spool.hand_over(everything=True)
    book = Book()
    deliver(Spool(spool.directory), book)
    assert len(book.calls) == 2


def test_what_was_handed_over_in_vain_is_taken_back_and_counted_once(spool: Spool) -> None:
    first, second, third = make_call(), make_call(), make_call()
    spool.append(first)
    spool.hand_over()
    other, book = Spool(spool.directory), Book()
    deliver(other, book)  # and dies: nobody has looked what it delivered
    spool.append(second)
    spool.hand_over()
    spool.append(third)
    deliver(spool, book)
    assert list(book.calls.values()) == [first, second, third]
    assert (spool.has_handed_over, spool.backlog_bytes, spool.oldest_s) == (False, 0, 0.0)


def test_what_others_do_not_deliver_fills_the_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=20 * LINE_BYTES)
    while spool.has_room:
        spool.append(make_call())
        spool.hand_over()
    with pytest.raises(SpoolFull, match="waiting"):
        for _ in range(5):
            spool.append(make_call())
    spool.hand_over(everything=True)
    deliver(Spool(tmp_path), Book())
    spool.hand_over()
    assert spool.has_room
    assert spool.backlog_bytes == 0


def dead_pid() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_what_the_dead_left_counts_until_another_has_delivered_it(spool: Spool) -> None:
    line = make_call().to_line()
    leave(spool.directory, line, f"0-{dead_pid()}-left")
    leave(spool.directory, line, "again")
    leave(spool.directory, line, f"0-{os.getpid()}-of-a-process-that-lives")
    spool.append(make_call())
    before = spool.backlog_bytes
    for _ in range(2):
        spool.count_left()
        assert spool.backlog_bytes == before + 2 * len(line)
    spool.hand_over(everything=True)
    book = Book()
    deliver(Spool(spool.directory), book)
    spool.hand_over()
    assert (spool.backlog_bytes, spool.oldest_s, len(book.calls)) == (0, 0.0, 2)
