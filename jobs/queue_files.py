"""Where messages wait without Redis: kombu's transport of files, each of which is whole or not there.

kombu itself writes messages and its table of queues where others read them at the same moment. A worker that finds one
still empty ends over it, with all that it is doing, and of two processes that begin a table one forgets the other's
queue. Here a file gets its name once it is written, and a table is changed by one process at a time.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

import structlog
from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

logger = structlog.get_logger(__name__)

Bindings = list[Any]
_Channel: Any = filesystem.Channel  # whose types say nothing of what is done with files
_binding: Any = filesystem.exchange_queue_t


class Channel(_Channel):  # type: ignore[misc]
    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        with _as_channel_error(f"The message {name} cannot be written."):
            _write(Path(self.data_folder_out) / name, payload)

    def _get(self, queue: str) -> Any:
        folder, kind = Path(self.data_folder_in), f"{queue}.msg"
        for name in sorted(name for name in os.listdir(folder) if name.partition(".")[2] == kind):
            taken = folder / f"{name}.taken"
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:  # another worker was faster
                continue
            with _as_channel_error(f"The message {name} cannot be read."):
                text = taken.read_text()
                taken.unlink()
            try:
                return loads(text)
            except ValueError:  # torn by a loss of power; its job's row brings another one
                logger.warning("jobs.message_unreadable", queue=queue)
        raise Empty

    def get_table(self, exchange: str) -> Bindings:
        try:
            found = loads(self._exchange_file(exchange).read_text())
        except (FileNotFoundError, ValueError):
            return []
        return [_binding(*binding) for binding in found]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        bound = _binding(routing_key or "", pattern or "", queue or "")
        self._change_table(exchange, lambda table: table if bound in table else [bound, *table])

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any) -> None:
        self._purge(queue)
        bound = _binding(routing_key or "", pattern or "", queue or "")
        self._change_table(exchange, lambda table: [binding for binding in table if binding != bound])

    def _change_table(self, exchange: str, change: Callable[[Bindings], Bindings]) -> None:
        with _as_channel_error(f"The queues of {exchange} cannot be written."):
            self.control_folder.mkdir(exist_ok=True)
            with (self.control_folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = self.get_table(exchange)
                after = change(before)
                if after != before:
                    _write(self._exchange_file(exchange), after)


class Transport(filesystem.Transport):
    """`CELERY_BROKER_TRANSPORT` of installations without Redis."""

    Channel = Channel


def _write(path: Path, value: Any) -> None:
    draft = path.with_name(f"{path.name}.{uuid.uuid4()}.part")
    draft.write_text(dumps(value))
    draft.rename(path)


@contextmanager
def _as_channel_error(message: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ChannelError(message) from error
