"""An answer of the Messages API as a chat completion.

Sources: https://platform.claude.com/docs/en/api/messages/create, …/build-with-claude/handling-stop-reasons,
…/test-and-evaluate/strengthen-guardrails/handle-streaming-refusals, …/build-with-claude/prompt-caching
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import completions
from providers.dialects.anthropic import errors
from providers.dialects.anthropic.request import JSON_TOOL
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import text, tokens
from providers.wire import ChatReply

# What an answer's usage may hold that is of interest.
_INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
COUNTS = (*_INPUT, "output_tokens", "output_tokens_details", "service_tier")
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def parse(headers: Mapping[str, str], body: bytes) -> ChatReply:
    data = load_object(headers, body)
    if data.get("type") == "error" or data.get("error"):
        raise errors.in_success(body)
    blocks = data.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise unexpected("The answer has no content.", headers, body)
    message = _message(blocks)
    reason = data.get("stop_reason")
    if reason == "refusal":
        message["refusal"] = refusal(data.get("stop_details"))
    return completions.completion(
        id=text(data, "id"),
        model=text(data, "model"),
        choices=[completions.choice(0, message, finish_reason(reason, called="tool_calls" in message))],
        usage=usage(data.get("usage")),
        service_tier=service_tier(data.get("usage")),
    )


def _message(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Blocks that only Anthropic's own tools make are passed over: these tools are never asked for."""
    said: list[str] = []
    thoughts: list[dict[str, Any]] = []
    called: list[dict[str, Any]] = []
    for block in blocks:
        match block.get("type"):
            case "text":
                said.append(text(block, "text"))
            case "thinking" | "redacted_thinking":
                thoughts.append(block)
            case "tool_use" if block.get("name") == JSON_TOOL:
                said.append(completions.as_json(block.get("input")))
            case "tool_use":
                called.append(completions.call(text(block, "id"), text(block, "name"), block.get("input")))
    message: dict[str, Any] = {"content": "".join(said) if said else None}
    if thoughts:
        message["thinking_blocks"] = thoughts
        if reasoning := "\n\n".join(filter(None, (text(block, "thinking") for block in thoughts))):
            message["reasoning_content"] = reasoning
    if called:
        message["tool_calls"] = called
    return message


def finish_reason(reason: Any, *, called: bool) -> str:
    """OpenAI's word. A JSON answer that came as the call of a tool is no call."""
    known = _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
    if known == "tool_calls" and not called:
        return "stop"
    return "tool_calls" if known == "stop" and called else known


def refusal(details: Any) -> str:
    """Why the model refused, in its vendor's words if there are any."""
    return text(details, "explanation") or "The model refused to answer."


def service_tier(data: Any) -> str:
    """The tier that the call was served at, in OpenAI's words; "" if it is not said."""
    said = text(data, "service_tier")
    return "default" if said == "standard" else said


def usage(data: Any) -> dict[str, Any] | None:
    """Anthropic counts what it read from and wrote to its cache beside the input, OpenAI within it."""
    fresh, read, written = (tokens(data, name) for name in _INPUT)
    details = data.get("output_tokens_details") if isinstance(data, Mapping) else None
    return completions.usage(
        None if fresh is None else fresh + (read or 0) + (written or 0),
        tokens(data, "output_tokens"),
        prompt_cached_tokens=read,
        prompt_cache_write_tokens=written,
        completion_reasoning_tokens=tokens(details, "thinking_tokens"),
    )
