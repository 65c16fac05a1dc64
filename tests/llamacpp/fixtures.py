"""Real model servers on loopback: llama.cpp with tiny models, each behind an API key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.programs import running
from tests.live.stack import free_port


@dataclass(frozen=True)
class LlamaCpp:
    """A started server; `base_url` ends in /v1."""

    base_url: str
    model: str
    api_key: str
    pid: int


@contextmanager
def serving(folder: Path, kind: str, write: Callable[[Path], Path]) -> Iterator[LlamaCpp]:
    """A server of one kind (chat, embed, rerank) for as long as the context is open."""
    alias, api_key, port = f"tiny-{kind}", f"sk-local-{kind}-0123456789abcdef", free_port()
    model = write(folder / f"{alias}.gguf")
    log = folder / f"{alias}.log"
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tests.llamacpp.server", str(model), str(port), kind, alias, api_key]
    with running(command, healthy=f"{url}/health", log=log) as process:
        yield LlamaCpp(f"{url}/v1", alias, api_key, process.pid)


def _server(kind: str, writer: str, factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    models = pytest.importorskip("tests.llamacpp.models", exc_type=ImportError)
    with serving(factory.mktemp(f"llamacpp-{kind}"), kind, getattr(models, writer)) as server:
        yield server


@pytest.fixture(scope="session")
def llamacpp_chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    yield from _server("chat", "write_chat", tmp_path_factory)


@pytest.fixture(scope="session")
def llamacpp_embed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    yield from _server("embed", "write_embedding", tmp_path_factory)


@pytest.fixture(scope="session")
def llamacpp_rerank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    yield from _server("rerank", "write_rerank", tmp_path_factory)
