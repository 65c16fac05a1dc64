"""What an answer is to be like, in OpenAI's vocabulary and in every wire format's own: see features.py."""

from __future__ import annotations

from functools import partial

from tests.providers.features import LEFT_OUT, OTHERS, REFUSED, Feature, add
from tests.providers.features_tools import SCHEMA

TABLE: list[Feature] = []
feature = partial(add, TABLE)

# The answer

feature(
    "JSON of any schema (`json_object`)",
    {"response_format": {"type": "json_object"}},
    anthropic={"tools": [{"name": "answer_as_json"}], "tool_choice": {"type": "tool", "name": "answer_as_json"}},
    bedrock={"toolConfig": {"toolChoice": {"tool": {"name": "answer_as_json"}}}},
    cohere={"response_format": {"type": "json_object"}},
    gemini={"generationConfig": {"responseMimeType": "application/json"}},
    ollama={"format": "json"},
    replicate=REFUSED,
)
feature(
    "JSON of a schema (`json_schema`)",
    {"response_format": {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": SCHEMA}}},
    anthropic={"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    bedrock={"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"name": "place"}}}}},
    cohere={"response_format": {"type": "json_object", "json_schema": SCHEMA}},
    gemini={"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}},
    ollama={"format": SCHEMA},
    replicate=REFUSED,
)
for name in ("max_tokens", "max_completion_tokens"):
    feature(
        f"`{name}`",
        {name: 77},
        anthropic={"max_tokens": 77},
        bedrock={"inferenceConfig": {"maxTokens": 77}},
        cohere={"max_tokens": 77},
        gemini={"generationConfig": {"maxOutputTokens": 77}},
        ollama={"options": {"num_predict": 77}},
        replicate={"input": {"max_tokens": 77}},
    )
feature(
    "`stop`",
    {"stop": ["END", "STOP"]},
    anthropic={"stop_sequences": ["END", "STOP"]},
    bedrock={"inferenceConfig": {"stopSequences": ["END", "STOP"]}},
    cohere={"stop_sequences": ["END", "STOP"]},
    gemini={"generationConfig": {"stopSequences": ["END", "STOP"]}},
    ollama={"options": {"stop": ["END", "STOP"]}},
    replicate={"input": {"stop_sequences": "END,STOP"}},
)
feature(
    "`temperature`",
    {"temperature": 0.7},
    anthropic={"temperature": 0.7},
    bedrock={"inferenceConfig": {"temperature": 0.7}},
    cohere={"temperature": 0.7},
    gemini={"generationConfig": {"temperature": 0.7}},
    ollama={"options": {"temperature": 0.7}},
    replicate={"input": {"temperature": 0.7}},
)
feature(
    "`temperature` above 1",
    {"temperature": 1.5},
    anthropic=REFUSED,
    bedrock=REFUSED,
    cohere={"temperature": 1.5},
    gemini={"generationConfig": {"temperature": 1.5}},
    ollama={"options": {"temperature": 1.5}},
    replicate={"input": {"temperature": 1.5}},
)
feature(
    "`top_p`",
    {"top_p": 0.7},
    anthropic={"top_p": 0.7},
    bedrock={"inferenceConfig": {"topP": 0.7}},
    cohere={"p": 0.7},
    gemini={"generationConfig": {"topP": 0.7}},
    ollama={"options": {"top_p": 0.7}},
    replicate={"input": {"top_p": 0.7}},
)
feature(
    "`seed`",
    {"seed": 7},
    anthropic=REFUSED,
    bedrock=REFUSED,
    cohere={"seed": 7},
    gemini={"generationConfig": {"seed": 7}},
    ollama={"options": {"seed": 7}},
    replicate={"input": {"seed": 7}},
)
for name, camel in (("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty")):
    feature(
        f"`{name}`",
        {name: 0.7},
        anthropic=REFUSED,
        bedrock=REFUSED,
        cohere={name: 0.7},
        gemini={"generationConfig": {camel: 0.7}},
        ollama={"options": {name: 0.7}},
        replicate={"input": {name: 0.7}},
    )
feature(
    "several answers (`n`)",
    {"n": 2},
    gemini={"generationConfig": {"candidateCount": 2}},
    **dict.fromkeys(("anthropic", "bedrock", "cohere", "ollama", "replicate"), REFUSED),
)
feature(
    "`logprobs`",
    {"logprobs": True},
    anthropic=REFUSED,
    bedrock=REFUSED,
    cohere={"logprobs": True},
    gemini={"generationConfig": {"responseLogprobs": True}},
    ollama={"logprobs": True},
    replicate=REFUSED,
)
feature(
    "`top_logprobs`",
    {"logprobs": True, "top_logprobs": 3},
    anthropic=REFUSED,
    bedrock=REFUSED,
    cohere=REFUSED,
    gemini={"generationConfig": {"responseLogprobs": True, "logprobs": 3}},
    ollama={"logprobs": True, "top_logprobs": 3},
    replicate=REFUSED,
)
feature(
    "`logit_bias`",
    {"logit_bias": {"7": 5}},
    **dict.fromkeys(OTHERS, REFUSED),
)
feature(
    "`reasoning_effort`: none",
    {"reasoning_effort": "none"},
    anthropic={"thinking": {"type": "disabled"}},
    bedrock=REFUSED,
    cohere={"thinking": {"type": "disabled"}},
    gemini=REFUSED,
    ollama={"think": False},
    replicate=REFUSED,
)
feature(
    "`reasoning_effort`: low, medium",
    {"reasoning_effort": "medium"},
    anthropic={"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}},
    bedrock=REFUSED,
    cohere=REFUSED,
    gemini={"generationConfig": {"thinkingConfig": {"thinkingLevel": "MEDIUM"}}},
    ollama={"think": "medium"},
    replicate=REFUSED,
)
feature(
    "`reasoning_effort`: high",
    {"reasoning_effort": "high"},
    anthropic={"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
    bedrock=REFUSED,
    cohere={"thinking": {"type": "enabled"}},
    gemini={"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}},
    ollama={"think": "high"},
    replicate=REFUSED,
)
feature(
    "`verbosity`",
    {"verbosity": "low"},
    **dict.fromkeys(OTHERS, REFUSED),
)
feature(
    "spoken answers (`modalities`, `audio`)",
    {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "mp3"}},
    **dict.fromkeys(OTHERS, REFUSED),
)
for name, value in (
    ("prediction", {"type": "content", "content": "x"}),
    ("web_search_options", {}),
    ("store", True),
    ("what_nobody_knows", 1),
):
    feature(f"`{name}`", {name: value}, **dict.fromkeys(OTHERS, REFUSED))
feature(
    "`service_tier`: flex, priority",
    {"service_tier": "flex"},
    bedrock={"serviceTier": {"type": "flex"}},
    **dict.fromkeys(("anthropic", "cohere", "gemini", "ollama", "replicate"), REFUSED),
)

# Around the call

feature(
    "streams (`stream`, `stream_options`)",
    {"stream": True, "stream_options": {"include_usage": True}},
    anthropic={"stream": True},
    bedrock={"messages": [{}]},  # the path says it
    cohere={"stream": True},
    gemini={"contents": [{}]},  # the path says it
    ollama={"stream": True},
    replicate=REFUSED,
)
feature(
    "who the end user is (`user`, `safety_identifier`)",
    {"user": "u-1", "safety_identifier": "u-1"},
    anthropic={"metadata": {"user_id": "u-1"}},
    **dict.fromkeys(("bedrock", "cohere", "gemini", "ollama", "replicate"), LEFT_OUT),
)
feature(
    "`metadata`, `prompt_cache_key`",
    {"metadata": {"ticket": "7"}, "prompt_cache_key": "k"},
    **dict.fromkeys(OTHERS, LEFT_OUT),
)
