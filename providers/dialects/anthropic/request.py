"""A chat request in OpenAI's vocabulary as a request to the Messages API.

Sources: https://platform.claude.com/docs/en/api/messages/create, …/build-with-claude/extended-thinking,
…/build-with-claude/adaptive-thinking, …/build-with-claude/effort, …/build-with-claude/structured-outputs
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import vocabulary
from providers.dialects.anthropic.messages import NAME, conversation
from providers.dialects.base import json_request, require
from providers.dialects.tools import Choice, Tool, tool_choice, tools
from providers.dialects.vocabulary import bad, put, unsupported
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import Operation, UpstreamRequest

PATH = "/messages"
HEADERS = {"anthropic-version": "2023-06-01"}
DEFAULT_MAX_TOKENS = 4096
# JSON of no given schema, or of a model without structured outputs, is asked for as a call of this tool.
JSON_TOOL = "answer_as_json"
# https://ai.google.dev/gemini-api/docs/openai names tokens for OpenAI's efforts; Anthropic's least is 1024.
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}
MIN_BUDGET = 1024
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_TIERS = {"auto": "auto", "default": "standard_only"}
_KNOWN = frozenset(
    {"messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "tools", "tool_choice"}
    | {"parallel_tool_calls", "response_format", "reasoning_effort", "thinking", "service_tier", "functions"}
)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    body = {"model": target.upstream_model, **content(payload, target)}
    return request(target.url_for(Operation.CHAT, PATH), body).with_headers(HEADERS)


def content(payload: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """The body without the model, which has another place on other vendors' clouds."""
    require(payload, "messages")
    asked = target.quirks.apply_params(Operation.CHAT, payload)
    vocabulary.refuse_others(asked, _KNOWN, NAME)
    body = translated(asked, target.quirks)
    if asked.get("stream"):
        body["stream"] = True
    return body


def request(url: str, body: Mapping[str, Any]) -> UpstreamRequest:
    return json_request(url, body, accept="text/event-stream" if body.get("stream") else "application/json")


def translated(asked: Mapping[str, Any], quirks: Quirks) -> dict[str, Any]:
    """The body, without the model and whether to stream."""
    system, messages = conversation(asked)
    body: dict[str, Any] = {"max_tokens": vocabulary.count(asked, "max_completion_tokens", "max_tokens")}
    put(
        body,
        system=system,
        messages=messages,
        temperature=vocabulary.number(asked, "temperature", 0, 1),
        top_p=vocabulary.number(asked, "top_p", 0, 1),
        top_k=vocabulary.count(asked, "top_k"),
        stop_sequences=vocabulary.stops(asked),
        metadata=_metadata(asked),
    )
    if (tier := asked.get("service_tier")) is not None:
        if not isinstance(tier, str) or tier not in _TIERS:
            raise unsupported(f"the service tier {tier}", NAME)
        body["service_tier"] = _TIERS[tier]
    offered = tools(asked, NAME)
    _tools(body, asked, offered)
    _reasoning(body, asked, quirks)
    _format(body, asked, offered, quirks)
    return body


def _metadata(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Who the end user is, under any of the names that OpenAI has for it."""
    metadata = asked.get("metadata")
    names = (asked.get("safety_identifier"), asked.get("user"))
    given = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    return next(({"user_id": name} for name in (given, *names) if isinstance(name, str) and name), {})


def _tools(body: dict[str, Any], asked: Mapping[str, Any], offered: list[Tool]) -> None:
    if any(tool.name == JSON_TOOL for tool in offered):
        raise bad(f"A tool must not be named {JSON_TOOL}.")
    choice = tool_choice(asked, offered, NAME)
    if not offered:
        return
    shown = [tool for tool in offered if choice is None or len(choice.only) < 2 or tool.name in choice.only]
    if choice is not None and choice.mode == "auto" and choice.only:
        shown = [tool for tool in offered if tool.name in choice.only]
    body["tools"] = [_tool(tool) for tool in shown]
    selected = _selected(choice)
    if asked.get("parallel_tool_calls") is False and (selected or {}).get("type") != "none":
        selected = {**(selected or {"type": "auto"}), "disable_parallel_tool_use": True}
    put(body, tool_choice=selected)


def _tool(tool: Tool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": tool.name}
    put(entry, description=tool.description)
    entry["input_schema"] = tool.parameters or {"type": "object", "properties": {}}
    if tool.strict:
        entry["strict"] = True
    put(entry, cache_control=tool.raw.get("cache_control"))
    return entry


def _selected(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice.mode == "required":
        return {"type": "tool", "name": choice.only[0]} if len(choice.only) == 1 else {"type": "any"}
    return {"type": choice.mode}


def _reasoning(body: dict[str, Any], asked: Mapping[str, Any], quirks: Quirks) -> None:
    """`thinking` as Anthropic has it goes as it is; an effort becomes a level, or a budget for models that need one."""
    own, effort = asked.get("thinking"), vocabulary.effort(asked)
    if own is not None and not isinstance(own, Mapping):
        raise bad("thinking is not an object.")
    if own is not None:
        body["thinking"] = own
        budget = own.get("budget_tokens")
        if body["max_tokens"] is None and type(budget) is int and budget > 0:
            body["max_tokens"] = budget + DEFAULT_MAX_TOKENS
    elif effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif effort is not None and quirks.thinking_budget:
        _budget(body, BUDGETS[effort])
    elif effort is not None:
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
    if effort not in (None, "none") and not quirks.thinking_budget:
        body["output_config"] = {"effort": _LEVELS[effort]}
    if body["max_tokens"] is None:
        body["max_tokens"] = DEFAULT_MAX_TOKENS


def _budget(body: dict[str, Any], budget: int) -> None:
    """max_tokens bounds thinking and answer together, here as there; a quarter is left for the answer."""
    limit = body["max_tokens"]
    if limit is None:
        body["max_tokens"] = budget + DEFAULT_MAX_TOKENS
    elif limit <= MIN_BUDGET:
        raise bad(f"This model needs max_tokens above {MIN_BUDGET} to reason.")
    else:
        budget = min(budget, max(MIN_BUDGET, limit * 3 // 4))
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _format(body: dict[str, Any], asked: Mapping[str, Any], offered: list[Tool], quirks: Quirks) -> None:
    wanted = vocabulary.response_format(asked, NAME)
    if wanted is None:
        return
    if wanted.schema is not None and not quirks.no_json_schema:
        form = {"type": "json_schema", "schema": wanted.schema}
        body["output_config"] = {**body.get("output_config", {}), "format": form}
        return
    kind = "a JSON answer of no given schema" if wanted.schema is None else "an answer with a JSON schema"
    if offered:
        raise unsupported(f"{kind} together with tools for this model", NAME)
    if body.get("thinking", {}).get("type", "disabled") != "disabled":
        raise unsupported(f"{kind} together with reasoning for this model", NAME)
    schema = {"type": "object"} if wanted.schema is None else wanted.schema
    description = "Gives the answer, which must be JSON."
    body["tools"] = [{"name": JSON_TOOL, "description": description, "input_schema": schema}]
    body["tool_choice"] = {"type": "tool", "name": JSON_TOOL}
