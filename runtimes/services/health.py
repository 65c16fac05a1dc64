"""Looks at services: whether they answer, how fast, what they can do; and tells when they come and go.

    look(service)        # one, now; for a worker
    look_at_due()        # all whose time has come, side by side: one that hangs delays nothing but its own row

A service is up if any of its URLs answers. One that is down is looked at ever more rarely, up to every five minutes.
What a look finds is written by itself; which models an answering service has is asked right after it (`listing`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import SimpleQueue
from threading import Thread
from time import monotonic

import structlog
from django.conf import settings
from django.db import DataError, transaction
from django.db.models import F

from core.clock import now
from core.errors import AppError
from providers.errors import BadReply, BadRequest, TimedOut, UpstreamError
from providers.upstream import Pool
from runtimes import drivers
from runtimes.drivers.base import CAPABILITIES, Presence
from runtimes.models import Health, LLMService, ServiceEvent
from runtimes.services import calls, listing
from runtimes.services.driving import perform
from runtimes.services.listing import Listed

logger = structlog.get_logger(__name__)

LONGEST_LOOK_S, LONGEST_LIST_S = 10.0, 20.0  # rounds share the workers with everything else
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
JITTER = 0.2
# A busy runtime may miss one look for lack of time; two in a row count.
MISSES = 2
AT_ONCE = 64
AT_MOST = 200  # services that one round takes, so that it ends within the time of its task
CLAIMED_FOR = timedelta(seconds=60)
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Seen:
    """What one URL answered."""

    url: str
    presence: Presence | None = None
    latency_ms: int | None = None
    error: UpstreamError | None = None


Answer = tuple[LLMService, "tuple[Seen, ...] | Listed"]


def look(service: LLMService) -> LLMService:
    """Look at one service now, and list its models if it answers; returns its row as it is then. For a worker."""
    _note_all(_answers([service]))
    return LLMService.objects.get(pk=service.pk)


def look_at_due() -> int:
    """Look at the services whose time has come; how many there were."""
    at = now()
    mine = []
    for service in LLMService.objects.due(at).order_by(F("next_check_at").asc(nulls_first=True))[:AT_MOST]:
        # Whoever moves the date looks: two workers never look at the same time.
        unclaimed = LLMService.objects.filter(pk=service.pk, next_check_at=service.next_check_at, is_enabled=True)
        if unclaimed.update(next_check_at=at + CLAIMED_FOR):
            mine.append(service)
    _note_all(_answers(mine))
    return len(mine)


async def ask(service: LLMService, *, pool: Pool | None = None) -> tuple[Seen, ...]:
    """Ask all URLs of a service at once. Never raises; touches no database."""
    try:
        driver = drivers.get(service.type)
    except AppError as error:
        return (Seen("", error=BadRequest(error.message, hint=error.hint, step="build")),)
    within_s = min(float(service.short_timeout_s), LONGEST_LOOK_S)

    async def at(url: str) -> Seen:
        started = monotonic()
        try:
            steps = driver.ping()
            presence = await perform(steps, service=service, base_url=url, timeout_s=within_s, pool=pool)
        except UpstreamError as error:
            return Seen(url, error=error)
        except Exception as error:  # a driver that stumbles over an odd answer takes no other service with it
            logger.exception("service.look_failed", service=service.name)
            return Seen(url, error=BadReply(f"Its answer was not understood ({type(error).__name__}).", step="parse"))
        return Seen(url, presence, round((monotonic() - started) * 1000))

    return tuple(await asyncio.gather(*(at(url) for url in calls.urls(service, driver) or ("",))))


@transaction.atomic
def note(*, service_id: str, seen: tuple[Seen, ...]) -> LLMService | None:
    """Keep what a look found; None if the service is gone."""
    service = LLMService.objects.select_for_update().filter(pk=service_id).first()
    if service is None:
        return None
    at = now()
    before = service.health
    answered = [one for one in seen if one.presence is not None]
    failures = [one.error for one in seen if one.error is not None]
    values: dict[str, object] = {"checked_at": at}
    if answered:
        presence = answered[0].presence or Presence()
        values |= {
            "health": Health.UP,
            "failures": 0,
            "latency_ms": min(one.latency_ms or 0 for one in answered),
            "version": presence.version[:64],
            "capabilities": {name: bool(can) for name, can in presence.capabilities.items() if name in CAPABILITIES},
            "error": _some_missing(len(failures), len(seen), failures) if failures else _about_models(service),
            "up_since": service.up_since if before == Health.UP and service.up_since else at,
            "found_at": None if service.is_enabled else service.found_at,
        }
    else:
        patient = before == Health.UP and isinstance(failures[0], TimedOut) and service.failures + 1 < MISSES
        values |= {
            "health": before if patient else Health.DOWN,
            "failures": service.failures + 1,
            "error": described(failures[0]),
            "up_since": service.up_since if patient else None,
        }
    values["next_check_at"] = _next(at, int(str(values["failures"])))
    changed = [name for name, value in values.items() if getattr(service, name) != value]
    for name in changed:
        setattr(service, name, values[name])
    service.save(update_fields=changed)
    if service.health != before:
        reason = f"{failures[0].message}"[:255] if failures and not answered else ""
        ServiceEvent.objects.create(service=service, at=at, before=before, after=service.health, reason=reason)
        logger.info("service.health_changed", service=service.name, before=before, after=service.health)
    return service


@transaction.atomic
def note_listing_failed(*, service_id: str, error: UpstreamError) -> None:
    """Keep that a service answers, but does not tell its models; a list that comes takes it back."""
    service = LLMService.objects.select_for_update().filter(pk=service_id).first()
    if service is not None and service.health == Health.UP:
        service.error = {**described(error), "about": listing.ABOUT}
        service.save(update_fields=["error"])


def described(error: UpstreamError) -> dict[str, str]:
    """An error as a row keeps it."""
    return {"code": error.code, "message": error.message[:500], "hint": error.hint[:500], "step": error.step}


def prune() -> int:
    """Delete events older than SERVICE_EVENT_RETENTION_DAYS; how many there were."""
    old = ServiceEvent.objects.filter(at__lt=now() - timedelta(days=settings.SERVICE_EVENT_RETENTION_DAYS))
    gone = 0
    while batch := list(old.values_list("pk", flat=True)[:BATCH]):
        gone += ServiceEvent.objects.filter(pk__in=batch).delete()[0]
    return gone


def pause_s(failures: int) -> float:
    """How long after so many failed looks in a row the next one is, in seconds, without jitter."""
    if not failures:
        return float(settings.SERVICE_CHECK_INTERVAL_S)
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16))


def _next(at: datetime, failures: int) -> datetime:
    return at + timedelta(seconds=pause_s(failures) * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311


def _some_missing(missing: int, of: int, failures: list[UpstreamError]) -> dict[str, str]:
    error = described(failures[0])
    return {**error, "code": "some_urls_down", "message": f"{missing} of {of} URLs: {error['message']}"}


def _about_models(service: LLMService) -> dict[str, str]:
    return service.error if service.error.get("about") == listing.ABOUT else {}


def _answers(services: Iterable[LLMService]) -> Iterator[Answer]:
    """What services answer, as it comes: the network is a thread's, so that this one can write meanwhile."""
    told: SimpleQueue[Answer | None] = SimpleQueue()

    def work() -> None:
        try:
            asyncio.run(_ask_all(list(services), told))
        finally:
            told.put(None)

    thread = Thread(target=work, name="looks", daemon=True)
    thread.start()
    while (answer := told.get()) is not None:
        yield answer
    thread.join()


async def _ask_all(services: list[LLMService], told: SimpleQueue[Answer | None]) -> None:
    turn = asyncio.Semaphore(AT_ONCE)
    async with Pool() as pool:

        async def one(service: LLMService) -> None:
            async with turn:
                seen = await ask(service, pool=pool)
                told.put((service, seen))
                if any(one.presence is not None for one in seen) and _to_be_listed(service):
                    told.put((service, await _list(service, pool)))

        await asyncio.gather(*(one(service) for service in services))


async def _list(service: LLMService, pool: Pool) -> Listed:
    try:
        return await listing.ask(service, within_s=LONGEST_LIST_S, pool=pool)
    except UpstreamError as error:
        return Listed((), whole=False, error=error)
    except Exception as error:  # as above
        logger.exception("service.listing_failed", service=service.name)
        problem = BadReply(f"Its list was not understood ({type(error).__name__}).", step="parse")
        return Listed((), whole=False, error=problem)


def _to_be_listed(service: LLMService) -> bool:
    if not service.enable_discovery:
        return False
    due = timedelta(seconds=settings.SERVICE_LIST_INTERVAL_S)
    return service.health != Health.UP or service.listed_at is None or service.listed_at + due <= now()


def _note_all(answers: Iterable[Answer]) -> None:
    for service, answer in answers:
        try:
            _note(service, answer)
        except (DataError, ValueError, TypeError, OverflowError):  # what one of them said takes no other with it
            logger.exception("service.not_noted", service=service.name)


def _note(service: LLMService, answer: tuple[Seen, ...] | Listed) -> None:
    if not isinstance(answer, Listed):
        note(service_id=service.pk, seen=answer)
    elif answer.models or answer.error is None:
        listing.store(service_id=service.pk, listed=answer)
    else:
        note_listing_failed(service_id=service.pk, error=answer.error)
