"""One behaviour of base URLs for every operation.

    base URL  +  version path (only if the base has no version)  +  the operation's path

A tenant's base URL that is a server alone, such as https://proxy.example, gets the path of the vendor's own. A base
that already ends in an operation's path, as people paste it, is cut back to the API's root first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

MAX_URL_LENGTH = 2048
# A part of a path such as v1, v1beta or v1.2; what follows it (/v3/openai, /v1/<account>/<gateway>) is of the base.
_VERSION = re.compile(r"/v\d+(?:\.\d+)?(?:(?:alpha|beta|preview)\d*)?(?=/|$)", re.I)
_ENDPOINTS = (
    *("/chat/completions", "/completions", "/messages", "/embeddings", "/rerank"),
    *("/audio/transcriptions", "/audio/speech"),
)
# What stands for a field in the host of a template, and what such a field may hold: a part of one label of a host.
_PLACE = re.compile(r"\{([a-z][a-z0-9_]{0,63})\}")
_REGION = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+){0,4}")
_MAX_REGION = 32
_HOST = re.compile(r"[a-z0-9_\-.]+|[0-9a-f:.]+", re.I)


def clean_base_url(url: str, *, in_process: bool = False) -> str:
    """The base URL without trailing slashes; raises ValueError with a reason a person can act on.

    `in_process`: it may also name an upstream inside this process (`inproc://…`), which no tenant's may.
    """
    text = url.strip()
    if not text:
        raise ValueError("the base URL is empty")
    if len(text) > MAX_URL_LENGTH:
        raise ValueError(f"the base URL is longer than {MAX_URL_LENGTH} characters")
    if re.search(r"[\s\\\x00-\x1f\x7f]", text):
        raise ValueError("the base URL holds a space, a backslash or a control character")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("the base URL has no valid host and port") from None
    if parts.scheme not in ("http", "https") and not (in_process and parts.scheme == "inproc"):
        raise ValueError("the base URL must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("the base URL must not hold a user name or password")
    if "?" in text or "#" in text:
        raise ValueError("the base URL must have neither a query (?) nor a fragment (#)")
    if not host or port == 0:
        raise ValueError("the base URL has no valid host and port")
    ascii_host = _ascii_host(host)
    if any(segment in (".", "..") for segment in re.sub("%2e", ".", parts.path, flags=re.I).split("/")):
        raise ValueError("the base URL's path must not hold . or ..")
    netloc = f"[{ascii_host}]" if ":" in ascii_host else ascii_host
    if port is not None:
        netloc = f"{netloc}:{port}"
    path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
    return f"{parts.scheme}://{netloc}{path}"


def completed(base_url: str, usual: str) -> str:
    """A base URL that names a server alone, with the path of the usual one; any other as it is."""
    parts = urlsplit(base_url)
    alone = parts.netloc and not parts.path.strip("/")
    return f"{parts.scheme}://{parts.netloc}{urlsplit(usual).path}" if alone else base_url


def check_template(template: str) -> str:
    """A base URL with fields in its host, such as https://api.{region}.vendor.com; raises ValueError."""
    text = template.strip().rstrip("/")
    host = text.removeprefix("https://").partition("/")[0]
    if not text.startswith("https://") or not _PLACE.search(host):
        raise ValueError("a template begins with https:// and names a field in its host, such as {region}")
    if re.search(r"[{}]", ".".join(host.split(".")[-2:])):
        raise ValueError("a template's host must end in the vendor's own domain")
    plain = _PLACE.sub("x", host)
    if re.search(r"[{}]", plain + text[len("https://") + len(host) :]):
        raise ValueError("only a template's host may name fields")
    clean_base_url(text.replace(host, plain, 1))
    return text


def template_fields(template: str) -> list[str]:
    """The names of a template's fields."""
    return _PLACE.findall(template)


def is_region(text: str) -> bool:
    """Whether a field may stand in a template's host."""
    return len(text) <= _MAX_REGION and _REGION.fullmatch(text) is not None


def fill_template(template: str, fields: Mapping[str, str]) -> str:
    """The template with the fields in place; raises ValueError that names the first which does not fit."""
    for name in template_fields(template):
        if not is_region(fields.get(name, "")):
            raise ValueError(f"{name} must be a region such as us-east-1")
    return clean_base_url(_PLACE.sub(lambda match: fields[match.group(1)], template))


def join_url(base_url: str, version_path: str, path: str, *, endpoints: Iterable[str] = ()) -> str:
    """The URL of one call; `endpoints` are further paths that a pasted base may end in. Raises ValueError."""
    return _joined(base_url, version_path, path, tuple(endpoints))


@lru_cache(maxsize=4096)
def _joined(base_url: str, version_path: str, path: str, endpoints: tuple[str, ...]) -> str:
    base = clean_base_url(base_url, in_process=True)  # whether it may be called is the policy's to say
    for endpoint in sorted({*_ENDPOINTS, *endpoints, path} - {"", "/models"}, key=len, reverse=True):
        if base.endswith(endpoint):
            base = base[: -len(endpoint)]
            break
    else:
        # A proxy may well live under /models; behind a version it is the list of them.
        if base.endswith("/models") and _VERSION.search(base[: -len("/models")]):
            base = base[: -len("/models")]
    origin_end = base.index("/", base.index("://") + 3) if base.count("/") > 2 else len(base)
    if version_path and not _VERSION.search(base[origin_end:]):
        base += version_path
    return base + path


def _ascii_host(host: str) -> str:
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise ValueError("the base URL has no valid host and port") from None
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError("the base URL has no valid host and port")
    return host.lower()
