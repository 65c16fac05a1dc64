"""LocalAI. Installing and deleting are jobs of its own, asked after by an id until they are processed.

A job is unknown for a moment after it was begun, and a deletion may never be known under the id that was given out;
so a job that stays unknown is decided by the list of models.
Sources: https://localai.io/models/, https://localai.io/reference/, core/http of mudler/LocalAI
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.errors import (
    BadReply,
    BadRequest,
    GenericUpstreamError,
    ModelNotFound,
    ServerFailed,
    Unsupported,
    UpstreamError,
)
from providers.llm_types import LLMType
from runtimes.drivers._answers import document, expect, refusal, unknown_model
from runtimes.drivers._json import MAX_TOKENS, Object, entries, number, positive, share, text, texts
from runtimes.drivers._names import checked, segment
from runtimes.drivers._openai import listed, named
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Ask, Pause, Progress, Remember, Steps, Stopped

LOOK_EVERY_S = 1.0
UNKNOWN_LOOKS = 10  # how often a job may be unknown
DELETION_LOOKS = 3  # a deletion takes no time

_KINDS = (  # by what the runtime says that a model is for; the first one that fits names it
    ("embeddings", "embeddings", LLMType.EMBEDDING),
    ("rerank", "rerank", LLMType.RERANK),
    ("chat", "llm", LLMType.CHAT),
    ("completion", "llm", LLMType.CHAT),
    ("transcript", "audio", LLMType.SPEECH2TEXT),
    ("tts", "audio", LLMType.TTS),
)


class LocalAI(Driver):
    """`options` of an installation are laid over what is sent: name, variant, overrides, files, preferences."""

    type = "localai"
    label = "LocalAI"
    docs_url = "https://localai.io/models/"
    default_urls = ("http://127.0.0.1:8080",)
    api_key_env_var = "LOCALAI_API_KEY"
    capabilities = frozenset(
        {
            "install_model",
            "import_model",
            "update_model",
            "load_model",
            "unload_model",
            "delete_model",
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
        }
    )

    def ping(self) -> Steps[Presence]:
        """Raises Overloaded while it still prepares the models that it starts with."""
        answer = yield Ask("GET", "/readyz", key=False)
        if answer.status == 404:
            answer = yield Ask("GET", "/healthz", key=False)
        expect(answer)
        answer = yield Ask("GET", "/version")
        return Presence(text(document(answer).get("version"), 64) if answer.ok else "")

    def models(self) -> Steps[list[Described]]:
        answer = yield Ask("GET", "/v1/models/capabilities")
        found = named(answer) if answer.ok else (yield from listed())
        in_memory = yield from self._in_memory()
        return [_described(entry, in_memory) for entry in found]

    def install(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        """`name` is one of its galleries, “localai@phi-4”, or an address: hf://, ollama://, oci://, https://…

        Asked again, it goes on with the files that are there.
        """
        if "://" in checked(name):
            body = {key: options[key] for key in ("preferences",) if key in options}
            yield from self._work(Ask("POST", "/models/import-uri", {**body, "uri": name}), name, remembered)
        else:
            body = {key: options[key] for key in ("name", "variant", "overrides", "files") if key in options}
            yield from self._work(Ask("POST", "/models/apply", {**body, "id": name}), name, remembered)

    def update(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        yield from self.install(name, remembered=remembered, options=options)

    def import_(
        self, name: str, path: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Steps[None]:
        """From an address, or a path on the runtime's machine."""
        if not path.strip() or not path.isprintable():
            raise BadRequest(
                "There is nothing to import.",
                hint="Give an address (hf://, ollama://, oci://, https://) or a path on the runtime's machine.",
                step="build",
            )
        given = options.get("preferences")
        preferences = {**(given if isinstance(given, Mapping) else {}), "name": checked(name)}
        body = {"uri": path.strip(), "preferences": preferences}
        yield from self._work(Ask("POST", "/models/import-uri", body), name, remembered)

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        if not (yield from self._has(name)):
            raise unknown_model(name)
        yield Progress("loading")
        answer = yield Ask("POST", "/backend/load", {"model": name}, patience="long")
        if answer.status in (404, 405):
            raise Unsupported(
                "This LocalAI loads a model only when it is called.",
                hint="Update LocalAI, or simply call the model.",
                step="status",
            )
        expect(answer)

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        in_memory = yield from self._in_memory()
        if in_memory is not None and checked(name) not in in_memory:
            if not (yield from self._has(name)):
                raise unknown_model(name)
            return
        answer = yield Ask("POST", "/backend/shutdown", {"model": checked(name)}, patience="long")
        if answer.status != 404:  # else it is not loaded
            expect(answer)

    def delete(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        if not (yield from self._has(name)):
            raise unknown_model(name)
        job = _job((yield Ask("POST", f"/models/delete/{segment(name)}")))
        if (yield from self._until_processed(job, DELETION_LOOKS)):
            return
        if (yield from self._has(name)):
            raise ServerFailed("The runtime did not delete the model.", hint="Look at its log.", step="status")

    def _has(self, name: str) -> Steps[bool]:
        return checked(name) in {text(entry.get("id")) for entry in (yield from listed())}

    def _in_memory(self) -> Steps[frozenset[str] | None]:
        """The names of what is loaded; None if it does not tell, as to keys that are not an administrator's."""
        answer = yield Ask("GET", "/system")
        if not answer.ok:
            return None
        return frozenset(text(one.get("id")) for one in entries(document(answer).get("loaded_models")))

    def _work(self, ask: Ask, name: str, remembered: Mapping[str, Any]) -> Steps[None]:
        """Begin a job, or go on watching the one that an earlier attempt began; called off with ours."""
        job = text(remembered.get("job"))
        try:
            if job and (yield from self._went_on(job)):
                return
            job = _job((yield ask))
            yield Remember({"job": job})
            if not (yield from self._until_processed(job)) and not (yield from self._has(name.rpartition("@")[2])):
                raise ServerFailed(
                    "The runtime does not know the job any more, and the model is not there.",
                    hint="It may have been restarted; try again: it goes on with the files that have come.",
                    step="status",
                )
        except Stopped:
            if job:
                yield Ask("POST", f"/api/operations/{segment(job)}/cancel")
            raise

    def _went_on(self, job: str) -> Steps[bool]:
        """Whether a job of an earlier attempt comes to a good end; how it failed does not matter any more."""
        try:
            return (yield from self._until_processed(job, looks=1))
        except UpstreamError:
            return False

    def _until_processed(self, job: str, looks: int = UNKNOWN_LOOKS) -> Steps[bool]:
        """Watch a job to its end; False if the runtime does not know it. Raises UpstreamError if it failed."""
        unknown = 0
        while unknown < looks:
            answer = yield Ask("GET", f"/models/jobs/{segment(job)}")
            if not answer.ok:
                error = refusal(answer)
                if answer.status not in (404, 500):
                    raise error
                unknown += 1
                if unknown < looks:
                    yield Pause(LOOK_EVERY_S)
                continue
            unknown = 0
            told = document(answer)
            _raise_failure(told)
            if told.get("processed") is True:
                return True
            yield _progress(told)
            yield Pause(LOOK_EVERY_S)
        return False


def _job(answer: Any) -> str:
    job = text(document(answer).get("uuid"), 100)
    if not job:
        raise BadReply("The runtime does not say under which id it works.", step="parse")
    return job


def _raise_failure(told: Object) -> None:
    """Older versions write every error as an empty object, and say what it is in the message."""
    if told.get("cancelled") is True:
        raise GenericUpstreamError(
            "The job was cancelled at the runtime.", hint="Begin it again if the model is wanted.", step="status"
        )
    error = told.get("error")
    if error is None or error == "":
        return
    said = text(error, 300) or text(told.get("message"), 300)
    raise _failed(said)


def _failed(said: str) -> UpstreamError:
    if "no model found" in said:
        return ModelNotFound(
            f"No gallery of the runtime has this model. It says: “{said}”",
            hint="Look at its galleries for the name; write “gallery@name”, or the address of a model.",
            step="status",
            detail=said,
        )
    return ServerFailed(
        f"The runtime's job failed. It says: “{said}”" if said else "The runtime's job failed.",
        hint="Look at its log. What has come is kept: a new attempt goes on from there.",
        step="status",
        detail=said,
    )


def _progress(told: Object) -> Progress:
    message = text(told.get("phase"), 64) or text(told.get("message"), 200)
    done, total = number(told.get("current_bytes")), positive(told.get("total_bytes"))
    if total is not None:
        return Progress(message, min(done or 0, total), total)
    percent = told.get("progress")
    return Progress(message, fraction=share(percent / 100) if isinstance(percent, int | float) else None)


def _described(entry: Object, in_memory: frozenset[str] | None) -> Described:
    name = text(entry.get("id"))
    can = texts(entry.get("capabilities")) if isinstance(entry.get("capabilities"), list) else None
    kinds = [(kind, ours) for word, kind, ours in _KINDS if word in (can or ())]
    types = list(dict.fromkeys(ours for _, ours in kinds))
    sees = "vision" in (can or ()) and LLMType.CHAT in types
    if sees:
        types.insert(types.index(LLMType.CHAT) + 1, LLMType.IMAGE2TEXT)
    return Described(
        name=name,
        type="vlm" if sees and kinds[0][0] == "llm" else kinds[0][0] if kinds else "unknown",
        state="unknown" if in_memory is None else "loaded" if name in in_memory else "not loaded",
        model_types=tuple(types),
        max_tokens=positive(entry.get("context_size"), MAX_TOKENS),
        streaming=None if can is None else "chat" in can or "completion" in can,
        runtime_name="LocalAI",
    )


DRIVER = LocalAI()
