"""A chat: generateContent with Gemini models, rawPredict with Claude models; both may be streamed.

Sources: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference,
https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude,
https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.anthropic import reply, request
from providers.dialects.gemini import chat
from providers.dialects.vertex import whose
from providers.dialects.vertex.names import ANTHROPIC, GOOGLE, split, url
from providers.errors import Unsupported
from providers.target import Target
from providers.wire import ChatReply, Operation, UpstreamRequest

VERSION = "vertex-2023-10-16"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    publisher, _ = split(target)
    if publisher == GOOGLE:
        return chat.built(payload, target, url)
    if publisher == ANTHROPIC:
        body = {"anthropic_version": VERSION, **request.content(payload, target)}
        method = "streamRawPredict" if body.get("stream") else "rawPredict"
        return request.request(url(target, Operation.CHAT, method), body)
    raise Unsupported(
        f"How models of the publisher “{publisher}” are called is not known.",
        hint="Use a Gemini or a Claude model.",
        step="build",
    )


def parse(headers: Mapping[str, str], body: bytes) -> ChatReply:
    return reply.parse(headers, body) if whose.body_is_anthropics(body) else chat.parse(headers, body)
