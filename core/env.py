"""Typed readers of the environment: a malformed value stops the start and names itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from core.origins import origin_of

T = TypeVar("T")

_FALSE = {"0", "false", "no", "off", ""}
_TRUE = {"1", "true", "yes", "on"}
_NAMES = re.compile(r"[A-Za-z_*?][A-Za-z0-9_*?]*")
_ORIGIN = re.compile(r"https?://[^\s/?#@]+/?")
_RATE = re.compile(r"[1-9]\d*/(s|sec|second|m|min|minute|h|hour|d|day)", re.ASCII)


def text(name: str, default: str = "") -> str:
    """`NAME`, or the content of the file that `NAME_FILE` names (how container secrets arrive)."""
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE={path}: {error.strerror}.") from None
        except UnicodeDecodeError:  # it would quote what the file holds
            raise ImproperlyConfigured(f"{name}_FILE={path}: not a text file.") from None
    return os.environ.get(name, default).strip()


def is_set(name: str) -> bool:
    """Whether `text` would find anything, or has to look into a file for it."""
    return any(os.environ.get(each) for each in (name, f"{name}_FILE"))


def pair(first: str, second: str) -> tuple[str, str]:
    """Two values that are of use together only: both, or ("", "")."""
    found = text(first), text(second)
    if any(found) and not all(found):
        raise ImproperlyConfigured(f"{first} and {second} are set together, or neither is.")
    return found


def _read(name: str, default: T, convert: Callable[[str], T], expected: str) -> T:
    raw = text(name)
    if not raw:
        return default
    try:
        return convert(raw)
    except (ValueError, KeyError) as error:
        raise ImproperlyConfigured(f"{name} must be {expected}, not {raw!r}.") from error


def flag(name: str, default: bool) -> bool:
    def convert(raw: str) -> bool:
        if raw.lower() not in _TRUE | _FALSE:
            raise ValueError(raw)
        return raw.lower() in _TRUE

    return _read(name, default, convert, "one of 1, 0, true, false, yes, no, on, off")


def integer(name: str, default: int, *, at_least: int = 0, at_most: int = 2**31) -> int:
    def convert(raw: str) -> int:
        value = int(raw)
        if not at_least <= value <= at_most:
            raise ValueError(raw)
        return value

    return _read(name, default, convert, f"a whole number from {at_least} to {at_most}")


def seconds(name: str, default: float, *, at_most: float = 86_400) -> float:
    def convert(raw: str) -> float:
        value = float(raw)
        if not 0 <= value <= at_most:  # also refuses NaN
            raise ValueError(raw)
        return value

    return _read(name, default, convert, f"a number of seconds from 0 to {at_most:g}")


def choice(name: str, default: str, choices: Iterable[str]) -> str:
    allowed = sorted(choices)

    def convert(raw: str) -> str:
        if raw.lower() not in {option.lower() for option in allowed}:
            raise ValueError(raw)
        return next(option for option in allowed if option.lower() == raw.lower())

    return _read(name, default, convert, "one of " + ", ".join(allowed))


def items(name: str, default: Iterable[str] = ()) -> list[str]:
    """A comma-separated list."""
    return _read(name, list(default), lambda raw: [part.strip() for part in raw.split(",") if part.strip()], "a list")


def networks(name: str) -> list[str]:
    """A comma-separated list of CIDRs, returned in their canonical form."""
    return _read(
        name,
        [],
        lambda raw: [str(ip_network(part.strip())) for part in raw.split(",") if part.strip()],
        "a comma-separated list of networks such as 127.0.0.0/8,10.1.0.0/16",
    )


def bindings(name: str) -> list[tuple[str, str]]:
    """Comma-separated names, or patterns of names (`*`, `?`), each with the origin after a “=”, else with "".

    The value is never quoted: somebody may take it for the place where keys themselves are set.
    """
    found = []
    for part in items(name):
        names, bound, url = (text.strip() for text in part.partition("="))
        try:
            well = bool(_NAMES.fullmatch(names) and (not bound or (_ORIGIN.fullmatch(url) and origin_of(url))))
        except ValueError:  # no such port
            well = False
        if not well:
            raise ImproperlyConfigured(
                f"{name} must be names of variables and where each may go, such as VLLM_API_KEY=http://10.0.0.5:8000."
            )
        found.append((names, origin_of(url)))
    return found


def rate(name: str, default: str) -> str:
    """So many times in a second, minute, hour or day."""

    def convert(raw: str) -> str:
        if not _RATE.fullmatch(raw):
            raise ValueError(raw)
        return raw

    return _read(name, default, convert, "a number and a period such as 60/min, 10/s or 1000/hour")


def url(name: str, default: str, *, schemes: Iterable[str]) -> str:
    """An address with a host. It is never quoted: it may hold a password."""
    raw = text(name)
    if not raw:
        return default
    try:
        parts = urlsplit(raw)
        well = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", raw)
    except ValueError:
        well = False
    if not well:
        expected = " or ".join(f"{scheme}://host" for scheme in schemes)
        raise ImproperlyConfigured(f"{name} must be an address such as {expected}.")
    return raw


def database(name: str, default: dict[str, Any]) -> dict[str, Any]:
    """A `postgresql://` or `sqlite:///` URL, with the database's name, as Django's dictionary."""

    def convert(raw: str) -> dict[str, Any]:
        config = dict(environ.Env.db_url_config(raw))
        if config.get("ENGINE") not in {"django.db.backends.postgresql", "django.db.backends.sqlite3"}:
            raise ValueError(raw)
        if not config.get("NAME"):
            raise ValueError(raw)
        return config

    raw = text(name)
    try:
        return convert(raw) if raw else default
    except Exception:  # what the parser raises may quote the value, and that may hold a password
        raise ImproperlyConfigured(
            f"{name} must be postgresql://user:password@host:5432/name or sqlite:////folder/file."
        ) from None
