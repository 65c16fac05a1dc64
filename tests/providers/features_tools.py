"""Tools, in OpenAI's vocabulary and in every wire format's own: see features.py."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.providers.features import HI, OTHERS, REFUSED, Feature, add
from tests.providers.features_messages import DATA_URL, PNG

TABLE: list[Feature] = []
feature = partial(add, TABLE)

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_NONE: dict[str, Any] = {"type": "object", "properties": {}}
FUNCTION = {"name": "weather", "description": "The weather", "parameters": SCHEMA}
WEATHER = {"type": "function", "function": FUNCTION}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": _NONE}}
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
]


def tools(**payload: Any) -> dict[str, Any]:
    return {"tools": [WEATHER, CLOCK], **payload}


feature(
    "tools",
    tools(),
    anthropic={
        "tools": [
            {"name": "weather", "description": "The weather", "input_schema": SCHEMA},
            {"name": "clock", "input_schema": _NONE},
        ]
    },
    bedrock={
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "weather", "description": "The weather", "inputSchema": {"json": SCHEMA}}},
                {"toolSpec": {"name": "clock", "inputSchema": {"json": _NONE}}},
            ]
        }
    },
    cohere={"tools": [WEATHER, CLOCK]},
    gemini={
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "weather", "description": "The weather", "parametersJsonSchema": SCHEMA},
                    {"name": "clock", "parametersJsonSchema": _NONE},
                ]
            }
        ]
    },
    ollama={"tools": [WEATHER, CLOCK]},
    replicate=REFUSED,
)
feature(
    "tools whose schema must be kept to (`strict`)",
    {"tools": [{"type": "function", "function": {**FUNCTION, "strict": True}}]},
    anthropic={"tools": [{"name": "weather", "strict": True}]},
    bedrock={"toolConfig": {"tools": [{"toolSpec": {"name": "weather", "strict": True}}]}},
    cohere={"strict_tools": True},
    gemini={"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}},
    ollama=REFUSED,
    replicate=REFUSED,
)
feature(
    "tools that are not functions (`custom`)",
    {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
    **dict.fromkeys(OTHERS, REFUSED),
)
feature(
    "`functions` and `function_call`, which tools have replaced",
    {"functions": [{"name": "f"}], "function_call": "auto"},
    **dict.fromkeys(OTHERS, REFUSED),
)
feature(
    "`tool_choice`: auto",
    tools(tool_choice="auto"),
    anthropic={"tool_choice": {"type": "auto"}},
    bedrock={"toolConfig": {"toolChoice": {"auto": {}}}},
    cohere={"tools": [WEATHER, CLOCK]},
    gemini={"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}},
    ollama={"tools": [WEATHER, CLOCK]},
    replicate=REFUSED,
)
feature(
    "`tool_choice`: none",
    tools(tool_choice="none"),
    anthropic={"tool_choice": {"type": "none"}},
    bedrock={"toolConfig": None},
    cohere={"tool_choice": "NONE"},
    gemini={"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
    ollama={"tools": None},
    replicate=REFUSED,
)
feature(
    "`tool_choice`: required",
    tools(tool_choice="required"),
    anthropic={"tool_choice": {"type": "any"}},
    bedrock={"toolConfig": {"toolChoice": {"any": {}}}},
    cohere={"tool_choice": "REQUIRED"},
    gemini={"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    ollama=REFUSED,
    replicate=REFUSED,
)
feature(
    "`tool_choice`: one tool",
    tools(tool_choice={"type": "function", "function": {"name": "clock"}}),
    anthropic={"tool_choice": {"type": "tool", "name": "clock"}},
    bedrock={"toolConfig": {"toolChoice": {"tool": {"name": "clock"}}}},
    cohere={"tools": [CLOCK], "tool_choice": "REQUIRED"},
    gemini={"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["clock"]}}},
    ollama=REFUSED,
    replicate=REFUSED,
)
feature(
    "`tool_choice`: some of the tools",
    tools(
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "clock"}}]},
        }
    ),
    anthropic={"tools": [{"name": "clock"}], "tool_choice": {"type": "auto"}},
    bedrock={"toolConfig": {"tools": [{"toolSpec": {"name": "clock"}}], "toolChoice": {"auto": {}}}},
    cohere={"tools": [CLOCK]},
    gemini={"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["clock"]}}},
    ollama={"tools": [CLOCK]},
    replicate=REFUSED,
)
feature(
    "one call at a time (`parallel_tool_calls`: false)",
    tools(parallel_tool_calls=False),
    anthropic={"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    **dict.fromkeys(("bedrock", "cohere", "gemini", "ollama", "replicate"), REFUSED),
)
_RESULTS: list[dict[str, Any]] = [
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_2", "name": "clock", "content": [{"type": "text", "text": "noon"}]},
]
feature(
    "calls of tools, and the results of several",
    tools(messages=[HI, {"role": "assistant", "content": "I look.", "tool_calls": CALLS}, *_RESULTS]),
    anthropic={
        "messages": [
            HI,
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Köln"}},
                    {"type": "tool_use", "id": "call_2", "name": "clock", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "noon"},
                ],
            },
        ]
    },
    bedrock={
        "messages": [
            {},
            {
                "role": "assistant",
                "content": [
                    {"text": "I look."},
                    {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": {"city": "Köln"}}},
                    {"toolUse": {"toolUseId": "call_2", "name": "clock", "input": {}}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "call_1", "content": [{"text": "sunny"}]}},
                    {"toolResult": {"toolUseId": "call_2", "content": [{"text": "noon"}]}},
                ],
            },
        ]
    },
    cohere={
        "messages": [
            HI,
            {"role": "assistant", "tool_plan": "I look.", "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
        ]
    },
    gemini={
        "contents": [
            {},
            {
                "role": "model",
                "parts": [
                    {"text": "I look."},
                    {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Köln"}}},
                    {"functionCall": {"id": "call_2", "name": "clock", "args": {}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": "sunny"}}},
                    {"functionResponse": {"id": "call_2", "name": "clock", "response": {"output": "noon"}}},
                ],
            },
        ]
    },
    ollama={
        "messages": [
            HI,
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {"id": "call_1", "function": {"name": "weather", "arguments": {"city": "Köln"}}},
                    {"id": "call_2", "function": {"name": "clock", "arguments": {}}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "tool_name": "weather", "content": "sunny"},
            {"role": "tool", "tool_call_id": "call_2", "tool_name": "clock", "content": "noon"},
        ]
    },
    replicate=REFUSED,
)
_SHOWN = [{"type": "text", "text": "a map"}, {"type": "image_url", "image_url": {"url": DATA_URL}}]
feature(
    "pictures in the result of a tool",
    tools(
        messages=[
            HI,
            {"role": "assistant", "content": None, "tool_calls": CALLS[:1]},
            {"role": "tool", "tool_call_id": "call_1", "content": _SHOWN},
        ]
    ),
    anthropic={"messages": [{}, {}, {"content": [{"content": [{}, {"type": "image", "source": {"data": PNG}}]}]}]},
    bedrock={
        "messages": [
            {},
            {},
            {"content": [{"toolResult": {"content": [{}, {"image": {"format": "png", "source": {"bytes": PNG}}}]}}]},
        ]
    },
    cohere=REFUSED,
    gemini={"contents": [{}, {}, {"parts": [{"functionResponse": {"parts": [{"inlineData": {"data": PNG}}]}}]}]},
    ollama=REFUSED,
    replicate=REFUSED,
)
