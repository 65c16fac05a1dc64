"""JSON of any shape, and JSON that is almost right, for tests of what reads it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 2**31, 2**53, 2**64, 10**40])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["", " ", "\0", "stop", "error", "text", "9" * 30, "é\u2028\U0001f600", "data:,", "{", "[]"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """The way to every value inside, itself first."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in inside:
        yield from paths(inner, (*at, name))


def put(value: Any, path: Path, new: Any) -> Any:
    """A copy with another value at that place."""
    if not path:
        return new
    result = copy.copy(value)
    result[path[0]] = put(value[path[0]], path[1:], new)
    return result


def without(value: Any, path: Path) -> Any:
    """A copy without what is at that place, which is not the whole."""
    holder: Any = value
    for name in path[:-1]:
        holder = holder[name]
    shorter = copy.copy(holder)
    del shorter[path[-1]]
    return put(value, path[:-1], shorter)


def at(value: Any, path: Path) -> Any:
    for name in path:
        value = value[name]
    return value


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """A copy in which up to three values are others, gone, doubled, in a list, or under another name."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths(value))))
        old = at(value, path)
        kinds = ["other", "list", "copied"] + (["gone"] if path else []) + (["more"] if isinstance(old, dict) else [])
        match draw(st.sampled_from(kinds)):
            case "other":
                value = put(value, path, draw(anything))
            case "list":
                value = put(value, path, [old] * draw(st.integers(0, 3)))
            case "copied":
                value = put(value, path, at(value, draw(st.sampled_from(list(paths(value))))))
            case "gone":
                value = without(value, path)
            case "more":
                value = put(value, path, {**old, draw(st.text(max_size=6)): draw(anything)})
    return value


def nested(depth: int) -> bytes:
    """The JSON of lists in lists, and of objects in objects, which Python could not write."""
    return b'{"a":' * (depth // 2) + b"[" * (depth // 2) + b"]" * (depth // 2) + b"}" * (depth // 2)
