"""Looks for runtimes on the usual ports of local services that are not enabled, and offers them. It enables nothing.

Which machines are looked at is the operator's setting SERVICE_DISCOVERY_HOSTS: this one alone, if it is not set. No key
is sent. A service that was found has `found_at`; it is shown to staff, and told of by the audit event `service.found`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from core import audit
from core.audit import SYSTEM
from core.clock import now
from core.origins import origin_of
from providers.base_urls import clean_base_url
from providers.upstream import Pool
from runtimes import drivers
from runtimes.drivers.base import Driver
from runtimes.models import LLMService
from runtimes.services import health

WITHIN_S = 2
AT_ONCE = 16
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def look_for_local() -> list[str]:
    """Look for all local services that are not enabled; the names of those that were found anew. For a worker."""
    known = drivers.installed()
    candidates = [
        (service, driver)
        for service in LLMService.objects.filter(is_enabled=False)
        if (driver := known.get(service.type)) is not None and driver.is_local and not driver.in_process
    ]
    networks = {host: _networks(host) for host in settings.SERVICE_DISCOVERY_HOSTS}
    taken = {place(url) for urls in LLMService.objects.enabled().values_list("urls", flat=True) for url in urls}
    found = asyncio.run(_look(candidates, networks, taken))
    return [service.name for service, _ in candidates if note_found(service_id=service.pk, url=found.get(service.pk))]


@transaction.atomic
def note_found(*, service_id: str, url: str | None) -> bool:
    """Keep that a disabled service was found at `url`, or that it is not there; whether that is news to be told."""
    service = LLMService.objects.select_for_update().filter(pk=service_id, is_enabled=False).first()
    if service is None or (service.found_at is None) == (url is None):
        return False
    service.found_at = now() if url else None
    service.save(update_fields=["found_at"])
    if url:
        audit.record("service.found", actor=SYSTEM, target=service.name, url=url)
    return bool(url)


def usual_urls(driver: Driver, hosts: Iterable[str]) -> list[str]:
    """The driver's usual URLs on these hosts."""
    found = []
    for host in hosts:
        for usual in driver.default_urls:
            parts = urlsplit(usual)
            name = f"[{host}]" if ":" in host else host
            with suppress(ValueError):
                found.append(clean_base_url(f"{parts.scheme}://{name}:{parts.port or 80}{parts.path}"))
    return list(dict.fromkeys(found))


def place(url: str) -> str:
    """Which server a URL is of; this machine has one name."""
    origin = origin_of(url)
    scheme, _, rest = origin.partition("://")
    host, _, port = rest.rpartition(":")
    return f"{scheme}://{'127.0.0.1' if host in _LOOPBACK else host}:{port}"


async def _look(
    candidates: list[tuple[LLMService, Driver]], networks: dict[str, list[str]], taken: set[str]
) -> dict[str, str]:
    """Where each was found, by the service's id."""
    turn = asyncio.Semaphore(AT_ONCE)
    found: dict[str, str] = {}
    async with Pool() as pool:

        async def one(service: LLMService, url: str, allowed: list[str]) -> None:
            stranger = LLMService(name=service.name, type=service.type, urls=[url], allowed_networks=allowed)
            stranger.short_timeout_s = stranger.long_timeout_s = WITHIN_S
            async with turn:
                if any(seen.presence is not None for seen in await health.ask(stranger, pool=pool)):
                    found.setdefault(service.pk, url)

        await asyncio.gather(
            *(
                one(service, url, allowed)
                for host, allowed in networks.items()
                for service, driver in candidates
                for url in usual_urls(driver, [host])
                if place(url) not in taken
            )
        )
    return found


def _networks(host: str) -> list[str]:
    """The addresses of a host that the operator named, as networks of one."""
    with suppress(ValueError):
        return [str(ip_address(host))]
    with suppress(OSError):
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)})
    return []
