"""vLLM: one model a process, with its adapters. It is put to sleep and woken up where the server was started for that.

Sources: https://docs.vllm.ai/en/latest/serving/openai_compatible_server/, https://docs.vllm.ai/en/latest/features/sleep_mode/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from providers.errors import BadRequest
from runtimes.drivers import _openai
from runtimes.drivers._answers import document, expect, unknown_model
from runtimes.drivers._json import MAX_TOKENS, Object, positive, text
from runtimes.drivers._names import checked
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Ask, Progress, Steps

_SLEEPS = ("load_model", "unload_model")


class VLLM(Driver):
    """To sleep and to wake up are its nearest to unloading and loading: they are for the whole server.

    Both are there with VLLM_SERVER_DEV_MODE=1 and --enable-sleep-mode alone, which a look at it finds out.
    """

    type = "vllm"
    label = "vLLM"
    docs_url = "https://docs.vllm.ai"
    default_urls = ("http://127.0.0.1:8000",)
    api_key_env_var = "VLLM_API_KEY"
    capabilities: ClassVar = frozenset(
        {
            "inference",
            "streaming",
            "embedding",
            "rerank",
            "vision",
            "tools",
            "audio",
            "lists_installed",
            "lists_loaded",
        }
    )
    loads_on_request = False

    def ping(self) -> Steps[Presence]:
        expect((yield Ask("GET", "/health", key=False)))
        yield from _openai.listed()  # which is the one that asks for the key
        version = yield Ask("GET", "/version")
        sleeping = yield from _sleeping()
        return Presence(
            text(document(version).get("version"), 64) if version.ok else "",
            dict.fromkeys(_SLEEPS, sleeping is not None),
        )

    def models(self) -> Steps[list[Described]]:
        found = [_described(entry) for entry in (yield from _openai.listed())]
        if found and (yield from _sleeping()):
            return [replace(one, state="not loaded") for one in found]
        return found

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        sleeping = yield from _asked(name)
        if sleeping:
            yield Progress("Waking up")
            expect((yield Ask("POST", "/wake_up", patience="long")))

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        sleeping = yield from _asked(name)
        if not sleeping:
            expect((yield Ask("POST", "/sleep", query={"level": "1"}, patience="long")))


def _sleeping() -> Steps[bool | None]:
    """Whether it sleeps; None of a server that does not tell, and so cannot."""
    answer = yield Ask("GET", "/is_sleeping")
    return document(answer).get("is_sleeping") is True if answer.ok else None


def _asked(name: str) -> Steps[bool]:
    """Whether it sleeps, of a server that has this model and is able to."""
    checked(name)
    if name not in {entry.get("id") for entry in (yield from _openai.listed())}:
        raise unknown_model(name)
    sleeping = yield from _sleeping()
    if sleeping is None:
        raise BadRequest(
            "This vLLM server can neither sleep nor wake up.",
            hint="Start it with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1, where only operators reach it.",
            step="status",
        )
    return sleeping


def _described(entry: Object) -> Described:
    name, root, parent = text(entry.get("id")), text(entry.get("root"), 1024), text(entry.get("parent"))
    is_path = root.startswith(("/", "."))
    return Described(
        name,
        state="loaded",
        description=f"An adapter of {parent}." if parent else "",
        publisher="" if is_path or "/" not in root else root.partition("/")[0][:128],
        max_tokens=positive(entry.get("max_model_len"), MAX_TOKENS),
        is_mlx=False,
        runtime_name="vLLM",
        file_path=root if is_path else "",
        detail={"parent": parent} if parent else {},
    )


DRIVER = VLLM()
