"""GPT4All's desktop app: chats alone, whole, on IPv4 of its own machine. It loads a model when it is called.

It refuses many parameters, says no more than 16 tokens unless told otherwise, and answers for a model that it does not
have with another one, so that only what it lists may be called.
Source: https://docs.gpt4all.io/gpt4all_api_server/home.html, and its source at version 3.10
"""

from __future__ import annotations

from typing import ClassVar

from runtimes.drivers import _openai
from runtimes.drivers._json import text
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Steps

REFUSED = ("stream_options", "logprobs", "top_logprobs", "logit_bias")  # and stop, suffix, tools: those are missed
MAX_TOKENS = 2048  # where the caller names no limit


class GPT4All(Driver):
    type = "gpt4all"
    label = "GPT4All"
    docs_url = "https://docs.gpt4all.io/gpt4all_api_server/home.html"
    default_urls = ("http://127.0.0.1:4891",)
    api_key_env_var = "GPT4ALL_API_KEY"
    quirks: ClassVar = {"params": {"drop": list(REFUSED), "default": {"max_tokens": MAX_TOKENS}}}
    capabilities: ClassVar = frozenset({"inference", "lists_installed"})

    def ping(self) -> Steps[Presence]:
        yield from _openai.listed()
        return Presence()

    def models(self) -> Steps[list[Described]]:
        """What it has; which of them is loaded, it does not say."""
        listed = yield from _openai.listed()
        return [
            Described(
                text(entry.get("id")),
                type="llm",
                model_types=("chat",),
                streaming=False,
                tooling=False,
                is_mlx=False,
                is_gguf=True,
                runtime_name="llama.cpp",
            )
            for entry in listed
        ]


DRIVER = GPT4All()
