"""What connections have to write, written together once every handler of the event loop's turn has run.

A write wakes the process at the other end. Where each handler writes by itself, that process is woken for every single
message; written one right after the other, most messages find it awake. That halves what a write costs under load, and
costs a lone message next to nothing.
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary


class Writer(Protocol):
    def flush(self) -> None:
        """Write what waits."""


class Turns:
    """Belongs to one event loop: `Turns.running()`."""

    __slots__ = ("__weakref__", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Writer] = []

    @classmethod
    def running(cls) -> Turns:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        found = _turns.get(loop)
        if found is None:
            found = _turns[loop] = cls()
        return found

    def flush_soon(self, writer: Writer) -> None:
        """Have `writer.flush` called once, after all that is about to run now."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(writer)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for writer in waiting:
            try:
                writer.flush()
            except Exception as error:  # the others' answers must not wait for ever
                problem = {"message": "A connection could not be written to", "exception": error}
                asyncio.get_running_loop().call_exception_handler(problem)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()
