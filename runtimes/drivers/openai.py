"""OpenAI's own service. What it lists can be called at once, so it counts as loaded.

Source: https://platform.openai.com/docs/api-reference/models/list
"""

from __future__ import annotations

from typing import ClassVar

from runtimes.drivers import _openai
from runtimes.drivers._json import moment, text
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Steps


class OpenAI(Driver):
    type = "openai"
    label = "OpenAI"
    docs_url = "https://platform.openai.com/docs"
    default_urls = ("https://api.openai.com",)
    api_key_env_var = "OPENAI_API_KEY"
    keyless = False
    is_local = False
    quirks: ClassVar = {
        "embedding": {"batch_tokens": 300_000, "max_tokens": 8191},
        "sells": ["openai"],
        "uncallable": {"rerank": "OpenAI has no API for reranking."},
    }
    capabilities: ClassVar = frozenset(
        {"inference", "streaming", "embedding", "vision", "tools", "audio", "lists_installed", "lists_loaded"}
    )

    def ping(self) -> Steps[Presence]:
        yield from _openai.listed()
        return Presence()

    def models(self) -> Steps[list[Described]]:
        return [
            Described(
                text(entry.get("id")),
                state="loaded",
                publisher=text(entry.get("owned_by"), 128),
                modified_at=moment(entry.get("created")),
            )
            for entry in (yield from _openai.listed())
        ]


DRIVER = OpenAI()
