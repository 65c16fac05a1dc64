"""Jan: its list is what runs now. Nothing is started or stopped over its API; a key is always needed.

Sources: https://jan.ai/docs/desktop/api-server, https://github.com/janhq/jan/issues/6339
"""

from __future__ import annotations

from typing import ClassVar

from runtimes.drivers import _openai
from runtimes.drivers._json import text
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Steps


class Jan(Driver):
    """Models are started in the app itself, or by `jan serve`, which listens on port 6767 unless told otherwise."""

    type = "jan"
    label = "Jan"
    docs_url = "https://jan.ai/docs/desktop/api-server"
    default_urls = ("http://127.0.0.1:1337",)
    api_key_env_var = "JAN_API_KEY"
    keyless = False
    capabilities: ClassVar = frozenset({"inference", "streaming", "embedding", "vision", "tools", "lists_loaded"})
    loads_on_request = False

    def ping(self) -> Steps[Presence]:
        yield from _openai.listed()
        return Presence()

    def models(self) -> Steps[list[Described]]:
        listed = yield from _openai.listed()
        return [Described(text(entry.get("id")), state="loaded", runtime_name="llama.cpp") for entry in listed]


DRIVER = Jan()
