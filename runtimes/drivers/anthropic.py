"""Anthropic's own service: another wire format, and a list of models that comes in pages.

Source: https://docs.claude.com/en/api/models-list
"""

from __future__ import annotations

from typing import Any, ClassVar

from providers.dialects.bodies import load_object, unexpected
from providers.llm_types import LLMType
from runtimes.drivers._answers import expect
from runtimes.drivers._json import MAX_TOKENS, Object, entries, members, moment, positive, text
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Answer, Ask, Steps

VERSION = "2023-06-01"
PAGE = 1000
MAX_PAGES = 20


class Anthropic(Driver):
    type = "anthropic"
    label = "Anthropic"
    docs_url = "https://docs.claude.com/en/api"
    default_urls = ("https://api.anthropic.com",)
    api_key_env_var = "ANTHROPIC_API_KEY"
    keyless = False
    is_local = False
    dialect = "anthropic"
    signer = "header:x-api-key"
    quirks: ClassVar[dict[str, Any]] = {
        "params": {
            "bounds": {"temperature": [0, 1]},
            "default": {"max_tokens": 8192},
            "drop": ["presence_penalty", "frequency_penalty"],
        },
        "sells": ["anthropic"],
    }
    capabilities: ClassVar = frozenset({"inference", "streaming", "vision", "tools", "lists_installed", "lists_loaded"})

    def ping(self) -> Steps[Presence]:
        _page((yield _asked(1)))
        return Presence()

    def models(self) -> Steps[list[Described]]:
        found: dict[str, Described] = {}
        after = ""
        for _ in range(MAX_PAGES):
            data = _page((yield _asked(PAGE, after)))
            for entry in entries(data.get("data")):
                if name := text(entry.get("id")):
                    found[name] = _described(name, entry)
            last = text(data.get("last_id"))
            if data.get("has_more") is not True or not last or last == after:
                break
            after = last
        return list(found.values())


def _asked(limit: int, after: str = "") -> Ask:
    query = {"limit": str(limit), **({"after_id": after} if after else {})}
    return Ask("GET", "/v1/models", query=query, headers={"anthropic-version": VERSION})


def _page(answer: Answer) -> Object:
    expect(answer)
    data: Object = load_object(answer.headers, answer.body)
    if not isinstance(data.get("data"), list):
        raise unexpected("The answer is not a list of models.", answer.headers, answer.body)
    return data


def _described(name: str, entry: Object) -> Described:
    """Its capabilities are objects with `supported`; without any, it is of an older API, and its name has to do."""
    can = members(entry.get("capabilities"))
    sees = members(can.get("image_input")).get("supported")
    types = (LLMType.CHAT, *((LLMType.IMAGE2TEXT,) if sees is not False else ())) if can else ()
    return Described(
        name,
        type="unknown" if not can else "llm" if sees is False else "vlm",
        state="loaded",
        model_types=tuple(map(str, types)),
        description=text(entry.get("display_name")),
        publisher="Anthropic",
        max_tokens=positive(entry.get("max_input_tokens"), MAX_TOKENS),
        streaming=True,
        instructed=True,
        tooling=True,
        is_mlx=False,
        is_gguf=False,
        modified_at=moment(entry.get("created_at")),
    )


DRIVER = Anthropic()
