"""System checks of how the parts are wired together.

E004  DEBUG where others can reach it
W007  a public address without TLS (--deploy)
W008  several web workers on SQLite
W017  TLS without a proxy that is trusted to say so (--deploy)
W018  ALLOWED_HOSTS accepts any name
W023  the first logins still lie in their file (--deploy)
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

Apps = Sequence[AppConfig] | None
FIRST_RUN_FILE = "first-run.json"
LOCAL_NAMES = {"localhost", "testserver", ""}


def is_local(host: str) -> bool:
    """Whether a host name or address leads nowhere but to this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name in LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


@register(Tags.security)
def check_debug(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    hosts = [settings.HOST, urlsplit(settings.PUBLIC_URL).hostname or "", *settings.ALLOWED_HOSTS]
    reachable = list(dict.fromkeys(host for host in hosts if not is_local(host)))
    if not settings.DEBUG or not reachable:
        return []
    return [
        Error(
            f"DEBUG is on, and others can reach this installation ({', '.join(reachable)}).",
            hint="Error pages show settings and requests. Unset DEBUG, or listen on 127.0.0.1 only.",
            id="llmadmin.E004",
        )
    ]


@register(Tags.security)
def check_hosts(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        Warning(
            "ALLOWED_HOSTS accepts any name.",
            hint="List the names that this installation is reached by.",
            id="llmadmin.W018",
        )
    ]


@register(Tags.security, deploy=True)
def check_public_url(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    url = urlsplit(settings.PUBLIC_URL)
    if url.scheme == "https":
        if settings.TRUSTED_PROXIES:
            return []
        return [
            Warning(
                "PUBLIC_URL is https, but no proxy is trusted to say how a request arrived.",
                hint="Set TRUSTED_PROXIES to the number of proxies in front, so that plain HTTP can be redirected.",
                id="llmadmin.W017",
            )
        ]
    if is_local(url.hostname or "") and is_local(settings.HOST):
        return []
    return [
        Warning(
            f"PUBLIC_URL ({settings.PUBLIC_URL}) is not https, and others can reach this installation.",
            hint="Keys and tokens would cross the network in the clear. Put a proxy with TLS in front, set PUBLIC_URL "
            "to its https address and TRUSTED_PROXIES to 1.",
            id="llmadmin.W007",
        )
    ]


@register(Tags.security, deploy=True)
def check_first_logins(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    file = settings.DATA_DIR / FIRST_RUN_FILE
    if not file.exists():
        return []
    return [
        Warning(
            f"{file} still holds the first administrator's password and the first API token.",
            hint="Keep both where your other secrets are, or replace them. Delete the file: it is not written again.",
            id="llmadmin.W023",
        )
    ]


@register()
def check_workers(app_configs: Apps, **_: Any) -> list[CheckMessage]:
    if settings.WEB_WORKERS == 1 or not settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        return []
    return [
        Warning(
            f"{settings.WEB_WORKERS} web workers share a SQLite database, which lets one write at a time.",
            hint="Set DATABASE_URL to a PostgreSQL database, or WEB_WORKERS=1.",
            id="llmadmin.W008",
        )
    ]
