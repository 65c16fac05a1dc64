"""A conversation in OpenAI's vocabulary as Converse's system prompt and messages.

Sources: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/tool-use-inference-call.html, …/userguide/prompt-caching.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from providers.dialects import vocabulary
from providers.dialects.bedrock.paths import NAME
from providers.dialects.tools import calls
from providers.dialects.vocabulary import bad, put, unsupported

Block = dict[str, Any]
_IMAGES = {"image/jpeg": "jpeg", "image/jpg": "jpeg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}


def conversation(payload: Mapping[str, Any]) -> tuple[list[Block], list[Block]]:
    """The system prompt and the messages; neighbours of one role are one message, as they must alternate."""
    system: list[Block] = []
    messages: list[Block] = []
    for message in vocabulary.messages(payload, NAME):
        role = message.get("role")
        if role in ("system", "developer"):
            system += _blocks(message.get("content"), _text)
        elif role == "user":
            if not (blocks := _blocks(message.get("content"), _user_block)):
                raise bad("A message of the user is empty.")
            _append(messages, "user", blocks)
        elif role == "assistant":
            _append(messages, "assistant", _assistant(message))
        elif role == "tool":
            _append(messages, "user", _result(message))
        else:
            raise unsupported(f"a message of the role {role}", NAME)
    if not messages:
        raise bad("The request needs a message of the user.")
    return system, messages


def _append(messages: list[Block], role: str, blocks: list[Block]) -> None:
    if messages and messages[-1]["role"] == role:
        messages[-1]["content"] += blocks
    elif blocks:
        messages.append({"role": role, "content": blocks})


def _blocks(content: Any, convert: Callable[[Mapping[str, Any]], Block | None]) -> list[Block]:
    """The parts as blocks, each followed by the mark that the cache may reach to it."""
    found: list[Block] = []
    for part in vocabulary.parts(content):
        if (block := convert(part)) is not None:
            found += [block, *cache_point(part)]
    return found


def cache_point(entry: Mapping[str, Any]) -> list[Block]:
    """The mark that a prompt is to be cached up to here, which others write as `cache_control`."""
    control = entry.get("cache_control")
    if not isinstance(control, Mapping):
        return []
    point: Block = {"type": "default"}
    put(point, ttl=control.get("ttl"))
    return [{"cachePoint": point}]


def _text(part: Mapping[str, Any]) -> Block | None:
    """A block of text; blank ones are not allowed there."""
    if part["type"] not in ("text", "refusal"):
        raise unsupported(f"{part['type']} where only text can be", NAME)
    text = vocabulary.text_of(part)
    return {"text": text} if text.strip() else None


def _user_block(part: Mapping[str, Any]) -> Block | None:
    match part["type"]:
        case "text":
            return _text(part)
        case "image_url":
            return {"image": _image(vocabulary.url_in(part))}
        case "file":
            return {"document": _document(part)}
    raise unsupported(f"{part['type']} in a message", NAME)


def _image(url: str) -> Block:
    if (data := vocabulary.data_url(url)) is None:
        raise unsupported("an image that is not a data URL", NAME)
    if data[0] not in _IMAGES:
        raise unsupported(f"an image of type {data[0]}", NAME)
    return {"format": _IMAGES[data[0]], "source": {"bytes": data[1]}}


def _document(part: Mapping[str, Any]) -> Block:
    """A document's name may hold letters, digits, single spaces, hyphens and brackets only."""
    name, kind, data = vocabulary.file_data(part, NAME)
    if kind not in _DOCUMENTS:
        raise unsupported(f"a file of type {kind}", NAME)
    clean = re.sub(r"\s+", " ", re.sub(r"[^A-Za-z0-9\s\-()\[\]]", " ", name.rpartition(".")[0] or name)).strip()
    return {"format": _DOCUMENTS[kind], "name": clean[:200] or "document", "source": {"bytes": data}}


def _assistant(message: Mapping[str, Any]) -> list[Block]:
    """Thinking first, as it must; `reasoning_content` alone has no signature and so cannot go back."""
    blocks = _thinking(message.get("thinking_blocks"))
    blocks += _blocks(message.get("content"), _text)
    if isinstance(refusal := message.get("refusal"), str) and refusal.strip():
        blocks.append({"text": refusal})
    for call in calls(message):
        use = {"toolUseId": call.id, "name": call.name, "input": call.arguments}
        blocks += [{"toolUse": use}, *cache_point(call.raw)]
    return blocks


def _thinking(value: Any) -> list[Block]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad("thinking_blocks is not a list.")
    return [{"reasoningContent": _thought(entry)} for entry in value]


def _thought(entry: Any) -> Block:
    kind = entry.get("type") if isinstance(entry, Mapping) else None
    if kind == "redacted_thinking" and isinstance(entry.get("data"), str):
        return {"redactedContent": entry["data"]}
    if kind == "thinking" and isinstance(entry.get("thinking"), str):
        thought = {"text": entry["thinking"]}
        put(thought, signature=entry.get("signature"))
        return {"reasoningText": thought}
    raise bad("An entry of thinking_blocks is not a block of thinking.")


def _result(message: Mapping[str, Any]) -> list[Block]:
    identity = message.get("tool_call_id")
    if not isinstance(identity, str) or not identity:
        raise bad("The result of a tool has no tool_call_id.")
    content, marks = [], []
    for part in vocabulary.parts(message.get("content")):
        if (block := _user_block(part)) is not None:
            content.append(block)
        marks += cache_point(part)
    return [{"toolResult": {"toolUseId": identity, "content": content}}, *marks[:1]]
