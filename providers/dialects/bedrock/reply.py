"""Converse's answer as a chat completion.

Sources: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax,
…/API_runtime_TokenUsage.html, https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import completions
from providers.dialects.bedrock.request import JSON_TOOL
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import text, tokens
from providers.errors import BadReply
from providers.wire import ChatReply

_INPUT = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def parse(headers: Mapping[str, str], body: bytes) -> ChatReply:
    data = load_object(headers, body)
    output = data.get("output")
    message = output.get("message") if isinstance(output, Mapping) else None
    blocks = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise unexpected("The answer has no content.", headers, body)
    said = _message(blocks)
    reason = finish_reason(data.get("stopReason"), called="tool_calls" in said)
    return completions.completion(
        id=headers.get("x-amzn-requestid", ""),
        model="",
        choices=[completions.choice(0, said, reason)],
        usage=usage(data.get("usage")),
        service_tier=completions.text(data.get("serviceTier"), "type"),
    )


def _message(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Blocks that only Bedrock's own tools make are passed over: these tools are never asked for."""
    said: list[str] = []
    thoughts: list[dict[str, Any]] = []
    called: list[dict[str, Any]] = []
    for block in blocks:
        use = block.get("toolUse")
        if isinstance(block.get("text"), str):
            said.append(block["text"])
        elif (thought := _thought(block.get("reasoningContent"))) is not None:
            thoughts.append(thought)
        elif isinstance(use, Mapping) and use.get("name") == JSON_TOOL:
            said.append(completions.as_json(use.get("input")))
        elif isinstance(use, Mapping):
            called.append(completions.call(text(use, "toolUseId"), text(use, "name"), use.get("input")))
    message: dict[str, Any] = {"content": "".join(said) if said else None}
    if thoughts:
        message["thinking_blocks"] = thoughts
        if reasoning := "\n\n".join(filter(None, (text(thought, "thinking") for thought in thoughts))):
            message["reasoning_content"] = reasoning
    if called:
        message["tool_calls"] = called
    return message


def _thought(content: Any) -> dict[str, Any] | None:
    """A block of thinking in the words that can be sent back."""
    if not isinstance(content, Mapping):
        return None
    if isinstance(hidden := content.get("redactedContent"), str):
        return {"type": "redacted_thinking", "data": hidden}
    shown = content.get("reasoningText")
    return {"type": "thinking", "thinking": text(shown, "text"), "signature": text(shown, "signature")}


def finish_reason(reason: Any, *, called: bool) -> str:
    """OpenAI's word; BadReply for what the model garbled. A JSON answer that came as the call of a tool is no call."""
    if isinstance(reason, str) and reason.startswith("malformed"):
        raise BadReply(
            "The model's answer was malformed.",
            hint="Try again; if it stays so, simplify the tools or use another model.",
            step="parse",
            upstream_code=reason[:80],
        )
    known = _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
    if known == "tool_calls" and not called:
        return "stop"
    return "tool_calls" if known == "stop" and called else known


def usage(data: Any) -> dict[str, Any] | None:
    """Bedrock counts what it read from and wrote to the cache beside the input, OpenAI within it."""
    fresh, read, written = (tokens(data, name) for name in _INPUT)
    return completions.usage(
        None if fresh is None else fresh + (read or 0) + (written or 0),
        tokens(data, "outputTokens"),
        prompt_cached_tokens=read,
        prompt_cache_write_tokens=written,
    )
