"""What every driver declares and does. A driver knows one runtime's API; what it speaks to is given by the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from providers.errors import BadRequest
from runtimes.drivers.steps import Steps

VERBS = ("install", "import", "update", "load", "unload", "delete")

CAPABILITIES = (
    "install_model",
    "import_model",
    "update_model",
    "load_model",
    "unload_model",
    "delete_model",
    "load_model_progress",
    "load_model_cancel",
    "load_model_timeout",
    "install_progress",
    "install_cancel",
    "huggingface_models_supported",
    "ollama_models_supported",
    "inference",
    "streaming",
    "embedding",
    "rerank",
    "vision",
    "tools",
    "audio",
    "lists_installed",
    "lists_loaded",
)


@dataclass(frozen=True, slots=True)
class Presence:
    """What a look at a service found. `capabilities`: where this one differs from what its driver declares."""

    version: str = ""
    capabilities: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Described:
    """A model as a runtime tells of it; empty and None are what it does not say.

    `type` and `state` are values of `runtimes.models.ModelType` and `ModelState`. `model_types` are ours, if the
    runtime's answer decides them; else metadata and names are asked. `detail` finds it again (an instance id, …).
    """

    name: str
    type: str = "unknown"
    state: str = "unknown"
    model_types: tuple[str, ...] = ()
    description: str = ""
    publisher: str = ""
    architecture: str = ""
    quantization: str = ""
    parameters: int | None = None
    max_tokens: int | None = None
    size_bytes: int | None = None
    streaming: bool | None = None
    instructed: bool | None = None
    coding: bool | None = None
    tooling: bool | None = None
    is_mlx: bool | None = None
    is_gguf: bool | None = None
    runtime_name: str = ""
    file_path: str = ""
    modified_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


class Driver:
    """Stateless; one instance a type. Verbs that a runtime has not are refused before anything is sent.

    `remembered` is what an earlier attempt at the same work kept with `Remember`; {} for a first one.
    `options` are the operator's (`LLMService.options`).
    """

    type: ClassVar[str]
    label: ClassVar[str]
    docs_url: ClassVar[str] = ""
    default_urls: ClassVar[tuple[str, ...]] = ()
    api_key_env_var: ClassVar[str] = ""
    keyless: ClassVar[bool] = True  # works without a key
    is_local: ClassVar[bool] = True  # usually runs on a machine of one's own: looked for on its usual port
    in_process: ClassVar[bool] = False  # its URLs may be inproc://…, and its calls' policies allow that
    dialect: ClassVar[str] = "openai"
    signer: ClassVar[str] = "bearer"
    quirks: ClassVar[Mapping[str, Any]] = {}
    capabilities: ClassVar[frozenset[str]] = frozenset()
    loads_on_request: ClassVar[bool] = True  # a call for a model that is not loaded makes the runtime load it
    checked_against: ClassVar[str] = "a fake that speaks its documented API"

    def ping(self) -> Steps[Presence]:
        """Whether it answers, and what it says of itself; raises UpstreamError if it does not."""
        raise self._cannot("ping")

    def models(self) -> Steps[list[Described]]:
        """All models that it has, with their states."""
        raise self._cannot("list models")

    def model(self, name: str) -> Steps[Described | None]:
        """One of them in all detail; None if it has none of that name."""
        for one in (yield from self.models()):
            if one.name == name:
                return one
        return None

    def install(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        """Fetch a model from where the runtime gets them."""
        raise self._cannot("install models")

    def import_(
        self, name: str, path: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Steps[None]:
        """Take a model from a file or a URL that the runtime can read."""
        raise self._cannot("import models")

    def update(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        raise self._cannot("update models")

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        """Bring it into memory; comes back when it can be called."""
        raise self._cannot("load models")

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        raise self._cannot("unload models")

    def delete(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        raise self._cannot("delete models")

    def can(self, verb: str) -> bool:
        """Whether it has a verb of VERBS."""
        return f"{verb}_model" in self.capabilities

    def _cannot(self, what: str) -> BadRequest:
        return BadRequest(
            f"{self.label} cannot {what} over its API.",
            hint="Do it with the runtime's own tools; the change is seen at the next look at it.",
            step="build",
        )
