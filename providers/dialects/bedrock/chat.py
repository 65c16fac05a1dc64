"""Chats by Converse: a request in OpenAI's vocabulary, and the answer as a chat completion."""

from __future__ import annotations

from providers.dialects.bedrock.reply import parse
from providers.dialects.bedrock.request import build

__all__ = ["build", "parse"]
