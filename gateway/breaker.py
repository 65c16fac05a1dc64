"""Keeps calls away from a target that keeps failing, and lets one through now and then to see whether it is back.

    closed ──(THRESHOLD failures in a row)──▶ open ──(its time is over)──▶ half-open: one trial
      ▲                                        ▲                              │
      └──────────── success ───────────────────┼────────── success ───────────┤
                                               └────────── failure ───────────┘  (open twice as long, up to MAX_OPEN_S)

Only what says something about the target counts, not what says something about the request. A target that named a time
(`Retry-After`) rests for that time. State belongs to a process.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from providers.errors import (
    AddressBlocked,
    AuthenticationFailed,
    BadReply,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
    TimedOut,
    Unreachable,
    UpstreamError,
    WrongURL,
)

THRESHOLD = 5
OPEN_S = 10.0
MAX_OPEN_S = 300.0
MAX_REST_S = 600.0  # an upstream may ask for no longer rest than this
TRIAL_S = 60.0  # after which a trial that nobody reported on counts as lost
MAX_TARGETS = 20_000

COUNTED = (
    AddressBlocked, AuthenticationFailed, BadReply, Overloaded, QuotaExceeded, ServerFailed, TimedOut, Unreachable,
    WrongURL,
)  # fmt: skip


@dataclass(slots=True)
class _State:
    failures: int = 0
    opened: int = 0  # how often in a row
    until: float = 0.0
    trial_at: float | None = None


class Breaker:
    """The states of all targets that have failed lately, by a key."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: OrderedDict[object, _State] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def wait_s(self, key: object) -> float:
        """0 if the target may be called now, else in how many seconds it may be."""
        state = self._states.get(key)
        if state is None:
            return 0.0
        now = self._clock()
        if state.until > now:
            return state.until - now
        if state.trial_at is not None and now - state.trial_at < TRIAL_S:
            return max(0.1, state.trial_at + TRIAL_S - now) if state.opened else 0.0
        return 0.0

    def enter(self, key: object) -> None:
        """The target is about to be called: for one that was open this is its trial."""
        state = self._states.get(key)
        if state is not None and state.opened:
            state.trial_at = self._clock()

    def succeeded(self, key: object) -> None:
        """The target answered; all is forgotten."""
        if self._states:
            self._states.pop(key, None)

    def failed(self, key: object, error: UpstreamError) -> None:
        """The target failed, in whatever way."""
        now = self._clock()
        rests = error.retry_after_s if isinstance(error, RateLimited | Overloaded) else None
        counts = isinstance(error, COUNTED)
        if not counts and rests is None:
            self.left(key)
            return
        state = self._states.setdefault(key, _State())
        self._states.move_to_end(key)
        while len(self._states) > MAX_TARGETS:
            self._states.popitem(last=False)
        state.trial_at = None
        if rests is not None:
            state.until = max(state.until, now + min(rests, MAX_REST_S))
        if counts:
            state.failures += 1
            if state.opened or state.failures >= THRESHOLD:
                state.until = max(state.until, now + min(OPEN_S * 2**state.opened, MAX_OPEN_S))
                state.opened += 1

    def left(self, key: object) -> None:
        """A call ended without saying anything about the target: a trial, if it was one, is free again."""
        state = self._states.get(key)
        if state is not None:
            state.trial_at = None

    def states(self) -> dict[object, str]:
        """What is not plainly closed, for people: “open”, “half-open” or “resting”."""
        now = self._clock()
        return {
            key: ("open" if state.opened else "resting") if state.until > now else "half-open"
            for key, state in list(self._states.items())  # another thread may ask
            if state.until > now or state.opened
        }
