"""Which environment variables may be keys of services, and where each may be sent.

What is in the environment belongs to whoever runs the machine, not to the staff who edit services: they could name any
variable and point the service at a server of theirs. So a variable is bound to places where only the machine's
operator can change it: what a driver declares goes to its usual place on this machine or at its vendor, all else
where `SERVICE_KEY_VARIABLES` says. This is looked at when a service is saved, and again whenever a key is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from django.conf import settings

from core.origins import origin_of
from runtimes import drivers

# What this installation itself is opened with: no service is told of it, whoever names the variable.
SECRET_NAMES = frozenset(
    {"SECRET_KEY", "FIELD_ENCRYPTION_KEY", "DATABASE_URL", "REDIS_URL", "METRICS_TOKEN", "DJANGO_SUPERUSER_PASSWORD"}
    | {"ASSUME_ROLE_ACCESS_KEY_ID", "ASSUME_ROLE_SECRET_ACCESS_KEY"}
)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def problem(name: str, urls: Iterable[str]) -> str:
    """Why this variable may not be sent to one of these URLs, as a sentence; "" if it may."""
    if name.removesuffix("_FILE") in SECRET_NAMES:
        return "This variable holds a secret of this installation; no service is told of it."
    places = set(_places(name))
    if not places:
        return f"The variable {name} is not one that services may use."
    if "" in places:
        return ""
    refused = [origin for origin in map(origin_of, urls) if _here(origin) not in places]
    return f"The variable {name} may not be sent to {refused[0]}." if refused else ""


def remedy(name: str) -> str:
    """What to do about a `problem`."""
    return f"Store a key instead, or have {name}=https://host added to SERVICE_KEY_VARIABLES where llmadmin runs."


def _places(name: str) -> Iterator[str]:
    """The origins that it may be sent to; "" stands for any."""
    for driver in drivers.installed().values():
        if driver.api_key_env_var == name:
            yield from (_here(origin_of(url)) for url in driver.default_urls)
    for pattern, origin in settings.SERVICE_KEY_VARIABLES:
        if fnmatchcase(name, pattern):
            yield _here(origin)


def _here(origin: str) -> str:
    """The same for all names of this machine."""
    host = urlsplit(origin).hostname
    if host not in _LOOPBACK:
        return origin
    written = f"[{host}]" if ":" in host else host
    return origin.replace(f"//{written}:", "//localhost:", 1)
