"""The runtime that only pretends (`runtimes.mock`), which is inside this process and does everything.

Options: `install_steps`, `install_step_delay_s`, `load_steps`, `load_step_delay_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from providers.errors import BadReply, ServerFailed
from runtimes.drivers._answers import document, expect
from runtimes.drivers._json import MAX_TOKENS, Object, entries, flag, moment, number, positive, share, text
from runtimes.drivers._names import checked, segment
from runtimes.drivers._pieces import JSONLines
from runtimes.drivers.base import CAPABILITIES, Described, Driver, Presence
from runtimes.drivers.steps import NEXT, Ask, Listen, Progress, Remember, Steps, Stopped

IDLE_TIMEOUT_S = 90.0
_TYPES = {"embeddings": ("embedding",), "rerank": ("rerank",), "vlm": ("chat", "image2text"), "llm": ("chat",)}


class Mock(Driver):
    type = "mock"
    label = "Mock"
    default_urls = ("inproc://mock",)
    in_process = True
    capabilities: ClassVar = frozenset(CAPABILITIES) - {"audio"}
    loads_on_request = False
    checked_against = "the real one, which is part of this product"

    def ping(self) -> Steps[Presence]:
        said = document((yield Ask("GET", "/api/version")))
        return Presence(text(said.get("version"), 64))

    def models(self) -> Steps[list[Described]]:
        said = document((yield Ask("GET", "/api/models")))
        return [_described(entry) for entry in entries(said.get("models"))]

    def model(self, name: str) -> Steps[Described | None]:
        answer = yield Ask("GET", _path(name))
        return None if answer.status == 404 else _described(document(answer))

    def install(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        yield from _fetched("/api/install", name, options)

    def update(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        yield from _fetched("/api/update", name, options)

    def import_(
        self, name: str, path: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Steps[None]:
        expect((yield Ask("POST", "/api/import", {"model": checked(name), "path": path})))

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        yield from _listened("/api/load", {"model": name, **_pace("load", options)}, "Loading")

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        expect((yield Ask("POST", "/api/unload", {"model": name})), model=name)

    def delete(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        expect((yield Ask("DELETE", _path(name))), model=name)


def _path(name: str) -> str:
    return f"/api/models/{segment(name)}"


def _fetched(path: str, name: str, options: Mapping[str, Any]) -> Steps[None]:
    """A download, which the runtime itself goes on with from where an earlier one ended."""
    yield Remember({"model": name})
    try:
        yield from _listened(path, {"model": checked(name), **_pace("install", options)}, "Downloading")
    except Stopped:
        yield Ask("POST", "/api/cancel", {"model": name})
        raise


def _listened(path: str, body: Mapping[str, Any], doing: str) -> Steps[None]:
    expect((yield Listen("POST", path, body, patience="long", pieces=JSONLines, idle_timeout_s=IDLE_TIMEOUT_S)))
    while (said := (yield NEXT)) is not None:
        match said.get("status"):
            case "success":
                return
            case "error":
                raise ServerFailed(f"The runtime says: “{text(said.get('error'))}”", step="body")
        yield Progress(doing, number(said.get("completed")), number(said.get("total")), share(said.get("progress")))
    raise BadReply("The runtime stopped telling of it before it was done.", step="body")


def _pace(verb: str, options: Mapping[str, Any]) -> dict[str, Any]:
    named = {"steps": f"{verb}_steps", "step_delay_s": f"{verb}_step_delay_s"}
    return {name: options[option] for name, option in named.items() if option in options}


def _described(entry: Object) -> Described:
    kind = text(entry.get("type"))
    talks = kind in ("llm", "vlm")
    return Described(
        text(entry.get("name")),
        type=kind,
        state=text(entry.get("state")),
        model_types=_TYPES.get(kind, ()),
        description="A model that only pretends.",
        publisher="mock",
        architecture="mock",
        parameters=positive(entry.get("parameters")),
        max_tokens=positive(entry.get("max_tokens"), MAX_TOKENS),
        size_bytes=number(entry.get("size_bytes")),
        streaming=talks,
        instructed=talks,
        coding=flag(entry.get("coding")),
        tooling=flag(entry.get("tooling")),
        is_mlx=False,
        is_gguf=False,
        runtime_name="mock",
        file_path=text(entry.get("file_path"), 1024),
        modified_at=moment(entry.get("modified_at")),
    )


DRIVER = Mock()
