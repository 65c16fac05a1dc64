"""Origins: what a secret is bound to, and what decides whether a request may carry it."""

from __future__ import annotations

from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """`scheme://host:port` of a URL, lower-case, with the scheme's own port written out; "" if it has no host."""
    parts = urlsplit(url)
    if not parts.scheme or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme.lower()}://{host}:{parts.port or DEFAULT_PORTS.get(parts.scheme.lower(), 0)}"
