"""Ollama. Pulls are streams of JSON lines; closing one cancels it, and pulling again goes on where it was.

Sources: https://docs.ollama.com/api, https://huggingface.co/docs/hub/ollama
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from providers.dialects.bodies import read_problem, words
from providers.dialects.failures import classify_body
from providers.errors import (
    BadReply,
    BadRequest,
    GenericUpstreamError,
    ServerFailed,
    TimedOut,
    Unreachable,
    UpstreamError,
)
from providers.llm_types import LLMType
from runtimes.drivers._answers import document, expect, refusal, still_in_memory
from runtimes.drivers._json import (
    MAX_TOKENS,
    Object,
    entries,
    members,
    moment,
    number,
    parameters,
    positive,
    text,
    texts,
)
from runtimes.drivers._names import MAX_NAME, checked
from runtimes.drivers._pieces import JSONLines
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import NEXT, Ask, Listen, Pause, Progress, Steps

PULL_IDLE_S = 600.0  # the digest of a large file is checked without a word
GONE_WITHIN = 40  # looks, each after GONE_PAUSE_S
GONE_PAUSE_S = 0.25

_KINDS = {"completion": LLMType.CHAT, "vision": LLMType.IMAGE2TEXT, "embedding": LLMType.EMBEDDING}
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_HUB = ("huggingface.co", "hf.co")
_CREATED_WITH = ("template", "system", "parameters", "quantize", "license")
_LOOKS_LIKE_A_FILE = re.compile(r"[/\\~.]|[A-Za-z]:[\\/]|file:", re.I)


class Ollama(Driver):
    """A name without a tag means “:latest”, which is what the runtime's list then has."""

    type = "ollama"
    label = "Ollama"
    docs_url = "https://docs.ollama.com/api"
    default_urls = ("http://127.0.0.1:11434",)
    api_key_env_var = "OLLAMA_API_KEY"
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
            "vision",
            "tools",
            "lists_installed",
            "lists_loaded",
        }
    )

    def ping(self) -> Steps[Presence]:
        told = document((yield Ask("GET", "/api/version")))
        return Presence(version=text(told.get("version"), 64))

    def models(self) -> Steps[list[Described]]:
        installed = entries(document((yield Ask("GET", "/api/tags"))).get("models"))
        running = yield from self._running()
        found = []
        for entry in installed:
            name = _name(entry)
            shown: Object = {}
            if name and "capabilities" not in entry:
                shown = (yield from self._shown(name)) or {}
            if name:
                found.append(_described(name, entry, shown, running))
        return found

    def model(self, name: str) -> Steps[Described | None]:
        wanted = tagged(name).casefold()
        installed = entries(document((yield Ask("GET", "/api/tags"))).get("models"))
        entry = next((one for one in installed if _name(one).casefold() == wanted), None)
        if entry is None:
            return None
        running = yield from self._running()
        shown = (yield from self._shown(_name(entry))) or {}
        return _described(_name(entry), entry, shown, running)

    def install(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        body: dict[str, Any] = {"model": checked(name), "stream": True}
        if options.get("insecure") is True:
            body["insecure"] = True
        yield from self._follow("/api/pull", body)

    def update(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        yield from self.install(name, remembered=remembered, options=options)

    def import_(
        self, name: str, path: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Steps[None]:
        """From a model of the runtime's or of Hugging Face, or from a file that was given to it as a blob.

        `path` is the name of a model, an address at huggingface.co, or the blob's digest, “sha256:…”.
        `options`: template, system, parameters, quantize, license, as the runtime takes them.
        """
        body: dict[str, Any] = {"model": checked(name), "stream": True}
        body |= {key: options[key] for key in _CREATED_WITH if key in options}
        if digest := _DIGEST.fullmatch(path.strip()):
            blob = f"sha256:{digest[1]}"
            if (yield Ask("HEAD", f"/api/blobs/{blob}")).status == 404:
                raise BadRequest(
                    "The runtime has no file with this digest.",
                    hint=f"Send it there first: curl -T model.gguf -X POST …/api/blobs/{blob}",
                    step="build",
                )
            body["files"] = {"model.gguf": blob}
        else:
            body["from"] = _source(path)
        yield from self._follow("/api/create", body)

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        """`options`: keep_alive, such as "30m", seconds, or -1 for as long as the runtime runs."""
        if detail.get("remote_model"):
            return
        yield Progress("loading")
        body: dict[str, Any] = {"model": checked(name)}
        if isinstance(keep := options.get("keep_alive"), str | int | float) and not isinstance(keep, bool):
            body["keep_alive"] = keep
        if not detail.get("embeds_only"):
            answer = yield Ask("POST", "/api/generate", {**body, "stream": False}, patience="long")
            if not _generates_not(answer.status, answer.body):
                document(answer, model=name)
                return
        document((yield Ask("POST", "/api/embed", {**body, "input": ""}, patience="long")), model=name)

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        if detail.get("remote_model"):
            raise BadRequest(
                "This model runs in Ollama's cloud; there is nothing to unload.",
                hint="Delete it if it is not to be used from here.",
                step="build",
            )
        body = {"model": checked(name), "keep_alive": 0}
        answer = yield Ask("POST", "/api/generate", {**body, "stream": False})
        if _generates_not(answer.status, answer.body):
            answer = yield Ask("POST", "/api/embed", {**body, "input": ""})
        document(answer, model=name)
        for _ in range(GONE_WITHIN):
            running = yield from self._running()
            if running is None or tagged(name).casefold() not in running:
                return
            yield Pause(GONE_PAUSE_S)
        raise still_in_memory()

    def delete(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        expect((yield Ask("DELETE", "/api/delete", {"model": checked(name)})), model=name)

    def _running(self) -> Steps[dict[str, Object] | None]:
        """What is in memory, by name in lower case; None if the runtime is too old to say."""
        answer = yield Ask("GET", "/api/ps")
        if answer.status == 404:
            return None
        return {_name(entry).casefold(): entry for entry in entries(document(answer).get("models"))}

    def _shown(self, name: str) -> Steps[Object | None]:
        """What it says of one model; None if it cannot: it may have been deleted meanwhile."""
        answer = yield Ask("POST", "/api/show", {"model": name})
        return document(answer) if answer.ok else None

    def _follow(self, path: str, body: Mapping[str, Any]) -> Steps[None]:
        """Read the lines of a pull or a creation to their end; raises UpstreamError unless the last says success."""
        answer = yield Listen("POST", path, body, patience="long", pieces=JSONLines, idle_timeout_s=PULL_IDLE_S)
        if not answer.ok:
            raise _failed(refusal(answer, model=str(body["model"])))
        layers: dict[str, tuple[int, int]] = {}
        status = ""
        while (line := (yield from _next_line(status))) is not None:
            if line.get("error"):
                raise _failed(classify_body(200, _as_json(line["error"])))
            status = text(line.get("status"), 200)
            if digest := text(line.get("digest")):
                done, total = layers.get(digest, (0, 0))
                total = max(total, number(line.get("total")) or 0)
                layers[digest] = (min(max(done, number(line.get("completed")) or 0), total), total)
            done_bytes, total_bytes = (
                (sum(column) for column in zip(*layers.values(), strict=True)) if layers else (0, 0)
            )
            yield Progress(status, *((done_bytes, total_bytes) if total_bytes else ()))
        if status != "success":
            raise _broken_off(status)


def tagged(name: str) -> str:
    """The name with its tag, as the runtime's list has it."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _name(entry: Object) -> str:
    name = text(entry.get("name")) or text(entry.get("model"))
    name = tagged(name) if name else ""
    return name if len(name) <= MAX_NAME else ""


def _described(name: str, entry: Object, shown: Object, running: Mapping[str, Object] | None) -> Described:
    details = {**members(entry.get("details")), **{k: v for k, v in members(shown.get("details")).items() if v}}
    info = members(shown.get("model_info"))
    architecture = text(info.get("general.architecture") or details.get("family"), 64)
    said = shown if "capabilities" in shown else entry
    can = texts(said.get("capabilities")) if isinstance(said.get("capabilities"), list) else None
    remote = text(entry.get("remote_model")) or text(shown.get("remote_model"))
    in_memory = running.get(name.casefold()) if running is not None else None
    state = "unknown" if running is None else "not loaded" if in_memory is None else "loaded"
    notes = {
        "remote_model": remote,
        "remote_host": text(entry.get("remote_host")) or text(shown.get("remote_host")),
        "embeds_only": bool(can) and "embedding" in (can or ()) and "completion" not in (can or ()),
        "digest": text(entry.get("digest"), 80),
        "loaded_context": number((in_memory or {}).get("context_length"), MAX_TOKENS),
    }
    return Described(
        name=name,
        type=_type(can),
        state="loaded" if remote else state,
        model_types=tuple(kind for word, kind in _KINDS.items() if word in (can or ())),
        architecture=architecture,
        quantization=_known(details.get("quantization_level"), 32),
        parameters=positive(info.get("general.parameter_count")) or parameters(details.get("parameter_size")),
        max_tokens=positive(info.get(f"{architecture}.context_length"), MAX_TOKENS)
        or positive(details.get("context_length"), MAX_TOKENS),
        size_bytes=None if remote else positive(entry.get("size")),
        streaming=None if can is None else "completion" in can,
        tooling=None if can is None else "tools" in can,
        is_gguf=text(details.get("format")).casefold() == "gguf" if text(details.get("format")) else None,
        runtime_name="Ollama cloud" if remote else "Ollama",
        modified_at=moment(entry.get("modified_at")),
        detail={key: value for key, value in notes.items() if value},
    )


def _type(can: tuple[str, ...] | None) -> str:
    if can and "completion" in can:
        return "vlm" if "vision" in can else "llm"
    return "embeddings" if can and "embedding" in can else "unknown"


def _known(value: Any, limit: int) -> str:
    said = text(value, limit)
    return "" if said.casefold() == "unknown" else said


def _source(path: str) -> str:
    """The name of a model to begin from; raises BadRequest for a path, which only the runtime's own machine has."""
    url = urlsplit(path.strip())
    if url.scheme == "ollama":
        return checked(path.strip().partition("://")[2])
    if url.scheme in ("http", "https") and (url.hostname or "").removeprefix("www.") in _HUB:
        owner, _, rest = unquote(url.path).strip("/").partition("/")
        repository, _, below = rest.partition("/")
        file = below.rpartition("/")[2] if below.startswith(("resolve/", "blob/")) else ""
        if owner and repository:
            return checked(f"hf.co/{owner}/{repository}{f':{file}' if file else ''}")
    if url.scheme in ("http", "https") or _LOOKS_LIKE_A_FILE.match(path.strip()) or not path.strip():
        raise BadRequest(
            "Ollama takes a model from here only by name, from huggingface.co, or as a file that was sent to it.",
            hint="Give a model's name, an address at huggingface.co, or the digest “sha256:…” of a blob that it has.",
            step="build",
        )
    return checked(path.strip())


def _generates_not(status: int, body: bytes) -> bool:
    """Whether it refuses to generate because the model only embeds."""
    return status == 400 and "does not support" in read_problem(body).message


def _next_line(status: str) -> Steps[Object | None]:
    """The next line. A connection that breaks or falls silent is worth another try, which goes on where this was."""
    try:
        line: Object | None = yield NEXT
    except (BadReply, TimedOut) as error:
        raise (_broken_off(status) if error.step == "body" else error) from None
    return line


def _broken_off(status: str) -> Unreachable:
    return Unreachable(
        "The runtime ended its answer before it was done.",
        hint="Try again: what has come is kept, and it goes on from there.",
        step="body",
        detail=status,
    )


def _failed(error: UpstreamError) -> UpstreamError:
    """What it says in a line has no status: what is not clear is worth another try, but not on a disk that is full."""
    if "no space left" in error.detail.casefold():
        return GenericUpstreamError(
            f"The disk of the runtime is full. It says: “{words(error.detail)}”",
            hint="Free some space on its machine, or delete models that are not used, and install again.",
            step="status",
            detail=error.detail,
        )
    if type(error) is GenericUpstreamError:
        return ServerFailed(error.message, hint=error.hint, step="status", detail=error.detail)
    return error


def _as_json(said: Any) -> bytes:
    return orjson.dumps({"error": said})


DRIVER = Ollama()
