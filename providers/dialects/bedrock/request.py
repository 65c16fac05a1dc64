"""A chat request in OpenAI's vocabulary as a request to Converse.

Sources: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import vocabulary
from providers.dialects.base import json_request, require
from providers.dialects.bedrock.messages import cache_point, conversation
from providers.dialects.bedrock.paths import NAME, url
from providers.dialects.completions import as_json
from providers.dialects.tools import Choice, Tool, tool_choice, tools
from providers.dialects.vocabulary import bad, put, unsupported
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import Operation, UpstreamRequest

STREAM_TYPE = "application/vnd.amazon.eventstream"
# JSON of no given schema, or of a model without structured outputs, is asked for as a call of this tool.
JSON_TOOL = "answer_as_json"
_TIERS = {"auto": None, "default": "default", "flex": "flex", "priority": "priority"}
# Converse's own words, which have none in OpenAI's vocabulary: they go as they are.
_NATIVE = ("guardrailConfig", "performanceConfig", "requestMetadata", "additionalModelRequestFields")
_KNOWN = frozenset(
    {"messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "tools", "tool_choice"}
    | {"response_format", "thinking", "service_tier", "functions", *_NATIVE}
)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "messages")
    asked = target.quirks.apply_params(Operation.CHAT, payload)
    vocabulary.refuse_others(asked, _KNOWN, NAME)
    body = _translated(asked, target.quirks)
    if asked.get("stream"):
        return json_request(url(target, Operation.CHAT, "converse-stream"), body, accept=STREAM_TYPE)
    return json_request(url(target, Operation.CHAT, "converse"), body)


def _translated(asked: Mapping[str, Any], quirks: Quirks) -> dict[str, Any]:
    system, messages = conversation(asked)
    limits: dict[str, Any] = {}
    put(
        limits,
        maxTokens=vocabulary.count(asked, "max_completion_tokens", "max_tokens"),
        temperature=vocabulary.number(asked, "temperature", 0, 1),
        topP=vocabulary.number(asked, "top_p", 0, 1),
        stopSequences=vocabulary.stops(asked),
    )
    body: dict[str, Any] = {"messages": messages}
    put(body, system=system, inferenceConfig=limits, **{name: _object(asked, name) for name in _NATIVE})
    if (thinking := _object(asked, "thinking")) is not None:
        # Claude's own word for how it thinks is a field of the model there.
        body["additionalModelRequestFields"] = {**body.get("additionalModelRequestFields", {}), "thinking": thinking}
    if (tier := asked.get("service_tier")) is not None:
        if not isinstance(tier, str) or tier not in _TIERS:
            raise unsupported(f"the service tier {tier}", NAME)
        if named := _TIERS[tier]:
            body["serviceTier"] = {"type": named}
    offered = tools(asked, NAME)
    _tools(body, asked, offered)
    _format(body, asked, offered, quirks)
    return body


def _object(asked: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    value = asked.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise bad(f"{name} is not an object.")
    return value


def _tools(body: dict[str, Any], asked: Mapping[str, Any], offered: list[Tool]) -> None:
    if any(tool.name == JSON_TOOL for tool in offered):
        raise bad(f"A tool must not be named {JSON_TOOL}.")
    choice = tool_choice(asked, offered, NAME)
    if not offered:
        return
    if choice is not None and choice.mode == "none":
        # There is no such choice: the tools are kept from the model, unless the conversation has used them.
        if _used(body["messages"]):
            raise unsupported("tool_choice none once tools have been called", NAME)
        return
    shown = [tool for tool in offered if choice is None or not choice.only or tool.name in choice.only]
    entries = [entry for tool in shown for entry in ({"toolSpec": _tool(tool)}, *cache_point(tool.raw))]
    body["toolConfig"] = {"tools": entries}
    put(body["toolConfig"], toolChoice=_selected(choice))


def _used(messages: list[dict[str, Any]]) -> bool:
    return any("toolUse" in block or "toolResult" in block for message in messages for block in message["content"])


def _tool(tool: Tool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": tool.name}
    put(entry, description=tool.description)
    entry["inputSchema"] = {"json": tool.parameters or {"type": "object", "properties": {}}}
    if tool.strict:
        entry["strict"] = True
    return entry


def _selected(choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    if choice.mode == "required":
        return {"tool": {"name": choice.only[0]}} if len(choice.only) == 1 else {"any": {}}
    return {"auto": {}}


def _format(body: dict[str, Any], asked: Mapping[str, Any], offered: list[Tool], quirks: Quirks) -> None:
    wanted = vocabulary.response_format(asked, NAME)
    if wanted is None:
        return
    if wanted.schema is not None and not quirks.no_json_schema:
        schema: dict[str, Any] = {"schema": as_json(wanted.schema)}
        put(schema, name=asked["response_format"]["json_schema"].get("name"))
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
        return
    kind = "a JSON answer of no given schema" if wanted.schema is None else "an answer with a JSON schema"
    if offered or _used(body["messages"]):
        raise unsupported(f"{kind} together with tools for this model", NAME)
    if asked.get("thinking"):
        raise unsupported(f"{kind} together with reasoning for this model", NAME)
    schema = {"type": "object"} if wanted.schema is None else dict(wanted.schema)
    spec = {"name": JSON_TOOL, "description": "Gives the answer, which must be JSON.", "inputSchema": {"json": schema}}
    body["toolConfig"] = {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": JSON_TOOL}}}
