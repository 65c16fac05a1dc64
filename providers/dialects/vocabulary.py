"""Reading a chat request in OpenAI's vocabulary, for the dialects that say the same in other words.

Everything here raises BadRequest for what is malformed, and Unsupported for what the other side cannot express; nothing
that would change the answer is dropped. Hints that change none (HINTS, an image's `detail`) may be.
Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from providers.errors import BadRequest, Unsupported

HINTS = frozenset(
    {"model", "stream", "stream_options", "user", "safety_identifier", "metadata", "prompt_cache_key"}
    | {"prompt_cache_retention"}
)
# What says nothing: the value that OpenAI itself assumes.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "store": (False,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "service_tier": ("auto",),
    "verbosity": ("medium",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "stop": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "include_image_base64": (False,),
}
_DATA_URL = re.compile(r"data:([\w.+\-]{1,64}/[\w.+\-]{1,64})(?:;[\w=.+\-]{1,64})*;base64,([A-Za-z0-9+/_\-=\s]+)", re.A)
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def bad(message: str) -> BadRequest:
    return BadRequest(message, step="build")


def unsupported(what: str, dialect: str, *, param: str = "") -> Unsupported:
    return Unsupported(
        f"The wire format “{dialect}” cannot express {what[:120]}.",
        hint="Leave it out, or use a model of another factory.",
        step="build",
        param=param,
    )


def refuse_others(payload: Mapping[str, Any], known: Collection[str], dialect: str) -> None:
    """Raise Unsupported for a parameter that is neither known nor without effect."""
    for name, value in payload.items():
        if name in known or name in HINTS or value is None or value in _NEUTRAL.get(name, ()):
            continue
        if name == "parallel_tool_calls" and not payload.get("tools"):
            continue
        raise unsupported(f"the parameter {name!s}", dialect, param=str(name)[:80])


def messages(payload: Mapping[str, Any], dialect: str) -> list[Mapping[str, Any]]:
    """The messages, each an object; raises Unsupported for what none of these formats can say.

    The thoughts of an earlier turn (`reasoning_content`) may be passed over: they are not part of what was said.
    """
    found = payload.get("messages")
    if not isinstance(found, list) or not found:
        raise bad("The request needs messages.")
    for index, message in enumerate(found):
        if not isinstance(message, Mapping):
            raise bad(f"messages[{index}] is not an object.")
        if message.get("name") and message.get("role") != "tool":  # the name of a tool is known by its call
            raise unsupported("the name of a message's author", dialect)
        if message.get("audio"):
            raise unsupported("audio in a message of the assistant", dialect)
        if message.get("function_call"):
            raise unsupported("function_call; use tool_calls instead", dialect)
    return found


def parts(content: Any) -> Iterator[Mapping[str, Any]]:
    """The parts of a message's content; text alone is one part, no content is none."""
    if content is None:
        return
    if isinstance(content, str):
        yield {"type": "text", "text": content}
        return
    if not isinstance(content, list):
        raise bad("The content of a message is neither text nor a list of parts.")
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise bad("A part of a message is not an object with a type.")
        yield part


def text_of(part: Mapping[str, Any]) -> str:
    """The text of a part of type text or refusal."""
    text = part.get(part["type"])
    if not isinstance(text, str):
        raise bad(f"A part of type {part['type']} has no text.")
    return text


def joined_text(content: Any, dialect: str) -> str:
    """Content that may hold nothing but text."""
    found = []
    for part in parts(content):
        if part["type"] not in ("text", "refusal"):
            raise unsupported(f"{part['type']} where only text can be", dialect)
        found.append(text_of(part))
    return "\n".join(found)


def said(message: Mapping[str, Any], dialect: str) -> str:
    """What the assistant said, which may have been that it refuses to answer."""
    refusal = message.get("refusal")
    texts = (joined_text(message.get("content"), dialect), refusal if isinstance(refusal, str) else "")
    return "\n".join(filter(None, texts))


def url_in(part: Mapping[str, Any]) -> str:
    """The URL of an image_url or video_url part."""
    inner = part.get(part["type"])
    url = inner.get("url") if isinstance(inner, Mapping) else inner
    if not isinstance(url, str) or not url:
        raise bad(f"A part of type {part['type']} has no URL.")
    return url


def data_url(url: str) -> tuple[str, str] | None:
    """Media type and Base64 of a data URL; None if it is another URL."""
    if not url.startswith("data:"):
        return None
    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise bad("A data URL is malformed: it must be data:<media type>;base64,<data>.")
    return match.group(1).lower(), "".join(match.group(2).split())


def file_data(part: Mapping[str, Any], dialect: str) -> tuple[str, str, str]:
    """Name, media type and Base64 of a file part."""
    inner = part.get("file")
    inner = inner if isinstance(inner, Mapping) else {}
    if inner.get("file_id"):
        raise unsupported("a file that was uploaded elsewhere (file_id)", dialect)
    found = data_url(url) if isinstance(url := inner.get("file_data"), str) else None
    if found is None:
        raise bad("A file part needs file_data as a data URL.")
    return str(inner.get("filename") or ""), *found


@dataclass(frozen=True, slots=True)
class Format:
    """The answer is to be JSON; `schema` is None where any object will do."""

    schema: Mapping[str, Any] | None


def response_format(payload: Mapping[str, Any], dialect: str) -> Format | None:
    """What response_format asks for; None for text."""
    value = payload.get("response_format")
    kind = value.get("type") if isinstance(value, Mapping) else None
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        return Format(None)
    if kind != "json_schema":
        raise unsupported(f"a response_format of type {kind}", dialect)
    inner = value.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, Mapping) else None
    if not isinstance(schema, Mapping):
        raise bad("response_format has no JSON schema.")
    described = inner.get("description")
    return Format({"description": described, **schema} if isinstance(described, str) and described else schema)


def stops(payload: Mapping[str, Any]) -> list[str]:
    value = payload.get("stop")
    found = [value] if isinstance(value, str) else value or []
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise bad("stop is neither text nor a list of texts.")
    return found


def effort(payload: Mapping[str, Any]) -> str | None:
    value = payload.get("reasoning_effort")
    if value is not None and value not in EFFORTS:
        raise bad(f"reasoning_effort is none of {', '.join(EFFORTS)}.")
    return value


def number(payload: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    """A number within bounds, as it is; None if it is not given."""
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise bad(f"{name} must be a number between {low:g} and {high:g} here.")
    return value


def count(payload: Mapping[str, Any], *names: str) -> int | None:
    """A whole number of at least 1, under the first of these names that is given."""
    for name in names:
        if (value := payload.get(name)) is not None:
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise bad(f"{name} must be a whole number of at least 1.")
            return value
    return None


def put(body: dict[str, Any], **values: Any) -> None:
    """Set what is given: neither None nor empty."""
    body.update({name: value for name, value in values.items() if value not in (None, [], {}, "")})


def put_same(body: dict[str, Any], asked: Mapping[str, Any], names: Collection[str]) -> None:
    """Set those of the parameters that are given and mean the same on the other side."""
    put(body, **{name: asked.get(name) for name in names})


def each(content: Any, convert: Callable[[Mapping[str, Any]], dict[str, Any] | None]) -> list[dict[str, Any]]:
    """The converted parts of a content; a part that converts to None says nothing."""
    return [converted for part in parts(content) if (converted := convert(part)) is not None]
