"""A request as HTTP/1.1 puts it on the wire, and the server it goes to.

Nothing of a request can end a line or begin another: URL, method, names and values are checked here, and the fields
that say where a message ends and whom it is for are ours alone.
Sources: https://www.rfc-editor.org/rfc/rfc9110 and https://www.rfc-editor.org/rfc/rfc9112

Part of `providers.upstream`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

from core.origins import DEFAULT_PORTS
from providers import network_errors
from providers.wire import UpstreamRequest

_URL = re.compile(r"(https?)://([^/?#\\@%\s]+)(/[!-~]*)?", re.I | re.A)  # without query and fragment
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::([0-9]{0,5}))?", re.I | re.A)
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_MAX_NAME = 253
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 section 5.5
_QUERY = re.compile(r"[!-~]*")
# Which of them say where a message ends, or what becomes of the connection: nobody else's business.
_OURS = frozenset(
    {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
# RFC 9110 section 9.2.2: sent twice, they do what they do sent once.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_WITH_A_BODY = frozenset({"POST", "PUT", "PATCH"})  # for these a missing length would be odd


class Server(NamedTuple):
    """Where connections lead. The host is a name or address in lower case; IPv6 has no brackets here."""

    tls: bool
    host: str
    port: int


def encode(request: UpstreamRequest) -> tuple[Server, bytes]:
    """The server, and the request up to its body; raises WrongURL or BadRequest."""
    try:
        server, host, target = _target(request.url)
    except ValueError:  # whose text would show the URL
        raise network_errors.wrong_url() from None
    try:
        return server, _head(request, host, target).encode("latin-1")
    except ValueError:  # UnicodeEncodeError is one
        raise network_errors.unsendable() from None


def _target(url: str) -> tuple[Server, str, str]:
    """The server, what the Host header says, and the request's target."""
    base, asked, query = url.partition("#")[0].partition("?")
    server, host, path = _parsed(base)  # never the query, which may hold a key
    if not asked:
        return server, host, path
    if not _QUERY.fullmatch(query):
        raise ValueError("query")
    return server, host, f"{path}?{query}"


@lru_cache(maxsize=2048)
def _parsed(url: str) -> tuple[Server, str, str]:
    found = _URL.fullmatch(url)
    authority = found and _AUTHORITY.fullmatch(found[2])
    if found is None or authority is None:
        raise ValueError("not a URL that can be called")
    scheme = found[1].lower()
    port = int(authority[3] or DEFAULT_PORTS[scheme])
    if not 0 < port < 65536:
        raise ValueError("port")
    host = shown = _name(authority[2]) if authority[2] else str(IPv6Address(authority[1]))
    if authority[1]:
        shown = f"[{host}]"
    if port != DEFAULT_PORTS[scheme]:
        shown = f"{shown}:{port}"
    return Server(scheme == "https", host, port), shown, found[3] or "/"


def _name(host: str) -> str:
    """A host name as DNS knows it; raises ValueError, of which UnicodeError is one."""
    name = host.lower() if host.isascii() else host.encode("idna").decode().lower()
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise ValueError("host")
    return name


def _head(request: UpstreamRequest, host: str, target: str) -> str:
    """Raises ValueError if the method or a header cannot be sent."""
    if not _is_token(request.method):
        raise ValueError("method")
    lines = [f"{request.method} {target} HTTP/1.1\r\nHost: {host}\r\n"]
    length = None if request.body is None else str(len(request.body))
    accept, encodings = "Accept: */*\r\n", "Accept-Encoding: identity\r\n"
    for name, value in request.headers.items():
        key = _key(name)
        # What is printable ASCII is right in any case, and quick to tell.
        if not (value.isascii() and value.isprintable()) and not _VALUE.fullmatch(value):
            raise ValueError("header")
        if key:
            if key == "accept":
                accept = ""
            elif key == "accept-encoding":
                encodings = ""
            elif value == (host if key == "host" else length):
                continue
            else:  # another host, or another length
                raise ValueError("header")
        lines.append(f"{name}: {value}\r\n")
    lines += accept, encodings
    if length is not None or request.method in _WITH_A_BODY:
        lines.append(f"Content-Length: {length or 0}\r\n")
    lines.append("\r\n")
    return "".join(lines)


@lru_cache(maxsize=1024)
def _key(name: str) -> str:
    """The name in lower case if it needs a look, "" for any other; raises ValueError if it cannot be sent."""
    key = name.lower()
    if not _is_token(name) or key in _OURS:
        raise ValueError("header")
    return key if key in ("accept", "accept-encoding", "content-length", "host") else ""


@lru_cache(maxsize=64)
def _is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None
