"""Takes out of a text where things are on somebody's machines: absolute paths, addresses, hosts of a private network.

What a runtime says of a failure may name the folders and the neighbours of the machine it runs on, and is read by
people who are strangers there. Links to public sites stay. It rather removes too much than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

PATH, ADDRESS = "[path]", "[address]"

_PRIVATE = ("local", "localhost", "localdomain", "internal", "intranet", "lan", "home", "corp", "svc", "arpa")
_IN_PATH = r"[^\s\"'`<>|*?,;:()\[\]{}]"
_FOUND = re.compile(
    rf"""
      (?P<quoted> (?P<quote>["'`]) (?:/|~/|\\\\|[A-Za-z]:[\\/]) [^"'`\n]{{1,1024}} (?P=quote) )
    | (?P<url> \b[A-Za-z][A-Za-z0-9+.\-]{{1,15}}://[^\s"'`<>,;(){{}}]{{0,2048}} )
    | (?P<windows> (?<![A-Za-z0-9]) [A-Za-z]:[\\/]{_IN_PATH}* | \\\\{_IN_PATH}+ )
    | (?P<posix> (?<![A-Za-z0-9_.\-</\\]) ~?/{_IN_PATH}+ )
    | (?P<four> (?<![\w.]) \d{{1,3}}(?:\.\d{{1,3}}){{3}} (?::\d{{1,5}})? (?!\w) )
    | (?P<six> \[[0-9A-Fa-f:.]{{2,45}}(?:%\w{{1,16}})?\](?::\d{{1,5}})?
             | (?<![\w:.]) (?=[0-9A-Fa-f]{{0,4}}:) [0-9A-Fa-f:]{{2,39}} (?![\w:]) )
    | (?P<host> (?<![\w.\-]) (?:localhost:\d{{1,5}}
                | (?:[\w\-]{{1,63}}\.){{1,8}}(?:{"|".join(_PRIVATE)})\b(?::\d{{1,5}})? ) )
    """,
    re.X | re.I,
)


def without_places(text: str, *, urls: Iterable[str] = ()) -> str:
    """`text` with PATH and ADDRESS in the place of what it says of machines; the hosts of `urls` are such machines."""
    own = sorted({name for url in urls for name in _names(url)}, key=len, reverse=True)
    hosts = {urlsplit(url).hostname or "" for url in urls}
    for name in own:
        text = re.sub(rf"(?<![\w.\-]){re.escape(name)}(?![\w\-])", ADDRESS, text, flags=re.I)
    return _FOUND.sub(lambda found: _instead(found, hosts), text)


def _names(url: str) -> set[str]:
    """What of a URL is unmistakable in a text: its host with the port, and one with a dot also alone."""
    host = urlsplit(url).hostname or ""
    return {name for name in (urlsplit(url).netloc.rpartition("@")[2], host) if "." in name or ":" in name}


def _instead(found: re.Match[str], hosts: set[str]) -> str:
    text = found[0]
    match found.lastgroup:
        case "quoted" | "quote":
            return f"{found['quote']}{PATH}{found['quote']}"
        case "windows" | "posix":
            return PATH
        case "url":
            return _url(text, hosts)
        case "six":
            return ADDRESS if _is_address(text.partition("]")[0].strip("[").partition("%")[0]) else text
        case _:
            return ADDRESS


def _url(text: str, hosts: set[str]) -> str:
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return ADDRESS
    if parts.scheme.lower() == "file":
        return PATH
    public = "." in host and not _is_address(host) and host.rpartition(".")[2] not in _PRIVATE and host not in hosts
    return text if public and ADDRESS not in text else ADDRESS


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
