"""Which models a service has: asked of all its URLs, and kept as rows.

    changes = refresh(service)                    # in a worker: asks, and writes
    listed = await ask(service)                   # asks only; touches no database
    changes = store(service_id=…, listed=listed)  # writes only, in one transaction

A model that a runtime no longer has stays for a while as `removed`, so that who used it sees what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

import orjson
from django.conf import settings
from django.db import transaction

from core import audit
from core.audit import SYSTEM, Actor
from core.clock import now
from core.errors import AppError
from providers.errors import BadRequest, UpstreamError
from providers.upstream import Pool
from runtimes import drivers
from runtimes.drivers.base import Described
from runtimes.models import LLMService, ModelState, ModelType, ServiceModel
from runtimes.services import calls, changes
from runtimes.services.capabilities import complete
from runtimes.services.driving import perform

LIST_WITHIN_S = 60.0
MAX_DETAIL_BYTES = 16 * 1024
MAX_MODELS = 5_000
MAX_REMOVED = 1_000  # that a service keeps: one whose list is another one each time fills no database
NAMED = 20  # models that an audit event names
BATCH = 500
ABOUT = "models"  # what a service's error is about, if it is not about the service itself

# Of two URLs that have a model, the one where it is nearest to being called says its state.
_NEARNESS = (
    *(ModelState.LOADED, ModelState.LOADING, ModelState.DOWNLOADING, ModelState.NOT_LOADED, ModelState.REMOVING),
    *(ModelState.UNKNOWN, ModelState.ERROR),
)
_TOLD = tuple(field.name for field in fields(Described) if field.name != "name")
_TEXTS: Mapping[str, int | None] = {
    field.name: field.max_length
    for field in ServiceModel._meta.concrete_fields
    if field.name in ("publisher", "architecture", "quantization", "runtime_name", "file_path")
}


@dataclass(frozen=True, slots=True)
class Listed:
    """What a service's URLs answered. Not `whole`: some did not, so that what is missing may still be there."""

    models: tuple[Described, ...]
    whole: bool = True
    error: UpstreamError | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of models."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def refresh(service: LLMService, *, actor: Actor = SYSTEM) -> Changes:
    """List its models and keep them; raises UpstreamError if none of its URLs answers. For code without a loop."""
    return store(service_id=service.pk, listed=asyncio.run(ask(service)), actor=actor)


async def ask(service: LLMService, *, within_s: float = LIST_WITHIN_S, pool: Pool | None = None) -> Listed:
    """List the models at all its URLs at once; raises UpstreamError if none of them answers."""
    try:
        driver = drivers.get(service.type)
    except AppError as error:
        raise BadRequest(error.message, hint=error.hint, step="build") from None

    async def at(url: str) -> list[Described] | UpstreamError:
        try:
            return await perform(driver.models(), service=service, base_url=url, timeout_s=within_s, pool=pool)
        except UpstreamError as error:
            return error

    answers = await asyncio.gather(*(at(url) for url in calls.urls(service, driver) or ("",)))
    failures = [answer for answer in answers if isinstance(answer, UpstreamError)]
    lists = [answer for answer in answers if not isinstance(answer, UpstreamError)]
    if not lists:
        raise failures[0]
    return Listed(tuple(merged(lists)), whole=not failures, error=failures[0] if failures else None)


def merged(lists: Iterable[Iterable[Described]]) -> list[Described]:
    """One list of several, by name; what the first says counts, and the state where it is nearest to being called."""
    found: dict[str, Described] = {}
    for model in (model for models in lists for model in models):
        if not model.name or len(model.name) > 255 or "\x00" in model.name:
            continue
        known = found.get(model.name)
        if known is None:
            found[model.name] = model
        elif _nearness(model.state) < _nearness(known.state):
            found[model.name] = replace(known, state=model.state)
        if len(found) == MAX_MODELS:
            break
    return list(found.values())


@transaction.atomic
def store(*, service_id: str, listed: Listed, actor: Actor = SYSTEM) -> Changes:
    """Make the rows of a service's models what was listed. A service that is gone meanwhile changes nothing."""
    service = LLMService.objects.select_for_update().filter(pk=service_id).first()
    if service is None:
        return Changes()
    at = now()
    rows = {row.name: row for row in ServiceModel.objects.filter(service=service)}
    new, changed, routed, back = [], [], False, []
    streams = calls.can(service, "streaming")
    for model in merged([listed.models]):
        values = _values(complete(model, streams=streams))
        row = rows.get(model.name)
        if row is None:
            new.append(ServiceModel(service=service, name=model.name, first_seen_at=at, seen_at=at, **values))
            continue
        different = {name for name, value in values.items() if getattr(row, name) != value}
        if different:
            if row.state == ModelState.REMOVED:
                back.append(row.name)
            routed = routed or bool(different & changes.ROUTED[ServiceModel])
            for name in different:
                setattr(row, name, values[name])
            changed.append(row)
    here = {model.name for model in listed.models}
    gone = [row for name, row in rows.items() if name not in here and row.state != ModelState.REMOVED]
    gone = gone if listed.whole else []
    for row in gone:
        row.state = ModelState.REMOVED
    ServiceModel.objects.filter(service=service, name__in=[name for name in here if name in rows]).update(seen_at=at)
    ServiceModel.objects.bulk_create(new, batch_size=BATCH)
    ServiceModel.objects.bulk_update(changed, [*_TOLD], batch_size=100)
    ServiceModel.objects.bulk_update(gone, ["state"], batch_size=BATCH)
    _forget_oldest(service, removed=len(gone) + sum(row.state == ModelState.REMOVED for row in rows.values()))
    service.listed_at = at
    if service.error.get("about") == ABOUT:
        service.error = {}
    service.save(update_fields=["listed_at", "error"])
    added = (*(row.name for row in new), *back)
    found = Changes(added, tuple(row.name for row in changed if row.name not in back), tuple(row.name for row in gone))
    if added or gone:
        audit.record(
            "service.models_changed",
            actor=actor,
            target=service.name,
            added=list(found.added[:NAMED]),
            removed=list(found.removed[:NAMED]),
            added_count=len(found.added),
            removed_count=len(found.removed),
        )
    if new or gone or routed:
        changes.announce()
    return found


def _forget_oldest(service: LLMService, *, removed: int) -> None:
    """Delete what has been removed for longest, if there may be more of it than MAX_REMOVED."""
    if removed <= MAX_REMOVED:
        return
    kept = ServiceModel.objects.filter(service=service, state=ModelState.REMOVED).order_by("-seen_at", "-pk")
    while batch := list(kept.values_list("pk", flat=True)[MAX_REMOVED : MAX_REMOVED + BATCH]):
        ServiceModel.objects.filter(pk__in=batch).delete()


def soon(*, service_id: str) -> None:
    """Let the next look at a service, in a few seconds, list its models."""
    LLMService.objects.enabled().filter(pk=service_id).update(listed_at=None, next_check_at=None)


def prune() -> int:
    """Delete what has been removed for longer than SERVICE_MODEL_RETENTION_DAYS; how many there were."""
    before = now() - timedelta(days=settings.SERVICE_MODEL_RETENTION_DAYS)
    old = ServiceModel.objects.filter(state=ModelState.REMOVED, seen_at__lt=before)
    gone = 0
    while batch := list(old.values_list("pk", flat=True)[:BATCH]):
        ServiceModel.objects.filter(pk__in=batch).delete()
        gone += len(batch)
    return gone


def _values(model: Described) -> dict[str, Any]:
    """The columns of a row, none of which is more than its column holds."""
    values = {name: getattr(model, name) for name in _TOLD}
    for name, length in _TEXTS.items():
        values[name] = _text(values[name], length)
    return {
        **values,
        "description": _text(model.description, 4_000),
        "model_types": list(model.model_types),
        "type": model.type if model.type in ModelType.values else ModelType.UNKNOWN,
        "state": model.state if model.state in ModelState.values else ModelState.UNKNOWN,
        "parameters": _count(model.parameters, 2**63 - 1),
        "size_bytes": _count(model.size_bytes, 2**63 - 1),
        "max_tokens": _count(model.max_tokens, 2**31 - 1),
        "detail": _detail(model.detail),
    }


def _text(value: str, length: int | None) -> str:
    return value.replace("\x00", "")[:length]


def _count(value: int | None, most: int) -> int | None:
    return value if value is not None and 0 <= value <= most else None


def _detail(detail: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from the database; nothing, if it is no small JSON."""
    try:
        text = orjson.dumps(dict(detail))
    except TypeError:
        return {}
    if len(text) > MAX_DETAIL_BYTES:
        return {}
    kept: dict[str, Any] = _without_nul(orjson.loads(text))
    return kept


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, list):
        return [_without_nul(one) for one in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(one) for name, one in value.items()}
    return value


def _nearness(state: str) -> int:
    return _NEARNESS.index(ModelState(state)) if state in _NEARNESS else len(_NEARNESS)
