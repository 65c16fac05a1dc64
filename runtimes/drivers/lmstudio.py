"""LM Studio: its native API v1 (0.4 and later), and v0, which only lists, where there is no other.

An unknown path is answered 200 with an error by versions before 0.4, so the list itself tells whether v1 is there.
Sources: https://lmstudio.ai/docs/developer/rest, https://lmstudio.ai/docs/developer/rest/endpoints (v0)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from providers.errors import BadReply, BadRequest, ServerFailed, Unsupported
from providers.llm_types import LLMType
from runtimes.drivers._answers import document, expect, refusal, unknown_model
from runtimes.drivers._json import MAX_TOKENS, Object, entries, flag, members, number, parameters, positive, text, texts
from runtimes.drivers._names import checked, segment
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Ask, Pause, Progress, Remember, Steps

LOOK_EVERY_S = 1.0
PAUSED_LOOK_S = 10.0

_MANAGING = (
    "install_model",
    "load_model",
    "unload_model",
    "load_model_timeout",
    "install_progress",
    "huggingface_models_supported",
)
_LOADED_WITH = ("context_length", "eval_batch_size", "flash_attention", "num_experts", "offload_kv_cache_to_gpu")
_TYPES = {"llm": "llm", "vlm": "vlm", "embedding": "embeddings", "embeddings": "embeddings"}
_MODEL_TYPES = {
    "llm": (LLMType.CHAT,),
    "vlm": (LLMType.CHAT, LLMType.IMAGE2TEXT),
    "embeddings": (LLMType.EMBEDDING,),
}
_HUB = ("huggingface.co", "hf.co", "www.huggingface.co")


class LMStudio(Driver):
    """A model may be loaded several times; each instance has an id, by which it is unloaded."""

    type = "lm_studio"
    label = "LM Studio"
    docs_url = "https://lmstudio.ai/docs/developer/rest"
    default_urls = ("http://127.0.0.1:1234",)
    api_key_env_var = "LMSTUDIO_API_KEY"
    capabilities = frozenset(
        {
            *_MANAGING,
            "inference",
            "streaming",
            "embedding",
            "vision",
            "tools",
            "lists_installed",
            "lists_loaded",
        }
    )

    def ping(self) -> Steps[Presence]:
        found = yield from self._native()
        if found is not None:
            return Presence()
        yield from self._old()
        return Presence("before 0.4", dict.fromkeys(_MANAGING, False))

    def models(self) -> Steps[list[Described]]:
        found = yield from self._native()
        if found is not None:
            return [_described(entry) for entry in found if text(entry.get("key"))]
        return [_described_by_v0(entry) for entry in (yield from self._old()) if text(entry.get("id"))]

    def install(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        """`name` is one of the catalogue, “qwen/qwen3-4b”, or of Hugging Face, “hf.co/user/repo:Q4_K_M”.

        A download cannot be called off, only left alone; one that was begun before is watched, not begun again.
        """
        body = _wanted(checked(name))
        job = text(remembered.get("job_id"))
        told: Object = {}
        if job:
            answer = yield Ask("GET", f"/api/v1/models/download/status/{segment(job)}")
            told = members(document(answer)) if answer.ok else {}
        if text(told.get("status")) not in ("downloading", "paused", "completed"):
            told = yield from self._managing(Ask("POST", "/api/v1/models/download", body, patience="long"), name)
            job = text(told.get("job_id"))
            if job:
                yield Remember({"job_id": job})
        while (status := text(told.get("status"))) not in ("completed", "already_downloaded"):
            if status not in ("downloading", "paused") or not job:
                raise _not_downloaded(name, status)
            yield Progress(status, number(told.get("downloaded_bytes")), positive(told.get("total_size_bytes")))
            yield Pause(LOOK_EVERY_S if status == "downloading" else PAUSED_LOOK_S)
            told = document((yield Ask("GET", f"/api/v1/models/download/status/{segment(job)}")))
        if total := positive(told.get("total_size_bytes")):
            yield Progress(status, total, total)

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        """Does nothing if an instance is loaded: asked again, the runtime would load a second one.

        `options`: context_length, eval_batch_size, flash_attention, num_experts, offload_kv_cache_to_gpu.
        """
        if _instances((yield from self._managed(name))):
            return
        yield Progress("loading")
        body = {"model": name} | {key: options[key] for key in _LOADED_WITH if key in options}
        told = yield from self._managing(Ask("POST", "/api/v1/models/load", body, patience="long"), name)
        if not text(told.get("instance_id")) and text(told.get("status")) != "loaded":
            raise BadReply("The runtime does not say that the model is loaded.", step="parse")

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        for instance in _instances((yield from self._managed(name))):
            answer = yield Ask("POST", "/api/v1/models/unload", {"instance_id": instance}, patience="long")
            if answer.status != 404:  # else it is gone already
                expect(answer)

    def _native(self) -> Steps[list[Object] | None]:
        """What v1 lists; None if there is no v1."""
        answer = yield Ask("GET", "/api/v1/models")
        if answer.status == 404:
            return None
        told = document(answer)
        return entries(told["models"]) if isinstance(told.get("models"), list) else None

    def _old(self) -> Steps[list[Object]]:
        told = document((yield Ask("GET", "/api/v0/models")))
        if not isinstance(told.get("data"), list):
            raise BadReply("This server has neither of the APIs of LM Studio.", step="parse")
        return entries(told["data"])

    def _managed(self, name: str) -> Steps[Object]:
        """The model's entry; raises ModelNotFound, and Unsupported where there is no v1."""
        found = yield from self._native()
        if found is None:
            raise _too_old()
        entry = next((one for one in found if text(one.get("key")) == checked(name)), None)
        if entry is None:
            raise unknown_model(name)
        return entry

    def _managing(self, ask: Ask, name: str) -> Steps[Object]:
        answer = yield ask
        if not answer.ok:
            error = refusal(answer, model=name)
            raise _too_old() if "Unexpected endpoint" in error.detail else error
        told = document(answer)
        if "Unexpected endpoint" in text(told.get("error")):
            raise _too_old()
        return told


def _wanted(name: str) -> dict[str, str]:
    """What the runtime downloads: a link for what is of Hugging Face, with its quantization apart."""
    url = urlsplit(name if "://" in name else f"https://{name}")
    if url.hostname not in _HUB:
        return {"model": name}
    repository, _, quantization = url.path.strip("/").partition(":")
    if repository.count("/") != 1:
        raise BadRequest(
            "LM Studio takes a whole repository of Hugging Face.",
            hint="Give it as “hf.co/user/repo”, with “:Q4_K_M” at its end for one quantization.",
            step="build",
        )
    link = {"model": f"https://huggingface.co/{repository}"}
    return {**link, "quantization": quantization} if quantization else link


def _instances(entry: Object) -> tuple[str, ...]:
    return tuple(name for one in entries(entry.get("loaded_instances")) if (name := text(one.get("id"))))


def _described(entry: Object) -> Described:
    can = members(entry.get("capabilities"))
    kind = _TYPES.get(text(entry.get("type")), "unknown")
    if kind == "llm" and can.get("vision") is True:
        kind = "vlm"
    loaded = entries(entry.get("loaded_instances"))
    context = number(members(loaded[0].get("config")).get("context_length"), MAX_TOKENS) if loaded else None
    form = text(entry.get("format"), 16)
    notes = {"instances": list(_instances(entry)), "loaded_context": context, "title": text(entry.get("display_name"))}
    return Described(
        name=text(entry.get("key")),
        type=kind,
        state="loaded" if loaded else "not loaded",
        model_types=_MODEL_TYPES.get(kind, ()),
        description=text(entry.get("description"), 2000),
        publisher=text(entry.get("publisher"), 128),
        architecture=text(entry.get("architecture"), 64),
        quantization=text(members(entry.get("quantization")).get("name"), 32),
        parameters=parameters(entry.get("params_string")),
        max_tokens=positive(entry.get("max_context_length"), MAX_TOKENS),
        size_bytes=positive(entry.get("size_bytes")),
        tooling=flag(can.get("trained_for_tool_use")),
        is_mlx=form == "mlx" if form else None,
        is_gguf=form == "gguf" if form else None,
        runtime_name="LM Studio",
        detail={key: value for key, value in notes.items() if value},
    )


def _described_by_v0(entry: Object) -> Described:
    kind = _TYPES.get(text(entry.get("type")), "unknown")
    form = text(entry.get("compatibility_type"), 16)
    return Described(
        name=text(entry.get("id")),
        type=kind,
        state={"loaded": "loaded", "not-loaded": "not loaded"}.get(text(entry.get("state")), "unknown"),
        model_types=_MODEL_TYPES.get(kind, ()),
        publisher=text(entry.get("publisher"), 128),
        architecture=text(entry.get("arch"), 64),
        quantization=text(entry.get("quantization"), 32),
        max_tokens=positive(entry.get("max_context_length"), MAX_TOKENS),
        tooling="tool_use" in texts(entry["capabilities"]) if isinstance(entry.get("capabilities"), list) else None,
        is_mlx=form == "mlx" if form else None,
        is_gguf=form == "gguf" if form else None,
        runtime_name="LM Studio",
    )


def _not_downloaded(name: str, status: str) -> ServerFailed:
    return ServerFailed(
        f"LM Studio could not download “{text(name, 100)}”.",
        hint="Its log of downloads tells why; a new attempt goes on where this one ended.",
        step="status",
        detail=status,
    )


def _too_old() -> Unsupported:
    return Unsupported(
        "This LM Studio only lists its models: it is older than 0.4.",
        hint="Update LM Studio to install, load and unload models from here.",
        step="status",
    )


DRIVER = LMStudio()
