"""What comes back, as every vendor says it, and what it is in OpenAI's vocabulary: the same for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CITY, NO = '{"city":"Köln"}', "{}"


@dataclass(frozen=True)
class ReplyFeature:
    """`replies` are vendors' answers by dialect; who is not there has no such thing."""

    name: str
    expected: dict[str, Any]
    replies: dict[str, dict[str, Any]]


def openai(message: dict[str, Any], reason: str = "stop", **more: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": None, **message}
    return {"id": "1", "model": "m", "choices": [{"index": 0, "message": said, "finish_reason": reason}], **more}


def anthropic(*blocks: dict[str, Any], reason: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {"id": "1", "type": "message", "model": "m", "content": list(blocks), "stop_reason": reason, **more}


def bedrock(*blocks: dict[str, Any], reason: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": reason, **more}


def cohere(message: dict[str, Any], reason: str = "COMPLETE", **more: Any) -> dict[str, Any]:
    return {"id": "1", "message": {"role": "assistant", **message}, "finish_reason": reason, **more}


def gemini(*parts: dict[str, Any], reason: str = "STOP", **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": reason}
    return {"responseId": "1", "modelVersion": "m", "candidates": [candidate], **more}


def ollama(message: dict[str, Any], reason: str = "stop", **more: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "", **message}
    return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": said, "done_reason": reason, **more}


def replicate(*texts: str, **more: Any) -> dict[str, Any]:
    return {"id": "1", "model": "owner/m", "status": "succeeded", "output": list(texts), **more}


def said(message: dict[str, Any], reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": reason}]}


_CALLED = [
    {"type": "function", "function": {"name": "weather", "arguments": CITY}},
    {"type": "function", "function": {"name": "clock", "arguments": NO}},
]
_OF_CALLS = [{"id": f"call_{place}", **call} for place, call in enumerate(_CALLED)]
_TOKEN = {"token": "Hi", "logprob": -0.25}
_REST: dict[str, Any] = {"bytes": None, "top_logprobs": []}

REPLIES = [
    ReplyFeature(
        "a text",
        said({"role": "assistant", "content": "Hello."}),
        {
            "openai": openai({"content": "Hello."}),
            "anthropic": anthropic({"type": "text", "text": "Hello."}),
            "bedrock": bedrock({"text": "Hello."}),
            "cohere": cohere({"content": [{"type": "text", "text": "Hello."}]}),
            "gemini": gemini({"text": "Hel"}, {"text": "lo."}),
            "ollama": ollama({"content": "Hello."}),
            "replicate": replicate("Hel", "lo."),
        },
    ),
    ReplyFeature(
        "thoughts (`reasoning_content`)",
        said({"content": "Hello.", "reasoning_content": "Greet."}),
        {
            "openai": openai({"content": "Hello.", "reasoning": "Greet."}),
            "anthropic": anthropic(
                {"type": "thinking", "thinking": "Greet.", "signature": "s"}, {"type": "text", "text": "Hello."}
            ),
            "bedrock": bedrock(
                {"reasoningContent": {"reasoningText": {"text": "Greet.", "signature": "s"}}}, {"text": "Hello."}
            ),
            "cohere": cohere(
                {"content": [{"type": "thinking", "thinking": "Greet."}, {"type": "text", "text": "Hello."}]}
            ),
            "gemini": gemini({"text": "Greet.", "thought": True}, {"text": "Hello."}),
            "ollama": ollama({"content": "Hello.", "thinking": "Greet."}),
        },
    ),
    ReplyFeature(
        "calls of several tools",
        said({"tool_calls": _CALLED}, "tool_calls"),
        {
            "openai": openai({"tool_calls": _OF_CALLS}, "tool_calls"),
            "anthropic": anthropic(
                {"type": "tool_use", "id": "call_0", "name": "weather", "input": {"city": "Köln"}},
                {"type": "tool_use", "id": "call_1", "name": "clock", "input": {}},
                reason="tool_use",
            ),
            "bedrock": bedrock(
                {"toolUse": {"toolUseId": "call_0", "name": "weather", "input": {"city": "Köln"}}},
                {"toolUse": {"toolUseId": "call_1", "name": "clock", "input": {}}},
                reason="tool_use",
            ),
            "cohere": cohere({"tool_calls": _OF_CALLS}, "TOOL_CALL"),
            "gemini": gemini(
                {"functionCall": {"name": "weather", "args": {"city": "Köln"}}}, {"functionCall": {"name": "clock"}}
            ),
            "ollama": ollama(
                {
                    "tool_calls": [
                        {"function": {"name": "weather", "arguments": {"city": "Köln"}}},
                        {"function": {"name": "clock", "arguments": {}}},
                    ]
                }
            ),
        },
    ),
    ReplyFeature(
        "JSON that was asked for (`json_object`)",
        said({"content": CITY}),
        {
            "openai": openai({"content": CITY}),
            "anthropic": anthropic(
                {"type": "tool_use", "id": "1", "name": "answer_as_json", "input": {"city": "Köln"}}, reason="tool_use"
            ),
            "bedrock": bedrock(
                {"toolUse": {"toolUseId": "1", "name": "answer_as_json", "input": {"city": "Köln"}}}, reason="tool_use"
            ),
            "cohere": cohere({"content": [{"type": "text", "text": CITY}]}),
            "gemini": gemini({"text": CITY}),
            "ollama": ollama({"content": CITY}),
        },
    ),
    ReplyFeature(
        "an answer that was cut off (`length`)",
        said({"content": "Hel"}, "length"),
        {
            "openai": openai({"content": "Hel"}, "length"),
            "anthropic": anthropic({"type": "text", "text": "Hel"}, reason="max_tokens"),
            "bedrock": bedrock({"text": "Hel"}, reason="max_tokens"),
            "cohere": cohere({"content": [{"type": "text", "text": "Hel"}]}, "MAX_TOKENS"),
            "gemini": gemini({"text": "Hel"}, reason="MAX_TOKENS"),
            "ollama": ollama({"content": "Hel"}, "length"),
        },
    ),
    ReplyFeature(
        "an answer that was filtered (`content_filter`)",
        said({"content": "Hel"}, "content_filter"),
        {
            "openai": openai({"content": "Hel"}, "content_filter"),
            "anthropic": anthropic({"type": "text", "text": "Hel"}, reason="refusal"),
            "bedrock": bedrock({"text": "Hel"}, reason="guardrail_intervened"),
            "cohere": cohere({"content": [{"type": "text", "text": "Hel"}]}, "ERROR_TOXIC"),
            "gemini": gemini({"text": "Hel"}, reason="SAFETY"),
        },
    ),
    ReplyFeature(
        "a refusal (`refusal`)",
        said({"refusal": "I will not."}, "content_filter"),
        {
            "openai": openai({"refusal": "I will not."}, "content_filter"),
            "anthropic": anthropic(reason="refusal", stop_details={"type": "refusal", "explanation": "I will not."}),
        },
    ),
    ReplyFeature(
        "what was used (`usage`)",
        {"usage": {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}},
        {
            "openai": openai({}, usage={"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}),
            "anthropic": anthropic(usage={"input_tokens": 10, "output_tokens": 7}),
            "bedrock": bedrock(usage={"inputTokens": 10, "outputTokens": 7, "totalTokens": 17}),
            "cohere": cohere({}, usage={"billed_units": {"input_tokens": 10, "output_tokens": 7}}),
            "gemini": gemini(usageMetadata={"promptTokenCount": 10, "candidatesTokenCount": 7, "totalTokenCount": 17}),
            "ollama": ollama({}, prompt_eval_count=10, eval_count=7),
            "replicate": replicate("", metrics={"input_token_count": 10, "output_token_count": 7}),
        },
    ),
    ReplyFeature(
        "tokens of the prompt that were cached",
        {"usage": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}, "total_tokens": 17}},
        {
            "openai": openai(
                {}, usage={"prompt_tokens": 10, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}}
            ),
            "anthropic": anthropic(usage={"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 7}),
            "bedrock": bedrock(usage={"inputTokens": 6, "cacheReadInputTokens": 4, "outputTokens": 7}),
            "cohere": cohere({}, usage={"billed_units": {"input_tokens": 10, "output_tokens": 7}, "cached_tokens": 4}),
            "gemini": gemini(
                usageMetadata={
                    "promptTokenCount": 10,
                    "cachedContentTokenCount": 4,
                    "candidatesTokenCount": 7,
                    "totalTokenCount": 17,
                }
            ),
        },
    ),
    ReplyFeature(
        "tokens of thoughts",
        {"usage": {"completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 17}},
        {
            "openai": openai(
                {},
                usage={
                    "prompt_tokens": 10,
                    "completion_tokens": 7,
                    "completion_tokens_details": {"reasoning_tokens": 3},
                },
            ),
            "anthropic": anthropic(
                usage={"input_tokens": 10, "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}}
            ),
            "gemini": gemini(
                usageMetadata={
                    "promptTokenCount": 10,
                    "candidatesTokenCount": 4,
                    "thoughtsTokenCount": 3,
                    "totalTokenCount": 17,
                }
            ),
        },
    ),
    ReplyFeature(
        "how likely each token was (`logprobs`)",
        {"choices": [{"message": {"content": "Hi"}, "logprobs": {"content": [_TOKEN]}}]},
        {
            "openai": {
                "choices": [{**openai({"content": "Hi"})["choices"][0], "logprobs": {"content": [{**_TOKEN, **_REST}]}}]
            },
            "cohere": cohere(
                {"content": [{"type": "text", "text": "Hi"}]},
                logprobs=[{"text": "Hi", "token_ids": [7], "logprobs": [-0.25]}],
            ),
            "gemini": {
                "candidates": [
                    {
                        **gemini({"text": "Hi"})["candidates"][0],
                        "logprobsResult": {"chosenCandidates": [{"token": "Hi", "logProbability": -0.25}]},
                    }
                ]
            },
            "ollama": ollama({"content": "Hi"}, logprobs=[{"token": "Hi", "logprob": -0.25}]),
        },
    ),
    ReplyFeature(
        "several answers (`n`)",
        {"choices": [{"index": 0, "message": {"content": "Hi"}}, {"index": 1, "message": {"content": "Hello"}}]},
        {
            "openai": {
                "choices": [
                    openai({"content": "Hi"})["choices"][0],
                    {**openai({"content": "Hello"})["choices"][0], "index": 1},
                ]
            },
            "gemini": {
                "candidates": [
                    gemini({"text": "Hi"})["candidates"][0],
                    {**gemini({"text": "Hello"})["candidates"][0], "index": 1},
                ]
            },
        },
    ),
]
