"""Asks an upstream for all its models: page after page, within bounds, and each singly where the list says little."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import urlencode

from providers.base_urls import join_url
from providers.calls import acall
from providers.discovery.reading import Reading, read
from providers.errors import (
    AddressBlocked,
    AuthenticationFailed,
    QuotaExceeded,
    RateLimited,
    TimedOut,
    Unreachable,
    Unsupported,
    UpstreamError,
)
from providers.target import Target
from providers.upstream import Policy, Pool
from providers.wire import ModelPage, Operation

# Failures that the next place would meet, too: they are about the key or the server. Others say it is missing.
_EVERYWHERE = (AddressBlocked, AuthenticationFailed, QuotaExceeded, RateLimited, TimedOut, Unreachable)
_API = re.compile(r"(?:/api)?/v\d+$", re.I)


MAX_NAME = 512  # of a model, in characters


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is asked and kept at most. `time_s` is for all calls together; bytes are of one answer."""

    pages: int = 40
    models: int = 3000
    details: int = 300
    page_bytes: int = 4 * 1024 * 1024
    detail_bytes: int = 1024 * 1024
    time_s: float = 120.0
    at_once: int = 4


class Listing(NamedTuple):
    """What was read of each model, in the upstream's order, and whether that is all of them."""

    models: dict[str, Reading]
    complete: bool


def places(target: Target) -> list[Target]:
    """Where the models of a target's factory may be listed: the richer lists of its quirks first, the usual last."""
    found = []
    for place in target.quirks.listings:
        paths = dict(target.quirks.paths)
        paths.pop(Operation.MODELS, None)
        if path := place.path or ("/models" if place.query else ""):
            paths[Operation.MODELS] = f"{path}?{urlencode(place.query)}" if place.query else path
        quirks = replace(target.quirks, paths=paths, version_path="" if place.root else target.quirks.version_path)
        base_url = _root(target.base_url) if place.root else target.base_url
        found.append(replace(target, base_url=base_url, quirks=quirks, dialect=place.dialect or target.dialect))
    return found if target.quirks.no_model_list else [*found, target]


def _root(base_url: str) -> str:
    try:
        return _API.sub("", join_url(base_url, "", ""))
    except ValueError:  # the call will say what is wrong with it
        return base_url


def list_models(
    places: Sequence[Target],
    *,
    policy: Policy,
    bounds: Bounds | None = None,
    step: Callable[[str], None] = lambda said: None,
) -> Listing:
    """The models that the first of the places has that is there; raises UpstreamError.

    `step` is called between calls with a word about what comes next, and may raise to stop. Not to be used inside a
    running event loop.
    """
    walk = _Walk(policy, bounds or Bounds(), step)
    for number, target in enumerate(places, 1):
        try:
            return walk.through(target)
        except UpstreamError as error:
            if number == len(places) or isinstance(error, _EVERYWHERE):
                raise
    raise Unsupported("There is no list of models to ask for.", step="build")


class _Walk:
    """Keeps no answer longer than it takes to read it: an upstream may write a lot about each model."""

    def __init__(self, policy: Policy, bounds: Bounds, step: Callable[[str], None]) -> None:
        self.policy, self.bounds, self.step = policy, bounds, step
        self.end = time.monotonic() + bounds.time_s

    def through(self, target: Target) -> Listing:
        found: dict[str, Reading] = {}
        unsaid: dict[str, Mapping[str, Any]] = {}
        complete = self._pages(target, found, unsaid)
        self._describe(target, found, unsaid)
        return Listing(found, complete)

    def _pages(self, target: Target, found: dict[str, Reading], unsaid: dict[str, Mapping[str, Any]]) -> bool:
        """Fill `found`, and `unsaid` with what asks for more about a model; whether the list was read to its end."""
        payload: Mapping[str, Any] | None = {}
        asked: set[str] = set()
        while payload is not None:
            self.step(f"Listing the models, page {len(asked) + 1}")
            key = json.dumps(payload, sort_keys=True, default=str)
            if key in asked or len(asked) >= self.bounds.pages or (found and self._is_over):
                return False
            asked.add(key)
            (page,) = asyncio.run(self._ask(target, [payload], self.bounds.page_bytes))
            if isinstance(page, UpstreamError):
                if not found:
                    raise page
                return False  # what came before it is worth having
            for model in page:
                if not 0 < len(model.id) <= MAX_NAME or model.id in found:
                    continue
                if len(found) >= self.bounds.models:
                    return False
                found[model.id] = read(model.id, model.raw)
                if model.details is not None:
                    unsaid[model.id] = model.details
            payload = page.next_page if isinstance(page, ModelPage) else None
        return True

    def _describe(self, target: Target, found: dict[str, Reading], unsaid: Mapping[str, Mapping[str, Any]]) -> None:
        """Add what is told of each model singly; one that does not answer stays as it was listed."""
        names = list(unsaid)[: self.bounds.details]
        for start in range(0, len(names), self.bounds.at_once):
            self.step(f"Asking about {names[start]}")
            if self._is_over:
                return
            batch = names[start : start + self.bounds.at_once]
            answers = asyncio.run(self._ask(target, [unsaid[name] for name in batch], self.bounds.detail_bytes))
            for name, answer in zip(batch, answers, strict=True):
                if isinstance(answer, list) and answer:
                    found[name] = found[name].with_details(read(name, answer[0].raw))

    async def _ask(self, target: Target, payloads: Iterable[Mapping[str, Any]], max_bytes: int) -> list[Any]:
        """The replies, or the errors in their places."""
        left_s = max(0.1, min(self.policy.total_timeout_s, self.end - time.monotonic()))
        most = min(self.policy.max_body_bytes, max_bytes)
        policy = replace(self.policy, total_timeout_s=left_s, max_body_bytes=most)

        async def one(payload: Mapping[str, Any], pool: Pool) -> Any:
            try:
                return await acall(target, Operation.MODELS, payload, policy=policy, pool=pool)
            except UpstreamError as error:
                return error

        async with Pool(limit=self.bounds.at_once) as pool:
            return await asyncio.gather(*(one(payload, pool) for payload in payloads))

    @property
    def _is_over(self) -> bool:
        return time.monotonic() >= self.end
