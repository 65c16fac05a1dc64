"""One connection that speaks HTTP/1.1.

The reader of an answer waits for what comes; nothing else runs: no task, and no timer but one for each connection,
which is used again only after an answer whose end is certain. Source: https://www.rfc-editor.org/rfc/rfc9112

Part of `providers.upstream`.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any, cast

from core.turns import Turns
from providers import network_errors
from providers.errors import UpstreamError
from providers.http_answers import HIGH_WATER_BYTES, Answer, Malformed, Parser

PIECE_BYTES = 64 * 1024  # of a request's body that is written at once


class Connection(asyncio.Protocol):
    """Carries one exchange after another. `on_free` hears when one is over, and whether another may follow;
    `on_lost`, when the connection went away between two."""

    def __init__(self, on_free: Callable[[Connection, bool], None], on_lost: Callable[[Connection], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.home: Any = None  # whatever the owner keeps with it
        self.idle_since = 0.0
        self.used = False  # an exchange has been carried before the present one
        self.heard = False  # something has come of the present answer
        self.lasted_s = 0.0  # how long after the request the present exchange failed
        self._asked_at = 0.0
        self._on_free, self._on_lost = on_free, on_lost
        self._transport: asyncio.Transport | None = None
        self._unread = select.poll()
        self._parser = Parser()
        self._answer: Answer | None = None
        self._turns = Turns.running()
        self._unsent = b""  # the request that goes out at the end of this turn of the loop
        self._full = self._sending = self._idle = self._aborted = False
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = self._due = self._limit_s = 0.0

    # What its owner asks for

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def silent(self) -> bool:
        """Whether nothing has come that the loop has not read yet: an end, or bytes that would answer the next request.

        Only for one that is usable and idle.
        """
        return not self._unread.poll(0)

    async def ask(self, head: bytes, body: bytes | None, due: float, limit_s: float, *, bodyless: bool) -> Answer:
        """Write a request; its answer when its headers are here. `bodyless`: the answer to this method has no body.

        Raises UpstreamError. An answer that comes before a large body has left ends the writing (RFC 9112 section 9.5).
        """
        self.used = self.idle_since > 0
        spoken, self.heard = self.heard and not self.used, False  # before it was asked: that is no HTTP
        self._asked_at = self.loop.time()
        answer = self._answer = Answer(self)
        self._parser.expect(answer, bodyless=bodyless)
        try:
            if self._transport is None or self._transport.is_closing():
                raise network_errors.malformed("headers") if spoken else network_errors.hung_up("headers")
            transport = self._transport
            if body is None or len(body) <= PIECE_BYTES:
                self._unsent = head + (body or b"")
                self._turns.flush_soon(self)
            else:
                await self._send(transport, answer, head, memoryview(body), due, limit_s)
            await answer.head(due, limit_s)
        except BaseException:
            self.abandon(answer)
            raise
        return answer

    async def _send(
        self, transport: asyncio.Transport, answer: Answer, head: bytes, body: memoryview, due: float, limit_s: float
    ) -> None:
        """Write no faster than the upstream reads."""
        self._sending, answer.step = True, "send"
        transport.write(head)
        for start in range(0, len(body), PIECE_BYTES):
            transport.write(body[start : start + PIECE_BYTES])
            while self._full or transport.is_closing() or answer.begun or answer.error is not None:
                if answer.begun or answer.error is not None:
                    return
                await answer.wait(due, limit_s)
        self._sending, answer.step = False, "headers"

    def watch(self, due: float, limit_s: float, idle: bool) -> None:
        """From now on somebody waits for the answer, until `due`.

        A timer that is set for earlier, by this exchange or one before it, stays: it looks when it rings.
        """
        self._due, self._limit_s, self._idle = due, limit_s, idle
        if self._timer is None or self._armed_for > due:
            self._arm()

    def go_on(self, answer: Answer) -> None:
        """The reader has caught up."""
        if self._answer is answer and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abandon(self, answer: Answer) -> None:
        if self._answer is answer:
            self._over(keep=False)

    def flush(self) -> None:
        """Write the request, unless it has been given up meanwhile."""
        unsent, self._unsent = self._unsent, b""
        if unsent and self.usable:
            cast(asyncio.Transport, self._transport).write(unsent)

    def abort(self) -> None:
        """Close at once; what is not written yet is dropped."""
        self._aborted = True
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:  # nobody asked for it, so it must never be taken for the next answer
            self.heard = True
            self.abort()
            return
        if self._unsent:  # nor for the answer to what has not been written yet
            self._fail(network_errors.hung_up("headers"))
            return
        self.heard = True
        try:
            whole = self._parser.feed(data)
        except Malformed:
            self._fail(network_errors.malformed("body" if answer.begun else "headers"))
            return
        if whole:
            answer.done = True
            self._over(keep=self._parser.reusable and not self._sending)
        elif answer.buffered > HIGH_WATER_BYTES and self._transport is not None:
            self._transport.pause_reading()
        answer.wake()

    def eof_received(self) -> None:
        if self._transport is not None:
            self._transport.abort()  # nothing more can come, so nothing more of a request needs to go

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer = self._answer
        if answer is None:
            self._on_lost(self)
        elif answer.begun and self._parser.until_close and exc is None and not self._aborted:
            answer.done = True
            self._over(keep=False)
            answer.wake()
        else:
            self._fail(network_errors.cut_off() if answer.begun else network_errors.hung_up(answer.step))
        self._transport = None
        self._parser.close()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._answer is not None:
            self._answer.wake()

    # How an exchange ends

    def _fail(self, error: UpstreamError) -> None:
        answer = cast(Answer, self._answer)
        answer.error = error
        self.lasted_s = self.loop.time() - self._asked_at
        self._over(keep=False)
        answer.wake()

    def _over(self, *, keep: bool) -> None:
        self._answer = None
        if not keep:
            self.abort()
        self._on_free(self, keep and self.usable)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = self._due
        self._timer = self.loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        answer = self._answer
        if answer is None or not answer.awaited:
            return
        if self.loop.time() < self._due:
            self._arm()
        elif self._idle:
            self._fail(network_errors.stalled(self._limit_s))
        else:
            self._fail(network_errors.timed_out(answer.step, self._limit_s))
