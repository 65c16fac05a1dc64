"""Timers for things that hardly ever come due: thousands at a time, each costing next to nothing.

A timer of the event loop costs several microseconds to set and to cancel, which a call that is over in a millisecond
notices. Here all of a loop share one, which ticks a few times a second for as long as anything waits. They come due up
to a tick late, never early.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

TICK_S: Final = 0.05


class Ticker:
    """Belongs to one event loop: `Ticker.running()`."""

    __slots__ = ("__weakref__", "_next", "_slots", "_ticks")

    # It knows nothing that leads to its loop, which else would be kept for as long as the process lives.

    def __init__(self) -> None:
        self._slots: dict[int, dict[object, Callable[[], object]]] = {}  # by the number of the tick
        self._next = 0
        self._ticks = False

    @classmethod
    def running(cls) -> Ticker:
        """That of the running loop."""
        loop = asyncio.get_running_loop()
        found = _tickers.get(loop)
        if found is None:
            found = _tickers[loop] = cls()
        return found

    @property
    def is_running(self) -> bool:
        """Whether anything may still come due."""
        return self._ticks

    def call_after(self, delay_s: float, key: object, callback: Callable[[], object]) -> int:
        """Call back once after so long, unless `cancel` comes first; returns what `cancel` wants beside the key."""
        now = time.monotonic()  # which is the loop's clock
        slot = int((now + max(delay_s, 0.0)) / TICK_S) + 1
        self._slots.setdefault(slot, {})[key] = callback
        if not self._ticks:
            self._next = int(now / TICK_S)
            self._ticks = True
            asyncio.get_running_loop().call_later(TICK_S, self._tick)
        return slot

    def cancel(self, slot: int, key: object) -> None:
        """Does nothing for one that has come due."""
        waiting = self._slots.get(slot)
        if waiting is not None:
            waiting.pop(key, None)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now_slot = int(time.monotonic() / TICK_S)
        few = now_slot - self._next < len(self._slots)
        for slot in range(self._next, now_slot + 1) if few else sorted(self._slots):
            if slot > now_slot or (waiting := self._slots.get(slot)) is None:
                continue
            while waiting:  # each leaves by itself: a callback may cancel another that is due, too
                callback = waiting.pop(next(iter(waiting)))
                try:
                    callback()
                except Exception as error:
                    told = {"message": "A timer's callback failed.", "exception": error}
                    loop.call_exception_handler(told)
            del self._slots[slot]
        self._next = now_slot + 1
        self._ticks = bool(self._slots)
        if self._ticks:
            loop.call_later(TICK_S, self._tick)


_tickers: WeakKeyDictionary[asyncio.AbstractEventLoop, Ticker] = WeakKeyDictionary()
