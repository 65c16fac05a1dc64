"""Chats with language models, which take one prompt and one system prompt.

Source: https://replicate.com/meta/meta-llama-3-70b-instruct/api
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from providers.dialects.base import require
from providers.dialects.bodies import unexpected
from providers.dialects.completions import choice, completion, text, tokens, usage
from providers.dialects.replicate.predictions import request, succeeded
from providers.dialects.vocabulary import bad, count, messages, put, refuse_others, said, stops, unsupported
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import ChatReply, Operation, UpstreamRequest

_SAME = ("temperature", "top_p", "top_k", "min_tokens", "presence_penalty", "frequency_penalty", "seed")
_KNOWN = {"messages", "max_tokens", "max_completion_tokens", "stop", "prompt_template", *_SAME}
_SPEAKERS = {"user": "User", "assistant": "Assistant"}


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """A conversation becomes one prompt that names the speakers; a single message is the prompt itself."""
    require(payload, "messages")
    asked = target.quirks.apply_params(Operation.CHAT, payload)
    if asked.get("stream"):
        raise Unsupported(
            "Replicate streams from an address of its own for each prediction, so its answers come whole here.",
            hint="Ask without stream.",
            step="build",
        )
    refuse_others(asked, _KNOWN, "replicate")
    system, turns = _turns(asked)
    if not turns:
        raise bad("The request needs a message of the user.")
    given: dict[str, Any] = {"prompt": turns[0][1] if len(turns) == 1 else _transcript(turns)}
    put(given, system_prompt="\n\n".join(system), max_tokens=count(asked, "max_completion_tokens", "max_tokens"))
    put(
        given, stop_sequences=",".join(_stops(asked)), **{name: asked.get(name) for name in (*_SAME, "prompt_template")}
    )
    return request(target, Operation.CHAT, given)


def _turns(asked: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    system, turns = [], []
    for message in messages(asked, "replicate"):
        role = message.get("role")
        if message.get("tool_calls") or role in ("tool", "function"):
            raise unsupported("calls of tools", "replicate")
        text = said(message, "replicate")
        if role in ("system", "developer"):
            system.append(text)
        elif isinstance(role, str) and role in _SPEAKERS:
            turns.append((_SPEAKERS[role], text))
        else:
            raise bad("A message has no role.")
    return system, turns


def _transcript(turns: list[tuple[str, str]]) -> str:
    lines = [f"{speaker}: {text}" for speaker, text in turns]
    return "\n\n".join([*lines, "Assistant:"] if turns[-1][0] == "User" else lines)


def _stops(asked: Mapping[str, Any]) -> list[str]:
    found = stops(asked)
    if any("," in text for text in found):
        raise unsupported("a stop that holds a comma", "replicate")
    return found


def parse(headers: Mapping[str, str], body: bytes) -> ChatReply:
    data = succeeded(Operation.CHAT, headers, body)
    output = data.get("output")
    pieces = [output] if isinstance(output, str) else output
    if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
        raise unexpected("The prediction's output is not text.", headers, body)
    metrics = data.get("metrics")
    return completion(
        id=text(data, "id"),
        model=text(data, "model"),
        choices=[choice(0, {"content": "".join(pieces)}, "stop")],
        usage=usage(tokens(metrics, "input_token_count"), tokens(metrics, "output_token_count")),
        created=_created(text(data, "created_at")),
    )


def _created(moment: str) -> int:
    try:
        at = datetime.fromisoformat(moment)
        return max(0, int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return 0
