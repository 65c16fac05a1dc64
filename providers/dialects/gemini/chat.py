"""A chat: generateContent, or streamGenerateContent as server-sent events.

Sources: https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/thinking,
https://ai.google.dev/gemini-api/docs/structured-output, https://ai.google.dev/gemini-api/docs/openai
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects import completions, vocabulary
from providers.dialects.base import json_request, require
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.gemini import errors, reply
from providers.dialects.gemini.contents import conversation
from providers.dialects.gemini.names import NAME, URLOf, url
from providers.dialects.tools import Choice, Tool, tool_choice, tools
from providers.dialects.vocabulary import bad, number, put, unsupported
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import ChatReply, Operation, UpstreamRequest

_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH", "max": "XHIGH"}
_KNOWN = frozenset(
    {"messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "tools", "tool_choice"}
    | {"response_format", "reasoning_effort", "n", "seed", "presence_penalty", "frequency_penalty", "logprobs"}
    | {"top_logprobs", "functions", "safety_settings"}
)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    return built(payload, target, url)


def built(payload: Mapping[str, Any], target: Target, url_of: URLOf) -> UpstreamRequest:
    """The request, whose URL is another one on Google's other clouds."""
    require(payload, "messages")
    asked = target.quirks.apply_params(Operation.CHAT, payload)
    vocabulary.refuse_others(asked, _KNOWN, NAME)
    body = translated(asked, target.quirks)
    if not asked.get("stream"):
        return json_request(url_of(target, Operation.CHAT, "generateContent"), body)
    address = f"{url_of(target, Operation.CHAT, 'streamGenerateContent')}?alt=sse"
    return json_request(address, body, accept="text/event-stream")


def translated(asked: Mapping[str, Any], quirks: Quirks) -> dict[str, Any]:
    """The body, which is the same on Google's other clouds."""
    system, contents = conversation(asked)
    body: dict[str, Any] = {}
    put(body, systemInstruction={"parts": system} if system else None, contents=contents)
    offered = tools(asked, NAME)
    choice = tool_choice(asked, offered, NAME)
    if offered:
        body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in offered]}]
        put(body, toolConfig=_selected(choice, strict=any(tool.strict for tool in offered)))
    put(body, generationConfig=_settings(asked, quirks), safetySettings=_safety(asked))
    return body


def _tool(tool: Tool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": tool.name}
    put(entry, description=tool.description, parametersJsonSchema=tool.parameters)
    return entry


def _selected(choice: Choice | None, *, strict: bool) -> dict[str, Any]:
    """Names may be given, and schemas are kept to, where calls are a must (ANY) or are checked (VALIDATED)."""
    mode = {None: None, "auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode if choice else None]
    only = list(choice.only) if choice else []
    if mode in (None, "AUTO") and (strict or only):
        mode = "VALIDATED"
    config: dict[str, Any] = {}
    put(config, mode=mode, allowedFunctionNames=only)
    return {"functionCallingConfig": config} if config else {}


def _settings(asked: Mapping[str, Any], quirks: Quirks) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    put(
        settings,
        candidateCount=vocabulary.count(asked, "n"),
        maxOutputTokens=vocabulary.count(asked, "max_completion_tokens", "max_tokens"),
        temperature=number(asked, "temperature", 0, 2),
        topP=number(asked, "top_p", 0, 1),
        topK=vocabulary.count(asked, "top_k"),
        seed=number(asked, "seed", -(2**31), 2**31 - 1),
        presencePenalty=number(asked, "presence_penalty", -2, 2),
        frequencyPenalty=number(asked, "frequency_penalty", -2, 2),
        stopSequences=vocabulary.stops(asked),
        thinkingConfig=_thinking(asked, quirks),
    )
    if asked.get("logprobs"):
        settings["responseLogprobs"] = True
        put(settings, logprobs=number(asked, "top_logprobs", 0, 20))
    elif asked.get("top_logprobs"):
        raise bad("top_logprobs needs logprobs.")
    wanted = vocabulary.response_format(asked, NAME)
    if wanted is not None:
        settings["responseMimeType"] = "application/json"
        put(settings, responseJsonSchema=wanted.schema)
    return settings


def _thinking(asked: Mapping[str, Any], quirks: Quirks) -> dict[str, Any]:
    effort = vocabulary.effort(asked)
    if effort is None:
        return {}
    if quirks.thinking_budget:
        budget = {"thinkingBudget": _BUDGETS[effort]}
        return budget if effort == "none" else {**budget, "includeThoughts": True}
    if effort == "none":
        raise unsupported("reasoning_effort none for this model, which always reasons; use minimal", NAME)
    return {"thinkingLevel": _LEVELS[effort], "includeThoughts": True}


def _safety(asked: Mapping[str, Any]) -> list[Any]:
    """Gemini's own, as they are: https://ai.google.dev/gemini-api/docs/safety-settings"""
    found = asked.get("safety_settings") or []
    if not isinstance(found, list):
        raise bad("safety_settings is not a list.")
    return found


def parse(headers: Mapping[str, str], body: bytes) -> ChatReply:
    data = load_object(headers, body)
    if data.get("error"):
        raise errors.in_success(body)
    reply.check_prompt(data)
    candidates = data.get("candidates")
    if not isinstance(candidates, list) or not candidates or not all(isinstance(each, dict) for each in candidates):
        raise unexpected("The answer has no candidates.", headers, body)
    identity = completions.text(data, "responseId")
    return completions.completion(
        id=identity,
        model=completions.text(data, "modelVersion"),
        choices=[reply.choice(position, entry, identity) for position, entry in enumerate(candidates)],
        usage=reply.usage(data.get("usageMetadata")),
        service_tier=reply.service_tier(data.get("usageMetadata")),
    )
