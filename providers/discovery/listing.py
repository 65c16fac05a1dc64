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
from providers.errors import (
    BadReply,
    BadRequest,
    ModelNotFound,
    PermissionDenied,
    Unsupported,
    UpstreamError,
    WrongURL,
)
from providers.target import Target
from providers.upstream import Policy, Pool
from providers.wire import ModelPage, Operation, RemoteModel

# How a server says that it has no such place, and that the next one may do.
_NOT_THERE = (BadReply, BadRequest, ModelNotFound, PermissionDenied, Unsupported, WrongURL)
_API = re.compile(r"(?:/api)?/v\d+$", re.I)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is asked and kept at most. `time_s` is for all calls together, `page_bytes` for one answer."""

    pages: int = 40
    models: int = 3000
    details: int = 300
    page_bytes: int = 8 * 1024 * 1024
    time_s: float = 120.0
    at_once: int = 4


class Listing(NamedTuple):
    """The models in the upstream's order, and whether that is all of them: a further page may have failed."""

    models: list[RemoteModel]
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
    bounds = bounds or Bounds()
    walk = _Walk(replace(policy, max_body_bytes=min(policy.max_body_bytes, bounds.page_bytes)), bounds, step)
    for number, target in enumerate(places, 1):
        try:
            return walk.through(target)
        except _NOT_THERE:
            if number == len(places):
                raise
    raise Unsupported("There is no list of models to ask for.", step="build")


class _Walk:
    def __init__(self, policy: Policy, bounds: Bounds, step: Callable[[str], None]) -> None:
        self.policy, self.bounds, self.step = policy, bounds, step
        self.end = time.monotonic() + bounds.time_s

    def through(self, target: Target) -> Listing:
        models, complete = self._pages(target)
        kept = models[: self.bounds.models]
        return Listing(self._described(target, kept), complete and len(kept) == len(models))

    def _pages(self, target: Target) -> tuple[list[RemoteModel], bool]:
        found: dict[str, RemoteModel] = {}
        payload: Mapping[str, Any] = {}
        asked: set[str] = set()
        while len(asked) < self.bounds.pages and len(found) <= self.bounds.models:
            asked.add(json.dumps(payload, sort_keys=True, default=str))
            self.step(f"Listing the models, page {len(asked)}")
            if self._is_over and found:
                break
            page = asyncio.run(self._ask(target, [payload]))[0]
            if isinstance(page, UpstreamError):
                if not found:
                    raise page
                break
            found.update({model.id: model for model in page if model.id and model.id not in found})
            following = page.next_page if isinstance(page, ModelPage) else None
            if following is None or json.dumps(following, sort_keys=True, default=str) in asked:
                return list(found.values()), following is None
            payload = following
        return list(found.values()), False

    def _described(self, target: Target, models: list[RemoteModel]) -> list[RemoteModel]:
        """The models with what was asked of each singly; one that does not answer stays as it was listed."""
        open_ones = [model for model in models if model.details is not None][: self.bounds.details]
        told: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(open_ones), self.bounds.at_once):
            self.step(f"Asking about {open_ones[start].id}")
            if self._is_over:
                break
            batch = open_ones[start : start + self.bounds.at_once]
            answers = asyncio.run(self._ask(target, [model.details or {} for model in batch]))
            told.update({model.id: _raw(answer) for model, answer in zip(batch, answers, strict=True)})
        return [replace(model, raw={**model.raw, **told.get(model.id, {})}) for model in models]

    async def _ask(self, target: Target, payloads: Iterable[Mapping[str, Any]]) -> list[Any]:
        """The replies, or the errors in their places."""
        left_s = max(0.1, min(self.policy.total_timeout_s, self.end - time.monotonic()))
        policy = replace(self.policy, total_timeout_s=left_s)

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


def _raw(answer: Any) -> Mapping[str, Any]:
    return answer[0].raw if isinstance(answer, list) and answer else {}
