"""Reading the tools of a chat request in OpenAI's vocabulary: what is offered, what must be called, what was called.

Source: https://platform.openai.com/docs/guides/function-calling
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from providers.dialects.bodies import loads
from providers.dialects.vocabulary import bad, unsupported


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool by the assistant; `raw` is the whole entry."""

    id: str
    name: str
    arguments: dict[str, Any]
    raw: Mapping[str, Any]


def calls(message: Mapping[str, Any]) -> list[Call]:
    """The tool calls of an assistant's message."""
    found = message.get("tool_calls") or []
    if not isinstance(found, list):
        raise bad("tool_calls is not a list.")
    return [_call(entry) for entry in found]


def _call(entry: Any) -> Call:
    function = entry.get("function") if isinstance(entry, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name := function.get("name"), str) or not name:
        raise bad("A tool call has no function with a name.")
    if not isinstance(identity := entry.get("id"), str) or not identity:
        raise bad("A tool call has no id.")
    text = function.get("arguments") or "{}"
    try:
        arguments = loads(text) if isinstance(text, str) else text
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise bad(f"The arguments of a call of {name[:80]} are not a JSON object.")
    return Call(identity, name, arguments, entry)


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    parameters: Mapping[str, Any] | None
    strict: bool
    raw: Mapping[str, Any]


def tools(payload: Mapping[str, Any], dialect: str) -> list[Tool]:
    """The tools that are functions."""
    if payload.get("functions"):
        raise unsupported("functions; use tools instead", dialect)
    found = payload.get("tools") or []
    if not isinstance(found, list):
        raise bad("tools is not a list.")
    return [_tool(entry, dialect) for entry in found]


def _tool(entry: Any, dialect: str) -> Tool:
    if isinstance(entry, Mapping) and entry.get("type") != "function":
        raise unsupported(f"a tool of type {entry.get('type')}", dialect)
    function = entry.get("function") if isinstance(entry, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(name := function.get("name"), str) or not name:
        raise bad("A tool has no function with a name.")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, Mapping):
        raise bad(f"The parameters of the tool {name[:80]} are not a JSON schema.")
    return Tool(name, str(function.get("description") or ""), parameters, function.get("strict") is True, entry)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tools may be called: mode auto, none or required; `only` names them, if not all."""

    mode: str
    only: tuple[str, ...] = ()


def tool_choice(payload: Mapping[str, Any], offered: list[Tool], dialect: str) -> Choice | None:
    """What tool_choice says; None if nothing."""
    value = payload.get("tool_choice")
    if value is None:
        return None
    choice = _choice(value, dialect)
    names = {tool.name for tool in offered}
    if choice.mode == "required" and not names:
        raise bad("tool_choice asks for a tool, but there are no tools.")
    if unknown := sorted(set(choice.only) - names):
        raise bad(f"tool_choice names a tool that is not offered: {unknown[0][:80]}.")
    return choice


def _choice(value: Any, dialect: str) -> Choice:
    if value in ("auto", "none", "required"):
        return Choice(value)
    kind = value.get("type") if isinstance(value, Mapping) else None
    inner = value.get(kind) if isinstance(kind, str) else None
    if kind == "function" and isinstance(inner, Mapping) and isinstance(name := inner.get("name"), str):
        return Choice("required", (name,))
    if kind == "allowed_tools" and isinstance(inner, Mapping) and isinstance(listed := inner.get("tools"), list):
        mode = inner.get("mode", "auto")
        allowed = [_choice(entry, dialect).only for entry in listed]
        if mode in ("auto", "required") and allowed and all(allowed):
            return Choice(mode, tuple(only[0] for only in allowed))
    if isinstance(kind, str) and kind not in ("function", "allowed_tools"):
        raise unsupported(f"a tool_choice of type {kind}", dialect)
    raise bad("tool_choice is malformed.")
