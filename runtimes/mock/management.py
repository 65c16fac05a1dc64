"""What is installed and loaded, and the verbs that change it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

from providers.inprocess import InProcessAnswer
from runtimes.mock import names
from runtimes.mock.replies import Refused, json_answer, lines
from runtimes.mock.store import MAX_MODELS, Download, Installed, Store

INSTALL_STEPS, INSTALL_STEP_DELAY_S = 10, 0.2
LOAD_STEPS, LOAD_STEP_DELAY_S = 4, 0.05
SLOWER = 10
MAX_STEPS, MAX_STEP_DELAY_S = 10_000, 60.0


def listed(store: Store) -> list[dict[str, Any]]:
    """All models that are installed or being downloaded, by name."""
    state = store.read()
    found = {name: _described(name, "loaded" if it.loaded else "not loaded", it) for name, it in state.models.items()}
    for name, download in state.downloads.items():
        if name not in found and download.under_way:
            found[name] = _described(name, "downloading", Installed(modified_at=download.at))
    return [found[name] for name in sorted(found)]


def _described(name: str, state: str, it: Installed) -> dict[str, Any]:
    modified = datetime.fromtimestamp(it.modified_at, UTC).isoformat() if it.modified_at else None
    return {
        "name": name,
        "state": state,
        "size_bytes": names.size_bytes(name),
        "modified_at": modified,
        "file_path": it.file_path,
        "updates": it.updates,
        **names.kind_of(name).as_json(),
    }


async def install(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    if names.shows(name, "missing"):
        raise Refused.unknown(name)
    state = store.read()
    if name in state.models:
        return lines(_already())
    if len(state.models) + len(state.downloads) >= MAX_MODELS:
        raise Refused(507, "full", f"There is room for {MAX_MODELS} models.")
    return lines(_download(store, name, *_pace(name, body, INSTALL_STEPS, INSTALL_STEP_DELAY_S)))


async def update(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    _known(store, name)
    return lines(_download(store, name, *_pace(name, body, INSTALL_STEPS, INSTALL_STEP_DELAY_S)))


async def cancel(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    def change() -> bool:
        with store.change() as state:
            download = state.downloads.get(name)
            if download is not None:
                download.cancelled = True
            return download is not None

    return json_answer({"cancelled": await asyncio.to_thread(change)})


async def import_(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    """The file is not looked at: no path of this machine is anybody's to ask about."""
    path = body.get("path")
    if not isinstance(path, str) or not path or len(path) > 1024:
        raise Refused(400, "path_missing", "A “path” is needed.")
    if names.shows(path, "missing"):
        raise Refused(404, "file_not_found", f"There is no file {path}.")
    await asyncio.to_thread(_put, store, name, path)
    return json_answer({"status": "success"})


async def load(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    if _known(store, name).loaded:
        return lines(_already())
    if names.shows(name, "unloadable"):
        raise Refused(500, "load_failed", f"The model “{name}” does not fit into memory.")
    return lines(_load(store, name, *_pace(name, body, LOAD_STEPS, LOAD_STEP_DELAY_S)))


async def unload(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    _known(store, name)
    await asyncio.to_thread(_set_loaded, store, name, False)
    return json_answer({"status": "success"})


async def delete(store: Store, name: str, body: Mapping[str, Any]) -> InProcessAnswer:
    def change() -> bool:
        with store.change() as state:
            gone = state.downloads.pop(name, None)
            return state.models.pop(name, None) is not None or gone is not None

    if not await asyncio.to_thread(change):
        raise Refused.unknown(name)
    return json_answer({"status": "success"})


async def _already() -> AsyncIterator[dict[str, Any]]:
    yield {"status": "success"}


async def _download(store: Store, name: str, steps: int, delay_s: float) -> AsyncIterator[dict[str, Any]]:
    total = names.size_bytes(name)
    step = max(total // steps, 1)
    download = await asyncio.to_thread(_begin, store, name)
    yield {"status": "downloading", "completed": download.done_bytes, "total": total}
    while download.done_bytes < total:
        await asyncio.sleep(delay_s)
        if download.done_bytes * 2 >= total:
            await _fail_half_way(store, name, download)
        download = await asyncio.to_thread(_advance, store, name, step, total)
        if download.cancelled:
            yield {"status": "error", "error": "The download was cancelled."}
            return
        yield {"status": "downloading", "completed": download.done_bytes, "total": total}
    await asyncio.to_thread(_put, store, name, "")
    yield {"status": "success", "completed": total, "total": total}


async def _fail_half_way(store: Store, name: str, download: Download) -> None:
    if names.shows(name, "stalling"):
        await asyncio.Event().wait()
    if names.shows(name, "failing"):
        raise ConnectionAbortedError(f"{name} fails")
    if names.shows(name, "flaky") and not download.failures:
        await asyncio.to_thread(_note_failure, store, name)
        raise ConnectionResetError(f"{name} is flaky")


async def _load(store: Store, name: str, steps: int, delay_s: float) -> AsyncIterator[dict[str, Any]]:
    for done in range(steps):
        yield {"status": "loading", "progress": done / steps}
        await asyncio.sleep(delay_s)
    if await asyncio.to_thread(_set_loaded, store, name, True):
        yield {"status": "success", "progress": 1.0}
    else:
        yield {"status": "error", "error": f"The model “{name}” was deleted meanwhile."}


def _begin(store: Store, name: str) -> Download:
    with store.change() as state:
        download = state.downloads.setdefault(name, Download())
        download.at, download.cancelled = time.time(), False
        return download


def _advance(store: Store, name: str, step: int, total: int) -> Download:
    """A step on, for all that wait for this download; gone or cancelled meanwhile, it stays so."""
    with store.change() as state:
        download = state.downloads.get(name)
        if download is None:
            return Download(total if name in state.models else 0, cancelled=name not in state.models)
        if not download.cancelled:
            download.done_bytes, download.at = min(download.done_bytes + step, total), time.time()
        return download


def _note_failure(store: Store, name: str) -> None:
    with store.change() as state:
        state.downloads.setdefault(name, Download()).failures += 1


def _put(store: Store, name: str, file_path: str) -> None:
    with store.change() as state:
        state.downloads.pop(name, None)
        before = state.models.get(name)
        if before is None:
            state.models[name] = Installed(False, time.time(), file_path)
        else:
            before.modified_at, before.updates = time.time(), before.updates + 1
            before.file_path = file_path or before.file_path


def _set_loaded(store: Store, name: str, loaded: bool) -> bool:
    with store.change() as state:
        if (model := state.models.get(name)) is None:
            return False
        model.loaded = loaded
        return True


def _known(store: Store, name: str) -> Installed:
    model = store.read().models.get(name)
    if model is None:
        raise Refused.unknown(name)
    return model


def _pace(name: str, body: Mapping[str, Any], usual_steps: int, usual_delay_s: float) -> tuple[int, float]:
    """In how many steps, and how long each takes, in seconds."""
    steps, delay_s = body.get("steps", usual_steps), body.get("step_delay_s", usual_delay_s)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 < steps <= MAX_STEPS:
        raise Refused(400, "bad_steps", f"“steps” is a number from 1 to {MAX_STEPS}.")
    if isinstance(delay_s, bool) or not isinstance(delay_s, int | float) or not 0 <= delay_s <= MAX_STEP_DELAY_S:
        raise Refused(400, "bad_step_delay", f"“step_delay_s” is a number from 0 to {MAX_STEP_DELAY_S:g}.")
    return steps, delay_s * (SLOWER if names.shows(name, "slow") else 1)
