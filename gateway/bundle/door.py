"""The engine for callers in Python: one a process, on an event loop in a thread of its own, started by the first call.

Coroutines come in from any thread and any loop, and so do iterations. A child after a fork begins anew; what the parent
had open stays the parent's.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, TypeVar

import structlog
from django.db import connections

from gateway import parts
from gateway.pipeline import Engine
from gateway.store import SnapshotStore

logger = structlog.get_logger(__name__)

T = TypeVar("T")
Source = Callable[[], AsyncGenerator[T, None]]
Item = tuple[str, Any]  # "item" and what came, "error" and what was raised, "end"

ENDS_WITHIN_S = 15.0  # a door that closes
LETS_GO_WITHIN_S = 5.0  # an iteration that nobody follows any more


class Door:
    """Snapshots and an engine on a loop of their own."""

    def __init__(self) -> None:
        self.store = SnapshotStore()
        self._engine: Engine | None = None
        self._making: asyncio.Task[Engine] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="llm-bundle", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the running code is on the door's own thread."""
        return threading.current_thread() is self._thread

    async def engine(self) -> Engine:
        """To be asked for on the door's loop; raises OSError if there is no place for the usage records."""
        if self._engine is None:
            if self._making is None:
                self._making = asyncio.create_task(asyncio.to_thread(partial(parts.engine, beside=True)))
            making = self._making
            try:
                self._engine = await asyncio.shield(making)
            except OSError:
                self._making = None
                raise
        return self._engine

    # --- Coming in --------------------------------------------------------------------------------------------------

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine, for code that is not asynchronous."""
        self._refuse_own_thread()
        future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # somebody pressed Ctrl-C
            raise

    async def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine that runs on the door's loop; cancelled with its caller."""
        if self.is_here:
            return await work()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self._loop))

    async def follow(self, source: Source[T]) -> AsyncGenerator[T, None]:
        """What an iteration on the door's loop gives; it ends with its caller's."""
        if self.is_here:
            async with aclosing(source()) as items:
                async for item in items:
                    yield item
            return
        loop, came = asyncio.get_running_loop(), asyncio.Queue[Item]()

        def put(item: Item) -> None:
            with suppress(RuntimeError):  # that loop has been closed
                loop.call_soon_threadsafe(came.put_nowait, item)

        stop, kind = self._pump(source, put), ""
        try:
            while kind != "end":
                kind, value = await came.get()
                if kind == "item":
                    yield value
                elif kind == "error":
                    raise value
        finally:
            stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(LETS_GO_WITHIN_S):
                    while kind != "end":
                        kind, _ = await came.get()

    def iterate(self, source: Source[T]) -> Generator[T, None, None]:
        """The same for code that is not asynchronous."""
        self._refuse_own_thread()
        came = queue.SimpleQueue[Item]()
        stop, kind = self._pump(source, came.put), ""
        try:
            while kind != "end":
                kind, value = came.get()
                if kind == "item":
                    yield value
                elif kind == "error":
                    raise value
        finally:
            stop()
            with suppress(queue.Empty):
                while kind != "end":
                    kind, _ = came.get(timeout=LETS_GO_WITHIN_S)

    def _pump(self, source: Source[T], put: Callable[[Item], object]) -> Callable[[], None]:
        """Begin to pass on what comes; "end" is the last in any case. Returns what stops it."""
        tasks: list[asyncio.Task[None]] = []

        async def pump() -> None:
            try:
                async with aclosing(source()) as items:
                    async for item in items:
                        put(("item", item))
            except Exception as error:
                put(("error", error))

        def begin() -> None:
            tasks.append(task := self._loop.create_task(pump()))
            task.add_done_callback(lambda _: put(("end", None)))

        def stop() -> None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])

        self._loop.call_soon_threadsafe(begin)
        return stop

    def _refuse_own_thread(self) -> None:
        if self.is_here:
            raise RuntimeError("This would wait for itself: on the engine's own thread, use the async methods.")

    # --- The thread -------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def close(self) -> None:
        """End what is under way, bring the records to the ledger, and let go of everything."""
        self._refuse_own_thread()
        flusher = None if self._engine is None else self._engine.flusher
        if self._engine is not None:
            self._engine.flusher = None  # closed here: at the end of a process, there are no threads for it any more
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(ENDS_WITHIN_S)
        except Exception as error:
            logger.warning("bundle.close_failed", error=type(error).__name__)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ENDS_WITHIN_S)
        if not self._thread.is_alive():
            self._loop.close()
        if flusher is not None:
            flusher.close()

    async def _end(self) -> None:
        await self.store.close()
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        if self._engine is not None:
            await self._engine.close()


_door: Door | None = None
_lock = threading.Lock()
_of_the_parent: list[object] = []  # kept, so that nothing of theirs is ever closed here


def door() -> Door:
    """This process's, opened if it is not."""
    global _door
    found = _door
    if found is None:
        with _lock:
            if _door is None:
                _door = Door()
            found = _door
    return found


def close() -> None:
    """Close this process's door, if it is open; a later call opens it anew."""
    global _door
    with _lock:
        found, _door = _door, None
    if found is not None:
        found.close()


def _after_fork() -> None:
    global _door, _lock
    _lock = threading.Lock()
    if _door is not None:
        _of_the_parent.append(_door)
        _door = None
        _leave_pools_to_the_parent()


def _leave_pools_to_the_parent() -> None:
    """The threads that tend a pool of database connections did not come along: a child has to have one of its own."""
    for connection in connections.all():
        pools = getattr(connection, "_connection_pools", None)  # Django closes pools, and has no word for leaving them
        if pools and connection.alias in pools:
            _of_the_parent.append((pools.pop(connection.alias), connection.connection))
            connection.connection = None


atexit.register(close)
os.register_at_fork(after_in_child=_after_fork)
