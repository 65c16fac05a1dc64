"""A conversation in OpenAI's vocabulary as Anthropic's system prompt and messages.

What is new here: system messages, wherever they stand, come first; the results of tools are the user's; and thinking
comes back with its signature, in `thinking_blocks`, so that a loop of tool calls can go on.
Sources: https://platform.claude.com/docs/en/api/messages/create, …/docs/en/build-with-claude/vision,
…/build-with-claude/pdf-support, …/agents-and-tools/tool-use/handle-tool-calls, …/api/openai-sdk
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import vocabulary
from providers.dialects.tools import calls
from providers.dialects.vocabulary import bad, each, put, unsupported

NAME = "anthropic"
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
Block = dict[str, Any]


def conversation(payload: Mapping[str, Any]) -> tuple[str | list[Block], list[Block]]:
    """The system prompt, "" if there is none, and the messages; neighbours of one role are one message."""
    system: list[Block] = []
    messages: list[Block] = []
    for message in vocabulary.messages(payload, NAME):
        role = message.get("role")
        if role in ("system", "developer"):
            system += each(message.get("content"), _text)
        elif role == "user":
            if not (blocks := each(message.get("content"), _user_block)):
                raise bad("A message of the user is empty.")
            _append(messages, "user", blocks)
        elif role == "assistant":
            _append(messages, "assistant", _assistant(message))
        elif role == "tool":
            _append(messages, "user", [_result(message)])
        else:
            raise unsupported(f"a message of the role {role}", NAME)
    if not messages:
        raise bad("The request needs a message of the user.")
    for message in messages:
        message["content"] = _short(message["content"])
    plain = all(len(block) == 2 for block in system)
    return "\n".join(block["text"] for block in system) if plain else system, messages


def _append(messages: list[Block], role: str, blocks: list[Block]) -> None:
    if messages and messages[-1]["role"] == role:
        messages[-1]["content"] += blocks
    elif blocks:
        messages.append({"role": role, "content": blocks})


def _short(blocks: list[Block]) -> str | list[Block]:
    """A single plain text as it stands."""
    only = blocks[0]
    return only["text"] if len(blocks) == 1 and only["type"] == "text" and len(only) == 2 else blocks


def _text(part: Mapping[str, Any]) -> Block | None:
    """A block of text; empty ones are not allowed there."""
    if part["type"] not in ("text", "refusal"):
        raise unsupported(f"{part['type']} where only text can be", NAME)
    text = vocabulary.text_of(part)
    return _cached({"type": "text", "text": text}, part) if text.strip() else None


def _cached(block: Block, part: Mapping[str, Any]) -> Block:
    put(block, cache_control=part.get("cache_control"))
    return block


def _user_block(part: Mapping[str, Any]) -> Block | None:
    match part["type"]:
        case "text":
            return _text(part)
        case "image_url":
            return _cached({"type": "image", "source": _image(vocabulary.url_in(part))}, part)
        case "file":
            return _cached(_document(part), part)
    raise unsupported(f"{part['type']} in a message", NAME)


def _image(url: str) -> Block:
    if (data := vocabulary.data_url(url)) is None:
        if not url.startswith("https://"):
            raise unsupported("an image that is neither a data URL nor at an https URL", NAME)
        return {"type": "url", "url": url}
    kind = {"image/jpg": "image/jpeg"}.get(data[0], data[0])
    if kind not in _IMAGES:
        raise unsupported(f"an image of type {kind}", NAME)
    return {"type": "base64", "media_type": kind, "data": data[1]}


def _document(part: Mapping[str, Any]) -> Block:
    name, kind, data = vocabulary.file_data(part, NAME)
    if kind != "application/pdf":
        raise unsupported(f"a file of type {kind}", NAME)
    block: Block = {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}
    put(block, title=name)
    return block


def _assistant(message: Mapping[str, Any]) -> list[Block]:
    """Thinking first, as it must; `reasoning_content` alone has no signature and so cannot go back."""
    blocks = _thinking(message.get("thinking_blocks"))
    blocks += each(message.get("content"), _text)
    if isinstance(refusal := message.get("refusal"), str) and refusal.strip():
        blocks.append({"type": "text", "text": refusal})
    for call in calls(message):
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        blocks.append(_cached(block, call.raw))
    return blocks


def _thinking(value: Any) -> list[Block]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad("thinking_blocks is not a list.")
    blocks: list[Block] = []
    for entry in value:
        kind = entry.get("type") if isinstance(entry, Mapping) else None
        names = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}.get(str(kind))
        if names is None or not all(isinstance(entry.get(name), str) for name in names):
            raise bad("An entry of thinking_blocks is not a block of thinking.")
        blocks.append({"type": kind, **{name: entry[name] for name in names}})
    return blocks


def _result(message: Mapping[str, Any]) -> Block:
    identity = message.get("tool_call_id")
    if not isinstance(identity, str) or not identity:
        raise bad("The result of a tool has no tool_call_id.")
    block: Block = {"type": "tool_result", "tool_use_id": identity}
    if content := each(message.get("content"), _user_block):
        block["content"] = _short(content)
    return block
