"""llama.cpp's server: one model a process, or a router that starts a process for each of many.

The router works in the background and tells of it in one stream of events for all models, which also holds the only
bytes of a download. An event may be missed; so events are a reason to look at the list, and the list decides.
Source: https://github.com/ggml-org/llama.cpp/tree/master/tools/server
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from providers.errors import (
    BadRequest,
    GenericUpstreamError,
    ModelNotFound,
    ServerFailed,
    Unsupported,
    UpstreamError,
)
from providers.llm_types import LLMType
from runtimes.drivers._answers import document, expect, refusal, still_in_memory, unknown_model
from runtimes.drivers._json import MAX_TOKENS, Object, entries, flag, members, number, positive, share, text, texts
from runtimes.drivers._names import checked
from runtimes.drivers._openai import listed
from runtimes.drivers._pieces import JSONEvents
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import NEXT, Ask, Listen, Pause, Progress, Steps, Stopped

EVENTS_IDLE_S = 15.0  # without an event for so long, the list is looked at
PAUSE_S = 1.0  # between looks where there are no events
NOTHING_LOOKS = 5  # how often a model that was asked for may be missing before it counts as not come
GONE_WITHIN = 60

_MANAGING = (
    "install_model",
    "import_model",
    "load_model",
    "unload_model",
    "delete_model",
    "load_model_progress",
    "load_model_cancel",
    "install_progress",
    "install_cancel",
    "huggingface_models_supported",
)
_STATES = {
    "loaded": "loaded",
    "sleeping": "loaded",
    "loading": "loading",
    "unloaded": "not loaded",
    "downloaded": "not loaded",
    "downloading": "downloading",
}
_FLAGS = {
    "--embedding": ("embeddings", LLMType.EMBEDDING),
    "--embeddings": ("embeddings", LLMType.EMBEDDING),
    "--rerank": ("rerank", LLMType.RERANK),
    "--reranking": ("rerank", LLMType.RERANK),
}


class LlamaCpp(Driver):
    """What is declared is the router's; a look at a server that runs a single model takes the managing back."""

    type = "llamacpp"
    label = "llama.cpp"
    docs_url = "https://github.com/ggml-org/llama.cpp/tree/master/tools/server"
    default_urls = ("http://127.0.0.1:8080",)
    api_key_env_var = "LLAMA_API_KEY"
    capabilities = frozenset(
        {
            *_MANAGING,
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
    checked_against = "the real server, in both modes"

    def ping(self) -> Steps[Presence]:
        """Raises Overloaded while a single model is still being loaded."""
        expect((yield Ask("GET", "/health", key=False)))
        answer = yield Ask("GET", "/props")
        if answer.status in (404, 501):
            return Presence(capabilities=dict.fromkeys(_MANAGING, False))
        told = document(answer)
        version = text(told.get("build_info"), 64)
        if told.get("role") == "router":
            return Presence(version)
        can = {name: flag(members(told.get("modalities")).get(name)) for name in ("vision", "audio")}
        can["tools"] = flag(members(told.get("chat_template_caps")).get("supports_tools"))
        said = {name: value for name, value in can.items() if value is not None}
        return Presence(version, {**dict.fromkeys(_MANAGING, False), **said})

    def models(self) -> Steps[list[Described]]:
        found = yield from listed()
        props: Object = {}
        if len(found) == 1 and "status" not in found[0]:
            answer = yield Ask("GET", "/props")
            props = document(answer) if answer.ok else {}
        return [_described(entry, props) for entry in found]

    def install(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        """`name` is a repository of Hugging Face with or without a quantization: “user/repo:Q4_K_M”.

        The list then names the quantization even if it was not asked for. A download goes on at the runtime when we
        die: it is found and watched.
        """
        found = yield from listed()
        if found and all("status" not in entry for entry in found):
            raise _no_router()
        entry = _find(found, checked(name))
        if entry is not None and _value(entry) != "downloading":
            return
        listening = yield from self._listen()
        try:
            if entry is None:
                answer = yield Ask("POST", "/models", {"model": name})
                if not answer.ok and "already exists" not in (error := refusal(answer)).detail:
                    raise _no_router() if answer.status in (404, 405) else error
            yield from self._until_installed(name, listening)
        except Stopped:
            yield Ask("POST", "/models/unload", {"model": name})
            raise

    def import_(
        self, name: str, path: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Steps[None]:
        """Take notice of a file that was put into the folder of models of the runtime; `name` is what it calls it."""
        found = expect((yield Ask("GET", "/models", query={"reload": "1"}, patience="long")))
        if checked(name) not in {text(entry.get("id")) for entry in entries(document(found).get("data"))}:
            raise BadRequest(
                "The runtime has no file of this name in its folder of models.",
                hint=f"Put the file into the folder that its --models-dir names, as “{name}.gguf”; then import it.",
                step="build",
            )

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        yield from self._managed(name)
        listening = yield from self._listen()
        answer = yield Ask("POST", "/models/load", {"model": name})
        if not answer.ok:
            error = refusal(answer, model=name)
            if "already running" not in error.detail:
                raise error
        try:
            yield from self._until_loaded(name, listening)
        except Stopped:
            if answer.ok:
                yield Ask("POST", "/models/unload", {"model": name})
            raise

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        entry = yield from self._managed(name)
        if _value(entry) == "downloading":
            raise BadRequest(
                "The model is being downloaded; to unload it now would cancel that.",
                hint="Cancel the installation if it is not wanted any more.",
                step="build",
            )
        answer = yield Ask("POST", "/models/unload", {"model": name}, patience="long")
        if not answer.ok:
            error = refusal(answer, model=name)
            if "not running" in error.detail:
                return
            raise unknown_model(name) if "not found" in error.detail else error
        for _ in range(GONE_WITHIN):
            entry = yield from self._managed(name)
            if _value(entry) not in ("loaded", "loading", "sleeping"):
                return
            yield Pause(PAUSE_S / 2)
        raise still_in_memory()

    def delete(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        entry = yield from self._managed(name)
        if entry.get("can_remove") is False:
            raise BadRequest(
                "The runtime deletes only models that it has downloaded itself.",
                hint="Remove the file from its folder of models, or the entry from its presets.",
                step="build",
            )
        answer = yield Ask("DELETE", "/models", query={"model": name}, patience="long")
        if not answer.ok:
            error = refusal(answer, model=name)
            raise unknown_model(name) if "is not found" in error.detail else error

    def _managed(self, name: str) -> Steps[Object]:
        """The model's entry; raises ModelNotFound, and Unsupported if the server runs a single model.

        The list is asked because the server answers 404 without a reason to either.
        """
        found = yield from listed()
        if found and all("status" not in entry for entry in found):
            raise _no_router()
        entry = _find(found, checked(name))
        if entry is None:
            raise unknown_model(name)
        return entry

    def _listen(self) -> Steps[bool]:
        """Begin to hear events; False if there are none to be heard."""
        answer = yield Listen("GET", "/models/sse", patience="long", pieces=JSONEvents, idle_timeout_s=EVENTS_IDLE_S)
        return bool(answer.ok)

    def _event(self, listening: bool) -> Steps[tuple[Object, bool]]:
        """The next event, or {} when it is time to look at the list, and whether there still is something to hear."""
        if not listening:
            yield Pause(PAUSE_S)
            return {}, False
        try:
            event = yield NEXT
        except UpstreamError:
            event = None
        if event is None:
            listening = yield from self._listen()
        return members(event), listening

    def _until_installed(self, name: str, listening: bool) -> Steps[None]:
        sizes: dict[str, tuple[int, int]] = {}
        missing = 0
        while True:
            event, listening = yield from self._event(listening)
            if event and event.get("model") != name:
                continue
            kind = event.get("event")
            if kind == "download_progress":
                yield _downloaded(sizes, members(event.get("data")).get("progress"))
                continue
            if kind == "download_failed":
                raise ServerFailed("The runtime could not download the model.", hint=_LOOK_AT_LOG, step="status")
            entry = yield from self._installed(name)
            if entry is not None and _value(entry) not in ("downloading", "downloaded"):
                return
            if entry is not None and not listening:  # newer builds say so in the list, too
                yield _downloaded(sizes, members(entry.get("status")).get("progress"))
            missing += entry is None
            if entry is None and (kind == "download_finished" or missing >= NOTHING_LOOKS):
                raise _nothing_came(name)

    def _installed(self, name: str) -> Steps[Object | None]:
        """The model's entry; of a repository named without a quantization, any of it."""
        found = yield from listed()
        entry = _find(found, name)
        if entry is None and ":" not in name:
            entry = next(
                (one for one in found if text(one.get("id")).casefold().startswith(f"{name.casefold()}:")), None
            )
        return entry

    def _until_loaded(self, name: str, listening: bool) -> Steps[None]:
        exit_code: int | None = None
        while True:
            entry = yield from self._managed(name)
            value = _value(entry)
            if value in ("loaded", "sleeping"):
                return
            if value not in ("loading", "downloading"):
                code = members(entry.get("status")).get("exit_code")
                raise _not_loaded(name, code if type(code) is int else exit_code)
            while True:
                event, listening = yield from self._event(listening)
                if event and event.get("model") != name:
                    continue
                data = members(event.get("data"))
                if type(data.get("exit_code")) is int:
                    exit_code = data["exit_code"]
                if data.get("status") != "loading":
                    break
                if progress := members(data.get("progress")):
                    yield Progress(*_share_of_all(progress))


_LOOK_AT_LOG = "The log of the runtime tells why."


def _downloaded(sizes: dict[str, tuple[int, int]], told: Any) -> Progress:
    """What has come of all files; `sizes` keeps what was told of them, by their addresses."""
    for url, one in members(told).items():
        done, total = number(members(one).get("done")) or 0, number(members(one).get("total")) or 0
        sizes[url] = min(done, total), total
    done_bytes, total_bytes = map(sum, zip(*sizes.values(), strict=True)) if sizes else (0, 0)
    return Progress("downloading", done_bytes, total_bytes) if total_bytes else Progress("downloading")


def _share_of_all(progress: Object) -> tuple[str, None, None, float | None]:
    """What is being loaded and how far all of it is: stages follow each other, each told of from 0 to 1."""
    stages, current, value = texts(progress.get("stages")), text(progress.get("current")), share(progress.get("value"))
    if value is not None and current in stages:
        value = (stages.index(current) + value) / len(stages)
    return f"loading {current}".strip(), None, None, value


def _find(found: list[Object], name: str) -> Object | None:
    def called(one: Object) -> bool:
        return text(one.get("id")) == name or name in texts(one.get("aliases"))

    return next((one for one in found if called(one)), None)


def _value(entry: Object) -> str:
    return text(members(entry.get("status")).get("value"))


def _described(entry: Object, props: Object) -> Described:
    name, status, meta = text(entry.get("id")), members(entry.get("status")), members(entry.get("meta"))
    arguments = texts(status.get("args"), 1024)
    inputs = texts(members(entry.get("architecture")).get("input_modalities"))
    modalities = members(props.get("modalities"))
    sees = "image" in inputs or modalities.get("vision") is True
    kind, types = next((_FLAGS[one] for one in arguments if one in _FLAGS), ("vlm" if sees else "unknown", None))
    failed = status.get("failed") is True
    repository, _, quantization = name.partition(":") if "/" in name else ("", "", "")
    notes = {
        "source": text(entry.get("source"), 32),
        "can_remove": flag(entry.get("can_remove")),
        "sleeping": status.get("value") == "sleeping" or None,
        "exit_code": status.get("exit_code") if failed and type(status.get("exit_code")) is int else None,
        "context_trained": number(meta.get("n_ctx_train"), MAX_TOKENS),
    }
    return Described(
        name=name,
        type=kind,
        state="error" if failed else _STATES.get(_value(entry), "unknown") if status else "loaded",
        model_types=(types,) if types is not None else (LLMType.CHAT, LLMType.IMAGE2TEXT) if sees else (),
        publisher=repository.partition("/")[0][:128],
        quantization=quantization[:32] or text(meta.get("ftype"), 32),
        parameters=positive(meta.get("n_params")),
        max_tokens=positive(meta.get("n_ctx"), MAX_TOKENS) or positive(meta.get("n_ctx_train"), MAX_TOKENS),
        size_bytes=positive(meta.get("size")),
        tooling=flag(members(props.get("chat_template_caps")).get("supports_tools")),
        is_gguf=True,
        runtime_name="llama.cpp",
        file_path=_after(arguments, ("--model", "-m")) or text(props.get("model_path"), 1024),
        detail={key: value for key, value in notes.items() if value is not None and value != ""},
    )


def _after(arguments: tuple[str, ...], names: tuple[str, ...]) -> str:
    at: Callable[[str], int] = arguments.index
    place = next((at(name) + 1 for name in names if name in arguments), len(arguments))
    return arguments[place] if place < len(arguments) else ""


def _nothing_came(name: str) -> ModelNotFound:
    return ModelNotFound(
        f"The runtime's download ended, and there is no model “{text(name, 100)}”.",
        hint="Check that the repository exists, is public or open to the runtime's token, and has a file of that"
        " quantization; files whose names tell no quantization are not found.",
        step="status",
    )


def _not_loaded(name: str, exit_code: int | None) -> UpstreamError:
    if exit_code == 0:
        return ServerFailed(
            f"The runtime unloaded “{text(name, 100)}” before it could be used.",
            hint="Somebody else unloaded it, or it had to make room; try again.",
            step="status",
        )
    ended = "" if exit_code is None else f" Its process ended with {exit_code}."
    return GenericUpstreamError(
        f"The runtime could not load “{text(name, 100)}”.{ended}",
        hint=f"The file may be broken, or the memory too small. {_LOOK_AT_LOG}",
        step="status",
    )


def _no_router() -> Unsupported:
    return Unsupported(
        "This server runs a single model and cannot manage any.",
        hint="Start llama-server without a model (router mode) to install, load and unload models from here.",
        step="status",
    )


DRIVER = LlamaCpp()
