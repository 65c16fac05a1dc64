"""Origins: what a secret is bound to, and what decides whether a request may carry it."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
# A WebSocket is opened by an HTTP request to the same server, over the same TLS.
_OPENED_BY = {"ws": "http", "wss": "https"}


def origin_of(url: str) -> str:
    """`scheme://host:port` of a URL, lower-case, with the scheme's own port written out; "" if it has no host.

    That of a WebSocket is the one of the HTTP request that opens it: http for ws, https for wss.
    """
    return _origin_of(url.partition("?")[0])


@lru_cache(maxsize=4096)
def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    scheme = _OPENED_BY.get(parts.scheme.lower(), parts.scheme.lower())
    return f"{scheme}://{host}:{parts.port or DEFAULT_PORTS.get(scheme, 0)}"
