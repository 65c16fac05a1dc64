"""GPUStack: models are deployments with so many replicas; none is a model that is not loaded.

A key for inference alone sees what is ready and no more. Names are those of deployments, and an installation makes one.
Sources: https://docs.gpustack.ai/latest/, and its schemas at version 2.2
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from providers.errors import BadReply, BadRequest, ServerFailed
from providers.llm_types import LLMType
from runtimes.drivers import _openai
from runtimes.drivers._answers import document, expect, unknown_model
from runtimes.drivers._json import MAX_TOKENS, Object, entries, members, moment, number, positive, share, text, texts
from runtimes.drivers._names import checked
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Ask, Pause, Progress, Remember, Steps, Stopped

LOOK_EACH_S = 2.0
PAGE, MAX_PAGES = 100, 20
_NOT_ITS_OWN = ("id", "created_at", "updated_at", "ready_replicas")  # of a deployment, not of what may be changed
_OPTIONS = (
    "categories",
    "backend",
    "backend_version",
    "backend_parameters",
    "replicas",
    "worker_selector",
    "cluster_id",
)
_KINDS = {
    "llm": ("llm", LLMType.CHAT),
    "embedding": ("embeddings", LLMType.EMBEDDING),
    "reranker": ("rerank", LLMType.RERANK),
    "speech_to_text": ("audio", LLMType.SPEECH2TEXT),
    "text_to_speech": ("audio", LLMType.TTS),
}


class GPUStack(Driver):
    """Installed by “org/repo” or “org/repo:file” of Hugging Face; the option `name` is that of the deployment."""

    type = "gpustack"
    label = "GPUStack"
    docs_url = "https://docs.gpustack.ai"
    default_urls = ("http://127.0.0.1:80",)
    api_key_env_var = "GPUSTACK_API_KEY"
    keyless = False
    capabilities: ClassVar = frozenset(
        {
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
        expect((yield Ask("GET", "/healthz", key=False)))
        yield from _openai.listed()
        version = yield Ask("GET", "/version")
        return Presence(text(document(version).get("version"), 64) if version.ok else "")

    def models(self) -> Steps[list[Described]]:
        deployed = yield from _deployments()
        if deployed is not None:
            return [_described(entry) for entry in deployed]
        return [Described(text(entry.get("id")), state="loaded") for entry in (yield from _openai.listed())]

    def install(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        repository, _, file = checked(name).partition(":")
        source = {"source": "huggingface", "huggingface_repo_id": repository}
        called = text(options.get("name")) or repository.rpartition("/")[2]
        yield from _deployed(called, source | ({"huggingface_filename": file} if file else {}), remembered, options)

    def import_(
        self, name: str, path: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Steps[None]:
        source = {"source": "local_path", "local_path": path}
        yield from _deployed(checked(name), source, remembered, options)

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        found = yield from _found(name)
        if not number(found.get("replicas")):
            yield from _scaled(found, positive(options.get("replicas")) or 1)
        try:
            yield from _until_ready(found["id"])
        except Stopped:
            yield from _scaled(found, 0)
            raise

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        found = yield from _found(name)
        if found.get("replicas") != 0:
            yield from _scaled(found, 0)

    def delete(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        found = yield from _found(name)
        expect((yield Ask("DELETE", f"/v2/models/{found['id']}", patience="long")), model=name)


def _deployments() -> Steps[list[Object] | None]:
    """All of them; None if the key is for inference alone."""
    found: list[Object] = []
    for page in range(1, MAX_PAGES + 1):
        answer = yield Ask("GET", "/v2/models", query={"page": str(page), "perPage": str(PAGE)})
        if answer.status in (401, 403):
            return None
        said = document(answer)
        if not isinstance(said.get("items"), list):
            raise BadReply("The answer is not a list of deployments.", step="parse")
        found += [entry for entry in entries(said["items"]) if text(entry.get("name")) and number(entry.get("id"))]
        if page >= (number(members(said.get("pagination")).get("totalPage")) or 0):
            break
    return found


def _found(name: str) -> Steps[Object]:
    """The deployment of this name."""
    deployed = yield from _deployments()
    if deployed is None:
        raise BadRequest(
            "This key may call models, and not manage them.",
            hint="Give the service a key whose scope is management.",
            step="status",
        )
    for entry in deployed:
        if entry.get("name") == checked(name):
            return entry
    raise unknown_model(name)


def _deployed(
    name: str, source: Mapping[str, Any], remembered: Mapping[str, Any], options: Mapping[str, Any]
) -> Steps[None]:
    """Deploy a model, and wait until it runs. Called off, it is taken away again."""
    id = number(remembered.get("id"))
    if id is None:
        wanted = {key: options[key] for key in _OPTIONS if options.get(key) is not None}
        made = document((yield Ask("POST", "/v2/models", {"name": name, "replicas": 1, **source, **wanted})))
        id = number(made.get("id"))
        if id is None:
            raise BadReply("The runtime does not say which deployment it made.", step="parse")
        yield Remember({"id": id})
    try:
        yield from _until_ready(id)
    except Stopped:
        yield Ask("DELETE", f"/v2/models/{id}")
        raise


def _scaled(found: Object, replicas: int) -> Steps[None]:
    """A deployment is changed as a whole, so all of it is sent back."""
    same = {key: value for key, value in found.items() if key not in _NOT_ITS_OWN}
    expect((yield Ask("PUT", f"/v2/models/{found['id']}", {**same, "replicas": replicas}, patience="long")))


def _until_ready(id: int) -> Steps[None]:
    while True:
        instances = entries(document((yield Ask("GET", f"/v2/models/{id}/instances"))).get("items"))
        states = {text(one.get("state")) for one in instances}
        if "running" in states:
            return
        if states == {"error"}:
            reasons = [text(one.get("state_message"), 200) for one in instances]
            why = next((reason for reason in reasons if reason), "It does not say why.")
            raise ServerFailed(f"The runtime could not start the model. It says: “{why}”", step="status", detail=why)
        stage = next((one for one in ("downloading", "starting", *sorted(states)) if one in states), "waiting")
        percents = [
            one["download_progress"] for one in instances if isinstance(one.get("download_progress"), int | float)
        ]
        yield Progress(stage.capitalize(), fraction=share(max(percents) / 100) if percents else None)
        yield Pause(LOOK_EACH_S)


def _described(entry: Object) -> Described:
    categories, meta = texts(entry.get("categories")), members(entry.get("meta"))
    kinds = [_KINDS[one] for one in categories if one in _KINDS]
    types = tuple(str(ours) for _, ours in kinds)
    ready, wanted = number(entry.get("ready_replicas")), number(entry.get("replicas"))
    repository = text(entry.get("huggingface_repo_id")) or text(entry.get("model_scope_model_id"))
    sees = meta.get("support_vision") is True
    type = kinds[0][0] if kinds else "unknown"
    return Described(
        text(entry.get("name")),
        type="vlm" if type == "llm" and sees else type,
        state="loaded" if ready else "loading" if wanted else "not loaded",
        model_types=(*types, str(LLMType.IMAGE2TEXT)) if sees and types else types,
        description=text(entry.get("description"), 1000),
        publisher=repository.partition("/")[0][:128] if "/" in repository else "",
        parameters=positive(meta.get("n_params")),
        max_tokens=positive(meta.get("n_ctx"), MAX_TOKENS) or positive(meta.get("max_model_len"), MAX_TOKENS),
        size_bytes=positive(meta.get("size")),
        tooling=meta.get("support_tool_calls") if isinstance(meta.get("support_tool_calls"), bool) else None,
        is_gguf=text(entry.get("huggingface_filename")).lower().endswith(".gguf") or None,
        runtime_name=text(entry.get("backend"), 64),
        file_path=text(entry.get("local_path"), 1024),
        modified_at=moment(entry.get("updated_at")),
    )


DRIVER = GPUStack()
