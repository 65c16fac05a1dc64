"""Messages in files, written and read by several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection

from jobs.queue_files import Transport

QUEUE = "default"


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Opens the same folders as another process would."""
    (tmp_path / "messages").mkdir()
    folders = {
        "data_folder_in": str(tmp_path / "messages"),
        "data_folder_out": str(tmp_path / "messages"),
        "control_folder": str(tmp_path / "control"),
    }
    connections: list[Any] = []

    def opened() -> Any:
        connections.append(Connection("filesystem://", transport=Transport, transport_options=folders))
        return connections[-1].channel()

    yield opened
    for connection in connections:
        connection.release()


def at_once(*works: Callable[[], None]) -> None:
    """Run them beside each other; what one raises is raised here."""
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_each_message_is_read_whole_and_once_while_it_is_written(channel: Callable[[], Any]) -> None:
    count, read = 400, list[int]()
    put, stop = threading.Event(), threading.Lock()

    def write() -> None:
        writer = channel()
        for number in range(count):
            writer._put(QUEUE, {"number": number, "body": "x" * 2000})
        put.set()

    def take() -> None:
        reader = channel()
        while True:
            over = put.is_set()
            try:
                message = reader._get(QUEUE)
            except Empty:
                if over:
                    return
                continue
            with stop:
                read.append(message["number"])

    at_once(write, take, take)
    assert sorted(read) == list(range(count))


def test_messages_come_in_the_order_in_which_they_were_sent(channel: Callable[[], Any]) -> None:
    one = channel()
    for number in range(20):
        one._put(QUEUE, number)
    assert [one._get(QUEUE) for _ in range(20)] == list(range(20))


def test_a_torn_message_is_passed_over(channel: Callable[[], Any], tmp_path: Path) -> None:
    one = channel()
    (tmp_path / "messages" / f"0_torn.{QUEUE}.msg").write_bytes(b"")
    one._put(QUEUE, "whole")
    assert one._get(QUEUE) == "whole"
    assert not list((tmp_path / "messages").iterdir())


def test_queues_that_are_bound_at_the_same_moment_are_all_kept(channel: Callable[[], Any]) -> None:
    workers = [channel() for _ in range(8)]
    at_once(
        *(
            lambda number=number: workers[number]._queue_bind("celery.pidbox", "", "", f"w{number}")
            for number in range(8)
        )
    )
    assert {binding.queue for binding in workers[0].get_table("celery.pidbox")} == {f"w{number}" for number in range(8)}


def test_a_queue_that_is_deleted_is_bound_no_more(channel: Callable[[], Any]) -> None:
    one = channel()
    one._queue_bind("exchange", "key", "", "first")
    one._queue_bind("exchange", "key", "", "second")
    one._queue_bind("exchange", "key", "", "second")
    one._put("first", "waits")
    one._delete("first", "exchange", "key", "")
    assert [binding.queue for binding in one.get_table("exchange")] == ["second"]
    with pytest.raises(Empty):
        one._get("first")
