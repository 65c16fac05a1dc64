"""What may be written on a job's row: no more than a row should hold, nothing that a database refuses, no secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from core.errors import InvalidInput

MAX_PARAMS_BYTES = 65_536
MAX_DEPTH = 20
_NAMED_AT_MOST = 20
_WITH_PASSWORD = re.compile(r"(?i)\b[a-z][a-z0-9+.\-]{1,15}://[^\s/@?#:]*:[^\s/@?#]+@")
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_-])(?:authorization|password|passwd|secret|api[_-]?key|(?:access|secret|private)[_-]?key"
    r"|(?:access|auth|bearer|hf|id|refresh)[_-]?token)$|^token$"
)
_SEEN = "Params are kept, and everybody in the tenant sees them."


def check_params(params: Mapping[str, Any]) -> None:
    """Raise InvalidInput for params from outside that are too large, too deep, not storable, or that hold a secret."""
    wrong: dict[str, list[str]] = {}
    for path, text in _faults(params, ("params",)):
        wrong.setdefault(".".join(path)[:200], []).append(text)
        if len(wrong) >= _NAMED_AT_MOST:
            break
    if not wrong and (size := len(orjson.dumps(params))) > MAX_PARAMS_BYTES:
        wrong["params"] = [f"They have {size} bytes; at most {MAX_PARAMS_BYTES} are taken."]
    if wrong:
        raise InvalidInput("These params cannot be kept with a job.", hint="`fields` says why.", fields=wrong)


def _faults(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if len(path) > MAX_DEPTH:
        yield path[:3], f"It is nested more than {MAX_DEPTH} deep."
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            here = (*path, storable(str(name)[:100]))
            if "\x00" in name:
                yield here, "Its name holds a NUL character."
            elif _SECRET_NAME.search(name) and inner not in ("", None):
                yield here, f"This is a secret by its name. {_SEEN}"
            else:
                yield from _faults(inner, here)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _faults(inner, (*path, str(index)))
    elif isinstance(value, str):
        if "\x00" in value:
            yield path, "It holds a NUL character."
        elif _WITH_PASSWORD.search(value):
            yield path, f"This URL holds a password. {_SEEN}"


def storable(value: Any) -> Any:
    """The value with what no database takes taken out of its texts: NUL characters, halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {storable(name): storable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return value
