"""A real llama-server in router mode: the binary that LLAMA_SERVER names, or the one on the path, if there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.programs import running
from tests.live.stack import free_port

BINARY = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server") or ""


@dataclass(frozen=True)
class Router:
    url: str
    key: str
    models: Path
    log: Path


@contextmanager
def routing(folder: Path, hub_url: str) -> Iterator[Router]:
    """A router over the models of a folder, which fetches others from a hub on loopback."""
    models, cache, log = folder / "models", folder / "cache", folder / "router.log"
    port, key = free_port(), "sk-router-0123"
    models.mkdir()
    cache.mkdir()
    environment = {**os.environ, "MODEL_ENDPOINT": hub_url, "LLAMA_CACHE": str(cache), "HOME": str(folder)}
    url = f"http://127.0.0.1:{port}"
    command = [
        BINARY,
        *("--host", "127.0.0.1", "--port", str(port), "--models-dir", str(models), "--models-max", "2"),
        *("--api-key", key, "-c", "512", "-t", "1", "--no-warmup"),
    ]
    with running(command, healthy=f"{url}/health", log=log, env=environment):
        yield Router(url, key, models, log)
