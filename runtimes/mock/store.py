"""Which models there are, which are loaded, and how far downloads came: one small file for all processes.

Whoever reads sees the file before or after a change, never half of one; changes take their turns under a lock of the
kernel, which a killed process loses. A file that is not what was written counts as not there.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from runtimes.mock import names

FRESH_S = 10.0  # a download that wrote nothing for so long is not under way
MAX_MODELS = 1000


@dataclass(slots=True)
class Installed:
    loaded: bool = False
    modified_at: float = 0.0  # Unix time
    file_path: str = ""
    updates: int = 0


@dataclass(slots=True)
class Download:
    done_bytes: int = 0
    at: float = 0.0  # Unix time of the last bytes
    cancelled: bool = False
    failures: int = 0

    @property
    def under_way(self) -> bool:
        return not self.cancelled and time.time() - self.at < FRESH_S


@dataclass(slots=True)
class State:
    models: dict[str, Installed] = field(default_factory=dict)
    downloads: dict[str, Download] = field(default_factory=dict)


def fresh() -> State:
    """What is there at first: all that is built in, and loaded but for the largest."""
    return State({name: Installed(loaded=name != "mock-model-30B") for name in names.BUILT_IN})


class Store:
    """The state in `folder`, which is made when something is first changed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "state.json"

    def read(self) -> State:
        try:
            return _parsed(orjson.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return fresh()
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return fresh()

    @contextmanager
    def change(self) -> Iterator[State]:
        """The state, to be changed; written when the context ends without an error. Blocks while others change it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.read()
            yield state
            new = self._path.with_suffix(".new")
            new.write_bytes(orjson.dumps({"models": _plain(state.models), "downloads": _plain(state.downloads)}))
            os.replace(new, self._path)
        finally:
            os.close(lock)

    def forget(self) -> None:
        """Back to what is there at first."""
        with suppress(FileNotFoundError):
            self._path.unlink()


def _plain(rows: dict[str, Any]) -> dict[str, Any]:
    return {name: asdict(row) for name, row in rows.items()}


def _parsed(data: Any) -> State:
    models, downloads = data["models"], data["downloads"]
    return State(
        {
            str(name): Installed(
                bool(row["loaded"]), float(row["modified_at"]), str(row["file_path"]), int(row["updates"])
            )
            for name, row in models.items()
        },
        {
            str(name): Download(int(row["done_bytes"]), float(row["at"]), bool(row["cancelled"]), int(row["failures"]))
            for name, row in downloads.items()
        },
    )
