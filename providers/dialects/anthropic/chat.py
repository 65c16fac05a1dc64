"""Chats: a request in OpenAI's vocabulary, and the answer as a chat completion."""

from __future__ import annotations

from providers.dialects.anthropic.reply import parse
from providers.dialects.anthropic.request import build

__all__ = ["build", "parse"]
