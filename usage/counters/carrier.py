"""Carries scripts to Redis over one connection, and keeps callers from waiting for one that does not answer.

What is asked in one turn of the event loop goes in one batch. When a batch is not answered in time, or the connection
breaks, all who wait are told so at once and nobody asks again (`Away`), while a task in the background tries to reach
Redis; when it answers, `recovered` puts things right, and only then are callers let through.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from usage.counters.keys import Argument
from usage.counters.scripts import Script

logger = structlog.get_logger(__name__)

BATCH = 128
TRIED_EVERY_S = 0.5
REACHED_WITHIN_S = 2.0  # in the background, where nobody waits
TURNS = 5  # of a busy loop, in which an answer that has arrived can still be read


class Away(Exception):
    """Redis does not answer, or not as it should."""


class _Item:
    __slots__ = ("arguments", "future", "orphaned", "script")

    def __init__(self, script: Script, arguments: Sequence[Argument], orphaned: Callable[[Any], None] | None) -> None:
        self.script = script
        self.arguments = arguments
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.orphaned = orphaned


class Carrier:
    """Belongs to one event loop."""

    def __init__(self, url: str, *, timeout_s: float, recovered: Callable[[], Awaitable[None]]) -> None:
        options: dict[str, Any] = {
            "socket_timeout": None,
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
        }
        self._pool: Any = ConnectionPool.from_url(url, **options)
        self._timeout_s = timeout_s
        self._recovered = recovered
        self._connection: AbstractConnection | None = None
        self._queue: deque[_Item] = deque()
        self._batch: list[_Item] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._carrying: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_away(self) -> bool:
        """Whether callers are turned away."""
        return self._recovering is not None

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        *,
        orphaned: Callable[[Any], None] | None = None,
    ) -> Any:
        """The script's reply; raises Away. `orphaned` takes the reply if the caller was cancelled meanwhile."""
        if self._closed or (self._recovering is not None and asyncio.current_task() is not self._recovering):
            raise Away
        item = _Item(script, (len(keys), *keys, *arguments), orphaned)
        self._queue.append(item)
        if self._carrying is None:
            self._carrying = asyncio.create_task(self._carry(), name="limits-redis")
        self._wake.set()
        try:
            return await item.future
        except asyncio.CancelledError:
            if orphaned is not None and not item.future.cancelled() and item.future.exception() is None:
                orphaned(item.future.result())  # it came in the very moment the caller was cancelled
            raise

    async def close(self) -> None:
        self._closed = True
        self._fail("closed")
        tasks = [task for task in (self._carrying, self._recovering) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._carrying = self._recovering = None
        await self._disconnect()

    # --- One batch after the other ----------------------------------------------------------------------------------

    async def _carry(self) -> None:
        while True:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
            loop = asyncio.get_running_loop()
            while self._queue and len(self._batch) < BATCH:
                self._batch.append(self._queue.popleft())
            self._deadline = loop.call_later(self._timeout_s, self._late, TURNS)
            try:
                replies = await self._exchange(self._batch)
            except (RedisError, OSError, asyncio.IncompleteReadError) as error:
                self._carrying = None
                self._away(f"{type(error).__name__}: {error}")
                return
            finally:
                self._deadline.cancel()
            batch, self._batch = self._batch, []
            for item, reply in zip(batch, replies, strict=True):
                _hand_over(item, reply)
            if broken := next((reply for reply in replies if isinstance(reply, RedisError)), None):
                self._carrying = None
                self._away(f"{type(broken).__name__}: {broken}")
                return

    async def _exchange(self, batch: Sequence[_Item]) -> list[Any]:
        replies = await self._send([(b"EVALSHA", item.script.sha, *item.arguments) for item in batch])
        unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:  # Redis was started anew, or told to forget its scripts
            again = [(b"EVAL", batch[number].script.text, *batch[number].arguments) for number in unknown]
            for number, reply in zip(unknown, await self._send(again), strict=True):
                replies[number] = reply
        return replies

    async def _send(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        connection = self._connection
        if connection is None:
            connection = await self._connect()
        await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response())
            except RedisError as error:
                if not connection.is_connected:
                    raise
                replies.append(error)
        return replies

    async def _connect(self) -> AbstractConnection:
        self._connection = self._pool.make_connection()
        await self._connection.connect()
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)

    # --- When it does not answer ------------------------------------------------------------------------------------

    def _late(self, turns: int) -> None:
        """The deadline of a batch has passed. If this process was busy, its answer may be waiting to be read."""
        if not self._batch:
            return
        if turns:
            self._deadline = asyncio.get_running_loop().call_soon(self._late, turns - 1)  # type: ignore[assignment]
            return
        if self._carrying is not None:
            self._carrying.cancel()
            self._carrying = None
        self._away(f"no answer within {self._timeout_s * 1000:.0f} ms")

    def _away(self, reason: str) -> None:
        self._fail(reason)
        if self._recovering is None and not self._closed:
            logger.warning("limits.redis_away", reason=reason)
            self._recovering = asyncio.create_task(self._recover(), name="limits-redis-recovery")

    def _fail(self, reason: str) -> None:
        waiting = [*self._batch, *self._queue]
        self._batch, self._queue = [], deque()
        for item in waiting:
            if not item.future.done():
                item.future.set_exception(Away(reason))

    async def _recover(self) -> None:
        while True:
            await self._disconnect()
            await asyncio.sleep(TRIED_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311  (so that not all come at once)
            try:
                async with asyncio.timeout(REACHED_WITHIN_S):
                    connection = await self._connect()
                    await connection.send_command("PING")
                    await connection.read_response()
                await self._recovered()
            except (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError, Away):
                continue
            except Exception as error:
                logger.error("limits.redis_recovery_failed", error=type(error).__name__, detail=str(error))
                continue
            self._recovering = None
            logger.info("limits.redis_back")
            return


def _hand_over(item: _Item, reply: Any) -> None:
    if not item.future.done():
        if isinstance(reply, RedisError):
            item.future.set_exception(Away(f"{type(reply).__name__}: {reply}"))
        else:
            item.future.set_result(reply)
    elif item.future.cancelled() and item.orphaned is not None and not isinstance(reply, RedisError):
        item.orphaned(reply)
