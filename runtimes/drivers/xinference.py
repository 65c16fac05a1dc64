"""Xinference. It fetches a model in order to launch it, so a model is installed by a launch that is ended again.

What runs is called by a uid, which here is the name a model is listed by. A launch of a uid that runs already would end
what runs, so it is looked for first.
Sources: https://inference.readthedocs.io/en/latest/reference/, and version 4.1.0 as it answers
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from providers.errors import BadRequest, ModelNotFound, ServerFailed
from runtimes.drivers import _openai
from runtimes.drivers._answers import document, expect, refusal, unknown_model
from runtimes.drivers._json import Object, entries, members, number, positive, share, text, texts
from runtimes.drivers._names import checked, segment
from runtimes.drivers._xinference import SPEC, described, detail_of, registration
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Answer, Ask, Pause, Progress, Remember, Steps, Stopped

LOOK_EACH_S = 1.0
MAX_READ = 100
_TYPES = ("LLM", "embedding", "rerank")  # whose registrations are models that can be called
_ENGINES = ("vLLM", "SGLang", "Transformers", "llama.cpp", "MLX")  # in this order, if there is a choice
_OPTIONS = (*SPEC, "n_gpu", "gpu_idx", "replica", "worker_ip", "download_hub", "enable_virtual_env", "request_limits")
_FORBIDDEN = (401, 403, 404, 405)  # a list that this key may not see, or that this version has not


class Xinference(Driver):
    """Options of a service or a job: those of a launch, `keep_loaded` for an installation, and what an import says
    of a model (`model_ability`, `context_length`, `model_family`, `chat_template`, `dimensions`, …)."""

    type = "xinference"
    label = "Xinference"
    docs_url = "https://inference.readthedocs.io"
    default_urls = ("http://127.0.0.1:9997",)
    api_key_env_var = "XINFERENCE_API_KEY"
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
    checked_against = "Xinference 4.1.0 with a model of llama.cpp"

    def ping(self) -> Steps[Presence]:
        """The version is for administrators' keys alone; that it answers is not."""
        yield from _openai.listed()
        answer = yield Ask("GET", "/v1/cluster/version")
        return Presence(text(document(answer).get("version"), 64) if answer.ok else "")

    def models(self) -> Steps[list[Described]]:
        present = [described(text(entry.get("id")), "loaded", entry) for entry in (yield from _openai.listed())]
        running = {one.name for one in present}
        for entry in _entries_of((yield Ask("GET", "/v1/models/instances"))):
            uid = text(entry.get("model_uid"))
            if uid and uid not in running and entry.get("status") == "CREATING":
                present.append(Described(uid, state="loading", detail={"model_name": text(entry.get("model_name"))}))
        kept = list(_unlaunched(_entries_of((yield Ask("GET", "/v1/cache/models")), "list"), present))
        taken = {one.detail.get("model_name") for one in present} | {entry.get("model_name") for _, entry in kept}
        for kind in _TYPES:
            for entry in _entries_of((yield Ask("GET", f"/v1/model_registrations/{kind}"))):
                name = text(entry.get("model_name"))
                if name and entry.get("is_builtin") is False and name not in taken:
                    kept.append((name, {"model_name": name, "model_type": kind}))
        return [*present, *(yield from _described(kept))]

    def install(self, name: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        for entry in _entries_of((yield Ask("GET", "/v1/cache/models", query={"model_name": checked(name)})), "list"):
            if all(options.get(key) in (None, entry.get(key)) for key in SPEC if key != "model_engine"):
                return
        yield Remember({"model": name})
        launched = yield from _launch(name, {}, options)
        if launched and not options.get("keep_loaded"):
            expect((yield Ask("DELETE", f"/v1/models/{segment(name)}", patience="long")))

    def import_(
        self, name: str, path: str, *, remembered: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Steps[None]:
        kind = text(options.get("model_type")) or "LLM"
        if kind not in _TYPES:
            raise BadRequest(f"A model is imported as one of: {', '.join(_TYPES)}.", step="build")
        body = {"model": json.dumps(registration(checked(name), path, kind, options)), "persist": True}
        expect((yield Ask("POST", f"/v1/model_registrations/{kind}", body, patience="long")))

    def load(self, name: str, *, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[None]:
        yield from _launch(name, detail, options)

    def unload(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        yield from _end(name)

    def delete(self, name: str, *, detail: Mapping[str, Any]) -> Steps[None]:
        """All that is kept of it, also of a model that was imported."""
        model = text(detail.get("model_name")) or name
        found = yield from _end(name)
        for version in _versions((yield Ask("GET", "/v1/cache/models", query={"model_name": model})), detail):
            found = True
            query = {"model_version": version}
            expect((yield Ask("DELETE", "/v1/cache/models", query=query, patience="long")))
        for kind in _TYPES:
            registered = _entries_of((yield Ask("GET", f"/v1/model_registrations/{kind}")))
            if any(one.get("model_name") == model and one.get("is_builtin") is False for one in registered):
                found = True
                expect((yield Ask("DELETE", f"/v1/model_registrations/{kind}/{segment(model)}")))
        if not found:
            raise unknown_model(name)
        # It says yes to a version that it does not find, too.
        if any(_versions((yield Ask("GET", "/v1/cache/models", query={"model_name": model})), detail)):
            raise ServerFailed("The runtime said that it deleted the model, and still has it.", step="status")


def _launch(name: str, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[bool]:
    """Launch it and wait until it can be called; whether it had to be launched."""
    uid = checked(name)
    before = _status(_entries_of((yield _instances(uid))), uid)
    if before.get("status") == "READY":
        return False
    try:
        if before.get("status") != "CREATING":
            body = yield from _wanted(uid, detail, options)
            expect((yield Ask("POST", "/v1/models", body, {"wait_ready": "false"}, patience="long")), model=uid)
        yield from _until_ready(uid)
    except Stopped:
        yield Ask("POST", f"/v1/models/{segment(uid)}/cancel")
        raise
    return True


def _wanted(uid: str, detail: Mapping[str, Any], options: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    """What is to be launched: as it was listed, as the operator says, and the rest as the runtime has it."""
    name = text(detail.get("model_name")) or uid
    said = {key: detail[key] for key in SPEC if detail.get(key) is not None}
    said |= {key: options[key] for key in _OPTIONS if options.get(key) is not None}
    body = {"model_uid": uid, "model_name": name, "model_type": "LLM", **said}
    if body["model_type"] == "LLM" and "model_engine" not in body:
        engines = members(expect((yield Ask("GET", f"/v1/engines/{segment(name)}")), model=name).json())
        if not engines:  # it says null of a model that it does not know
            raise unknown_model(name)
        body |= {key: value for key, value in _engine(name, engines, body).items() if key not in body}
    return body


def _engine(name: str, engines: Object, body: Mapping[str, Any]) -> dict[str, Any]:
    """The first engine that can run it, and what that runs. An engine that cannot has a reason instead of a list."""
    for engine in sorted(engines, key=lambda one: _ENGINES.index(one) if one in _ENGINES else len(_ENGINES)):
        for entry in entries(engines[engine]):
            quantizations = texts(entry.get("quantizations")) or (text(entry.get("quantization")),)
            wanted = body.get("quantization")
            keys = ("model_format", "model_size_in_billions")
            if wanted in (None, *quantizations) and all(body.get(key) in (None, entry.get(key)) for key in keys):
                chosen = {key: entry[key] for key in keys if entry.get(key) is not None}
                return {"model_engine": engine, **chosen, "quantization": quantizations[0]}
    reasons = "; ".join(f"{engine}: {text(reason, 80)}" for engine, reason in engines.items() if text(reason))
    raise BadRequest(
        f"No engine of this runtime can run “{name}”.",
        hint="Install an engine there, or choose another format, size or quantization.",
        step="status",
        detail=reasons,
    )


def _until_ready(uid: str) -> Steps[None]:
    while True:
        told = yield Ask("GET", f"/v1/models/{segment(uid)}/progress")
        if told.ok:
            yield _progress(document(told))
        instance = _status(_entries_of((yield _instances(uid))), uid)
        match instance.get("status"):
            case "READY":
                return
            case "CREATING" | "UPDATING":
                yield Pause(LOOK_EACH_S)
            case _:
                reasons = [text(one.get("error_message"), 160) for one in entries(instance.get("replica_statuses"))]
                why = next((reason for reason in reasons if reason), "The launch ended without a word.")
                kind = ModelNotFound if "not found" in why else ServerFailed
                raise kind(f"The runtime could not launch the model. It says: “{why}”", step="status", detail=why)


def _progress(told: Object) -> Progress:
    stage = text(told.get("stage"), 40).replace("_", " ").capitalize()
    files = entries(told.get("download_files"))
    done = [number(one.get("downloaded_bytes")) for one in files]
    total = [positive(one.get("total_bytes")) for one in files]
    if files and None not in done and None not in total:
        return Progress(stage, sum(filter(None, done)), sum(filter(None, total)), share(told.get("progress")))
    return Progress(stage, fraction=share(told.get("progress")))


def _end(name: str) -> Steps[bool]:
    """End what runs by this uid; whether something did."""
    answer = yield Ask("DELETE", f"/v1/models/{segment(name)}", patience="long")
    if answer.ok:
        return True
    error = refusal(answer, model=name)
    if isinstance(error, ModelNotFound):
        return False
    raise error


def _instances(uid: str) -> Ask:
    return Ask("GET", "/v1/models/instances", query={"model_uid": uid})


def _entries_of(answer: Answer, key: str = "") -> list[Object]:
    """The objects of a list, or of the list that a member is; none where it is forbidden or not there."""
    if answer.status in _FORBIDDEN:
        return []
    expect(answer)
    data = answer.json()
    return entries(members(data).get(key) if key else data)


def _status(instances: list[Object], uid: str) -> Object:
    return next((one for one in instances if one.get("model_uid") == uid), {})


def _unlaunched(cached: list[Object], present: list[Described]) -> Iterator[tuple[str, Object]]:
    """What is kept and does not run. Where several versions of a model are kept, each goes by its version's name."""
    kept: dict[str, list[Object]] = {}
    for entry in cached:
        kept.setdefault(text(entry.get("model_name")), []).append(entry)
    for name, versions in kept.items():
        for entry in versions:
            detail = detail_of(entry)
            runs = any(
                all(one.detail.get(key) in (None, detail.get(key)) for key in ("model_name", *SPEC[2:]))
                for one in present
            )
            called = name if len(versions) == 1 else text(entry.get("model_version"))
            if called and not runs:
                yield called, entry


def _described(kept: list[tuple[str, Object]]) -> Steps[list[Described]]:
    """Models that do not run, with what their registrations say of the first MAX_READ of them."""
    found = []
    for position, (called, entry) in enumerate(kept):
        more: Object = {}
        if position < MAX_READ:
            name, kind = text(entry.get("model_name")), text(entry.get("model_type")) or "LLM"
            answer = yield Ask("GET", f"/v1/model_registrations/{quote(kind, safe='')}/{quote(name, safe='')}")
            more = members(answer.json()) if answer.ok else {}
        specs = entries(more.get("model_specs"))
        found.append(described(called, "not loaded", {**(specs[0] if len(specs) == 1 else {}), **more, **entry}))
    return found


def _versions(answer: Answer, detail: Mapping[str, Any]) -> list[str]:
    """Which versions are kept of the model that `detail` tells of; all of them where it does not tell which."""
    only = text(detail.get("model_version"))
    found = [text(entry.get("model_version")) for entry in _entries_of(answer, "list")]
    return [version for version in dict.fromkeys(found) if version and only in ("", version)]


DRIVER = Xinference()
