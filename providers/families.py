"""What models of one family refuse, whoever sells them: quirks by the names of models, for rows that say `sells`.

Sources: https://platform.openai.com/docs/guides/reasoning, https://platform.openai.com/docs/api-reference/chat/create,
https://platform.claude.com/docs/en/about-claude/models/migration-guide
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Models that reason take no sampling parameters, and bound the answer together with the reasoning.
_REASONS: Mapping[str, Any] = {
    "params": {
        "rename": {"max_tokens": "max_completion_tokens"},
        "drop": [
            *("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs"),
            *("top_logprobs", "stop"),
        ],
    }
}
_CHATS: Mapping[str, Any] = {"params": {"rename": {"max_tokens": None}, "drop": None}}
_ONE_SAMPLER: Mapping[str, Any] = {"params": {"one_of": [["temperature", "top_p"]]}}
_NO_SAMPLER: Mapping[str, Any] = {
    "params": {"drop": ["temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty"]}
}

FAMILIES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "openai": {"gpt-5*": _REASONS, "gpt-5-chat*": _CHATS, "o1*": _REASONS, "o3*": _REASONS, "o4*": _REASONS},
    "anthropic": {
        "claude-*-4[-.][156]*": _ONE_SAMPLER,
        "claude-*-4[-.][78]*": _NO_SAMPLER,
        "claude-fable-5*": _NO_SAMPLER,
        "claude-haiku-5*": _NO_SAMPLER,
        "claude-opus-5*": _NO_SAMPLER,
        "claude-sonnet-5*": _NO_SAMPLER,
    },
}
