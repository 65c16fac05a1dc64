"""What the models answer, worked out from the question alone: no chance, no clock. Pure.

Tokens are pieces of at most four characters of a word, with the space before it.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any

_TOKENS = re.compile(r"\s*\S{1,4}|\s+\Z")
_PIECES = re.compile(r"\s*\S+|\s+\Z")
_PICTURE_TOKENS = 85
_ECHO_CHARS = 160
_MAX_DEPTH = 8
_SPREAD = 2_654_435_761  # makes neighbouring checksums fall far apart (Knuth's multiplicative hash)


@dataclass(frozen=True, slots=True)
class Said:
    """A whole answer: text or calls of tools, and what it cost."""

    text: str
    tool_calls: tuple[dict[str, Any], ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }

    @property
    def pieces(self) -> list[str]:
        """The text word by word, as it is streamed."""
        return _PIECES.findall(self.text)


def count_tokens(text: str) -> int:
    return len(_TOKENS.findall(text))


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """Of a chat's messages and tools."""
    messages = body["messages"]
    counted = sum(count_tokens(_text(one)) + _pictures(one) * _PICTURE_TOKENS + 3 for one in messages)
    return counted + (count_tokens(json.dumps(body["tools"])) if body.get("tools") else 0)


def chat(model: str, body: Mapping[str, Any]) -> Said:
    """Answer a chat; `body` is the request, whose `messages` are a list of objects."""
    asked = prompt_tokens(body)
    last = body["messages"][-1]
    tool = None if last.get("role") == "tool" else _tool(body)
    if tool is not None:
        arguments = json.dumps(example(tool.get("parameters") or {}, _question(body)), ensure_ascii=False)
        call = {"name": str(tool.get("name", "")), "arguments": arguments}
        id = f"call_{zlib.crc32(json.dumps(call).encode()):08x}"
        spent = count_tokens(call["name"]) + count_tokens(arguments)
        return Said("", ({"id": id, "type": "function", "function": call},), "tool_calls", asked, spent)
    text, reason = _limited(_reply(model, body), body)
    return Said(text, (), reason, asked, count_tokens(text))


def example(schema: Any, text: str, depth: int = 0) -> Any:
    """A value that fits a JSON Schema, as far as that is simple; `text` fills its strings."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return {}
    if "const" in schema:
        return schema["const"]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    kinds = schema.get("type", "object" if "properties" in schema else "string" if depth else "object")
    kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
    if not isinstance(kind, str):
        return text
    if kind == "object":
        properties = schema.get("properties")
        members = properties.items() if isinstance(properties, Mapping) else ()
        return {str(name): example(member, text, depth + 1) for name, member in members}
    if kind == "array":
        return [example(schema.get("items"), text, depth + 1)]
    simple: dict[Any, Any] = {"integer": 1, "number": 1.5, "boolean": True, "null": None}
    return simple.get(kind, text)


def vector(text: str, dimensions: int) -> list[float]:
    """A unit vector; texts that share words and parts of words are closer (hashed features)."""
    values = [0.0] * dimensions
    for feature, weight in _features(text):
        hashed = (zlib.crc32(feature.encode("utf-8", "replace")) * _SPREAD) & 0xFFFFFFFF
        values[(hashed >> 1) % dimensions] += weight if hashed & 1 else -weight
    length = hypot(*values)
    if not length:
        return [1.0, *values[1:]]
    return [value / length for value in values]


def as_base64(values: Sequence[float]) -> str:
    """Little-endian floats of 32 bits."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def relevance(query: Sequence[float], document: Sequence[float]) -> float:
    """0 to 1, of two vectors of the same length."""
    return round(max(0.0, min(1.0, sum(one * other for one, other in zip(query, document, strict=True)))), 6)


def _features(text: str) -> Iterable[tuple[str, float]]:
    words = re.findall(r"\w+", text.lower())
    for word in words:
        yield word, 1.0
        around = f"<{word}>"
        for start in range(len(around) - 2):
            yield around[start : start + 3], 0.4
    if not words:
        yield text, 1.0


def _reply(model: str, body: Mapping[str, Any]) -> str:
    format = body.get("response_format")
    kind = format.get("type") if isinstance(format, Mapping) else ""
    question = _question(body)
    if kind == "json_schema":
        described = format.get("json_schema") if isinstance(format, Mapping) else None
        schema = described.get("schema") if isinstance(described, Mapping) else None
        return json.dumps(example(schema, question), ensure_ascii=False)
    if kind == "json_object":
        return json.dumps({"model": model, "question": question}, ensure_ascii=False)
    last = body["messages"][-1]
    if last.get("role") == "tool":
        return f"Thank you. {model} has read what the tool says: “{_shortened(_text(last))}”."
    seen = sum(_pictures(one) for one in body["messages"])
    pictures = "" if not seen else f" and sent {seen} picture{'' if seen == 1 else 's'}"
    asked = f"You asked: “{question}”{pictures}." if question else f"You said nothing{pictures}."
    return (
        f"Hello! This is {model}, a model that only pretends to think. {asked} "
        "A real model would answer that; I am glad that everything up to here works."
    )


def _limited(text: str, body: Mapping[str, Any]) -> tuple[str, str]:
    stops = body.get("stop")
    for stop in [stops] if isinstance(stops, str) else stops if isinstance(stops, list) else []:
        if isinstance(stop, str) and stop:
            text = text.partition(stop)[0]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    tokens = _TOKENS.findall(text)
    if isinstance(limit, int) and 0 < limit < len(tokens):
        return "".join(tokens[:limit]), "length"
    return text, "stop"


def _tool(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The function that is to be called: the one that was chosen, else the first."""
    choice, tools = body.get("tool_choice"), body.get("tools")
    if choice == "none" or not isinstance(tools, list):
        return None
    functions = [one["function"] for one in tools if isinstance(one, Mapping) and isinstance(one.get("function"), dict)]
    chosen = choice.get("function") if isinstance(choice, Mapping) else None
    name = chosen.get("name") if isinstance(chosen, Mapping) else None
    return next((one for one in functions if name in (None, one.get("name"))), None)


def _question(body: Mapping[str, Any]) -> str:
    asked = [one for one in body["messages"] if one.get("role") == "user"]
    return _shortened(_text(asked[-1])) if asked else ""


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _ECHO_CHARS else f"{flat[:_ECHO_CHARS].rstrip()}…"


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _text(message: Mapping[str, Any]) -> str:
    return "\n".join(str(part.get("text") or "") for part in _parts(message) if part.get("type") == "text")


def _pictures(message: Mapping[str, Any]) -> int:
    return sum(part.get("type") == "image_url" for part in _parts(message))
