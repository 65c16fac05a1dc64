"""Reading what an upstream sent: JSON where JSON is expected, and a description of anything else."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from core.redact import CUT, redact
from providers.errors import BadReply

MAX_WORDS = 200
_NESTED = (dict, list)
MAX_DEPTH = 100  # of JSON; what is written anew from it may be nested 254 deep at most
_PEEK_BYTES = 8192
_TITLE = re.compile(r"(?i)<title\b[^<>]{0,200}>([^<]{0,500})</title")
_TAGS = re.compile(r"(?is)<(script|style|head)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)|<[^>]*>?")


def media_type(headers: Mapping[str, str]) -> str:
    """The content type without its parameters, in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def words(text: str, limit: int = MAX_WORDS) -> str:
    """`text` on one line, without keys, tags or control characters, cut to `limit` characters."""
    peek = redact("".join(c if c.isprintable() else " " for c in text[:_PEEK_BYTES]))
    short = " ".join(peek.split())
    return short if len(short) < limit and len(text) <= _PEEK_BYTES else short[: limit - 1].rstrip() + CUT


def first_words(body: bytes) -> str:
    """The beginning of a body that is not JSON, stripped of tags."""
    peek = body[:_PEEK_BYTES].decode("utf-8", "replace")
    text = " ".join(_TAGS.sub(" ", peek).split()) if "<" in peek else peek
    if (title := _TITLE.search(peek)) and not text.startswith(title.group(1).strip()):
        text = f"{title.group(1)} {text}"
    return words(html.unescape(text))


def what_came(headers: Mapping[str, str], body: bytes) -> str:
    """A sentence that names the content type and the first words, for a hint."""
    kind = words(media_type(headers), 60) or "no content type"
    if not body.strip():
        return f"An empty answer came ({kind})."
    if b"\0" in body[:_PEEK_BYTES]:
        return f"Binary data came ({kind})."
    return f"What came is {kind}: “{first_words(body)}”."


def loads(text: bytes | str) -> Any:
    """JSON that can be written again; raises ValueError for what is none, or is nested deeper than MAX_DEPTH."""
    value = orjson.loads(text)
    raw = text.encode() if isinstance(text, str) else text
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and is_deep(value):
        raise ValueError("it is nested too deeply")
    return value


def is_deep(value: Any) -> bool:
    """Whether objects and lists are nested deeper than MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inside = []
        for outer in level:
            for inner in outer.values() if isinstance(outer, dict) else outer:
                if isinstance(inner, _NESTED):
                    inside.append(inner)
        if not inside:
            return False
        level = inside
    return True


def load(headers: Mapping[str, str], body: bytes) -> Any:
    """The JSON of a successful answer; raises BadReply that names what came instead."""
    try:
        return loads(body)
    except ValueError:
        raise unexpected("The upstream's answer is not JSON.", headers, body) from None


def load_object(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    data = load(headers, body)
    if not isinstance(data, dict):
        raise unexpected("The upstream's answer is not a JSON object.", headers, body)
    return data


def unexpected(message: str, headers: Mapping[str, str], body: bytes) -> BadReply:
    """A BadReply whose hint names what came."""
    return BadReply(message, hint=f"{what_came(headers, body)} {BadReply.default_hint}", step="parse")


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error body says, whichever shape it has.

    `codes` are its structured codes in lower case, `param` the parameter that it names, if it names one.
    """

    message: str = ""
    codes: tuple[str, ...] = ()
    structured: bool = False  # a JSON error object, not just any JSON or a web page
    param: str = ""

    @property
    def code(self) -> str:
        """The most telling one: a name rather than a number that repeats the status."""
        return next((code for code in self.codes if not code.isdigit()), self.codes[0] if self.codes else "")


def read_problem(body: bytes) -> Problem:
    """The error in a body. Understands the shapes of OpenAI, Google, FastAPI, Cohere, DashScope, Cloudflare, Baidu."""
    try:
        data = loads(body)
    except ValueError:
        return Problem(first_words(body))
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        return Problem(words(str(data)))
    error = data.get("error") or data.get("errors") or data.get("base_resp") or data.get("detail") or data.get("Error")
    if isinstance(error, list) and error:
        error = error[0]
    inner = error if isinstance(error, dict) else {}
    message = _message(inner) or (error if isinstance(error, str) else "") or _message(data)
    codes = tuple(dict.fromkeys((*_codes(inner), *_codes(data))))
    named = isinstance(data.get("error"), dict | str) or data.get("object") == "error" or bool(codes)
    return Problem(words(message, 300), codes, structured=bool(named), param=_param(inner) or _param(data))


def _message(data: Mapping[str, Any]) -> str:
    for name in ("message", "msg", "error", "error_msg", "errorMsg", "status_msg", "detail", "title", "Message"):
        if isinstance(value := data.get(name), str) and value.strip():
            return value
    return ""


def _param(data: Mapping[str, Any]) -> str:
    """OpenAI's `param`, or the place in the body that FastAPI's `loc` says."""
    found = data.get("param")
    if isinstance(place := data.get("loc"), list):
        found = ".".join(str(step) for step in place if isinstance(step, str | int)).removeprefix("body.")
    return words(found, 80) if isinstance(found, str) else ""


def _codes(data: Mapping[str, Any]) -> list[str]:
    codes = []
    for name in ("code", "type", "status", "error_code", "errorCode", "status_code", "Code"):
        value = data.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            codes.append(words(str(value).lower(), 80))
    details = data.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str):
            codes.append(words(detail["reason"].lower(), 80))
    return codes
