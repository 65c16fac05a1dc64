"""Cortex (cortex.cpp), which is no longer developed. Its list also has what could be
fetched, and models of other services.

A download tells of itself over a WebSocket alone; here its model is looked for in the list until it is there.
Source: https://github.com/janhq/cortex.cpp, engine/controllers, as it was archived in July 2025
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from providers.errors import BadRequest, ModelNotFound, ServerFailed
from runtimes.drivers import _openai
from runtimes.drivers._answers import document, expect, refusal
from runtimes.drivers._json import MAX_TOKENS, Object, entries, members, positive, text, texts
from runtimes.drivers._names import checked, segment
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Answer, Ask, Pause, Progress, Remember, Steps, Stopped

LOOK_EACH_S = 2.0
TELL_EACH = 15  # looks
MAX_LOOKS = 6 * 3600 // 2


class Cortex(Driver):
    """A model is fetched by "name:branch", or by the URL of a GGUF file on Hugging Face."""

    type = "cortex"
    label = "Cortex"
    docs_url = "https://cortex.so/docs"
    default_urls = ("http://127.0.0.1:39281",)
    api_key_env_var = "CORTEXSO_API_KEY"
    capabilities: ClassVar = frozenset(
        {
            "install_model",
            "import_model",
            "load_model",
            "unload_model",
            "delete_model",
            "install_cancel",
            "huggingface_models_supported",
            "inference",
            "streaming",
            "embedding",
            "lists_installed",
            "lists_loaded",
        }
    )
    loads_on_request = False

    def ping(self) -> Steps[Presence]:
        expect((yield Ask("GET", "/healthz")))
        return Presence()

    def models(self) -> Steps[list[Described]]:
        listed = yield from _openai.listed()
        running = yield from _running()
        return [_described(entry, running) for entry in listed if entry.get("status") == "downloaded"]

    def install(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        wanted = checked(name)
        if not wanted.startswith("https://") and ":" not in wanted:
            raise BadRequest(
                "Cortex wants a model with its branch, such as llama3.2:3b, or the URL of a GGUF file.",
                hint="Add the branch after a colon.",
                step="build",
            )
        if wanted in (yield from _downloaded()):
            return
        answer = yield Ask("POST", "/v1/models/pull", {"model": wanted}, patience="long")
        task = members(document(answer).get("task"))
        told = text(task.get("id")) or wanted
        yield Remember({"task": told})
        try:
            yield from _until_there(told, wanted, task)
        except Stopped:
            yield Ask("DELETE", "/v1/models/pull", {"taskId": told})
            raise

    def import_(
        self, name: str, path: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Steps[None]:
        body = {"model": checked(name), "modelPath": path, "option": "copy" if options.get("copy") else "symlink"}
        expect((yield Ask("POST", "/v1/models/import", body, patience="long")))

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        if (yield Ask("GET", f"/v1/models/status/{segment(name)}")).ok:
            return
        yield Progress("Loading")
        try:
            _done((yield Ask("POST", "/v1/models/start", {"model": name}, patience="long")), name)
        except Stopped:
            yield Ask("POST", "/v1/models/stop", {"model": name})
            raise

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        if (yield Ask("GET", f"/v1/models/status/{segment(name)}")).ok:
            _done((yield Ask("POST", "/v1/models/stop", {"model": name}, patience="long")), name)

    def delete(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        _done((yield Ask("DELETE", f"/v1/models/{segment(name)}", patience="long")), name)


def _running() -> Steps[frozenset[str]]:
    """What runs, from a list that is not in its documentation; nothing where there is no such list."""
    answer = yield Ask("GET", "/inferences/server/models")
    listed = entries(document(answer).get("data")) if answer.ok else []
    return frozenset(name for entry in listed if (name := text(entry.get("id")) or text(entry.get("model"))))


def _downloaded() -> Steps[frozenset[str]]:
    listed = yield from _openai.listed()
    return frozenset(text(entry.get("id")) for entry in listed if entry.get("status") == "downloaded")


def _until_there(task_id: str, wanted: str, task: Object) -> Steps[None]:
    sizes = [positive(item.get("bytes")) for item in entries(task.get("items"))]
    total = sum(filter(None, sizes)) if sizes and None not in sizes else None
    for look in range(MAX_LOOKS):
        if look % TELL_EACH == 0:
            minutes = round(look * LOOK_EACH_S / 60, 1)
            yield Progress(f"Downloading for {minutes:g} min", total_bytes=total)
        yield Pause(LOOK_EACH_S)
        if not {task_id, wanted}.isdisjoint((yield from _downloaded())):
            return
    raise ServerFailed("The model did not come; its download may have failed without a word.", step="body")


def _done(answer: Answer, name: str) -> None:
    """Everything that goes wrong is a 400 with a message."""
    if answer.ok:
        return
    error = refusal(answer, model=name)
    if isinstance(error, BadRequest) and any(words in error.detail.lower() for words in ("cannot find", "not found")):
        raise ModelNotFound(f"Cortex has no model “{text(name, 100)}”.", step="status", detail=error.detail) from None
    raise error


def _described(entry: Object, running: frozenset[str]) -> Described:
    name, engine = text(entry.get("id")), text(entry.get("engine"), 64)
    files = texts(entry.get("files"))
    return Described(
        name,
        state="loaded" if name in running else "not loaded",
        publisher=text(entry.get("owned_by"), 128),
        max_tokens=positive(entry.get("ctx_len"), MAX_TOKENS),
        size_bytes=positive(entry.get("size")),
        is_mlx=False,
        is_gguf="llama" in engine or name.endswith(".gguf"),
        runtime_name=engine,
        file_path=files[0] if files else "",
    )


DRIVER = Cortex()
