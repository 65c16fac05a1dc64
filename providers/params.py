"""What happens to a request's parameters on their way to an upstream, declared as data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.quirk_values import a_list, a_map, a_text, anything, bounds, members, names

# What makes up a request is never dropped, whatever a list of allowed parameters says.
_ESSENTIAL = frozenset(
    {"model", "messages", "stream", "stream_options", "tools", "input", "input_type", "query", "documents", "top_n"}
    | {"file", "filename", "media_type", "voice"}
)


@dataclass(frozen=True, slots=True)
class Params:
    """In this order; everything but `rename` uses the names that are sent.

    rename     {"max_completion_tokens": "max_tokens"}  unless the new name is given, too
    allow      ["temperature"]                          nothing else is sent, besides what makes up the request
    drop       ["seed"]                                 what the upstream refuses
    one_of     [["temperature", "top_p"]]               of each list the first that is given, since both are refused
    default    {"temperature": 0.3}                     where it is not given
    unstreamed {"enable_thinking": false}               defaults of calls that do not stream
    bounds     {"temperature": [0, 1]}                  numbers beyond are moved to the nearer end
    """

    allow: frozenset[str] = frozenset()
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    one_of: tuple[tuple[str, ...], ...] = ()
    default: Mapping[str, Any] = field(default_factory=dict)
    unstreamed: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    @classmethod
    def read(cls, value: Any, path: str) -> Params:
        """Check JSON data; raises ValueError that begins with the path of what is wrong."""
        return cls(**members(value, path, _FIELDS))

    def apply(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(payload)
        for old, new in self.rename.items():
            if old in result:
                value = result.pop(old)
                if result.get(new) is None:  # null says nothing
                    result[new] = value
        for name in list(result):
            if name in self.drop or (self.allow and name not in self.allow and name not in _ESSENTIAL):
                del result[name]
        for group in self.one_of:
            for name in [name for name in group if result.get(name) is not None][1:]:
                del result[name]
        for name, value in (self.default if result.get("stream") else {**self.default, **self.unstreamed}).items():
            if name not in result:
                result[name] = copy.deepcopy(value)
        for name, (low, high) in self.bounds.items():
            value = result.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                value = value if low is None else max(value, low)
                result[name] = value if high is None else min(value, high)
        return result


_FIELDS = {
    "allow": names,
    "drop": names,
    "rename": a_map(a_text, a_text),
    "one_of": a_list(a_list(a_text)),
    "default": a_map(a_text, anything),
    "unstreamed": a_map(a_text, anything),
    "bounds": a_map(a_text, bounds),
}
