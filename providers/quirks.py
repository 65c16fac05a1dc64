"""How a factory or a model differs from its wire format, declared as data.

Every key is optional. A model's quirks are laid over its factory's as a JSON merge patch (RFC 7386): objects are merged
key by key, anything else replaces, and null takes a key away.

    version_path       "/v1"                          appended to a base URL that does not end in a version
    paths              {"chat": "/chat/completions"}  another path for one operation
    base_url           "https://api.{region}.vendor"  the factory's base, filled from a credential's plain fields
    base_urls          {"rerank": "https://…"}        another base for one operation, unless the tenant gave its own
    dialects           {"rerank": "jina"}             another dialect for one model type
    token_url          "https://oauth2.googleapis.com"  where signers that need a token get it; fields as in base_url
    signers            {"tts": "header:x-api-key"}    another signer for one model type
    params             rename, allow, drop, default, bounds; rename comes first, the others use the names sent
    strip_suffix       "___"                          the model's name sent upstream ends before it
    name_map           {"Spark-Max": "generalv3.5"}   names that the upstream calls otherwise
    model_field        "endpoint_id"                  the credential field that holds the model's name upstream
    no_model_list      true                           the vendor has no list of models
    listings           [{"path": "/api/v0/models", "root": true}]  richer lists of models, asked before the usual one:
                       path, query, dialect; root: the path begins at the server's root, not at the API's
    public_model_list  true                           the list is open, so it proves nothing about a key
    no_json_schema     true                           a JSON answer must be asked for as the call of a tool
    thinking_budget    true                           reasoning is bounded by tokens, as older models want it
    embedding          batch, max_tokens, input_type {"document": "passage", "query": "query", "parameter": "task"}
    probe              timeout_s, max_tokens
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.base_urls import check_template, clean_base_url, fill_template
from providers.llm_types import LLMType
from providers.wire import Operation, operation_for

# What makes up a request is never dropped, whatever a list of allowed parameters says.
_ESSENTIAL = frozenset(
    {"model", "messages", "stream", "stream_options", "tools", "input", "input_type", "query", "documents", "top_n"}
    | {"file", "filename", "media_type", "voice"}
)


@dataclass(frozen=True, slots=True)
class Params:
    """What happens to a request's parameters."""

    allow: frozenset[str] = frozenset()
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    default: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)

    def apply(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(payload)
        for old, new in self.rename.items():
            if old in result:
                value = result.pop(old)
                result.setdefault(new, value)
        for name in list(result):
            if name in self.drop or (self.allow and name not in self.allow and name not in _ESSENTIAL):
                del result[name]
        for name, value in self.default.items():
            if name not in result:
                result[name] = copy.deepcopy(value)
        for name, (low, high) in self.bounds.items():
            value = result.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                value = value if low is None else max(value, low)
                result[name] = value if high is None else min(value, high)
        return result


@dataclass(frozen=True, slots=True)
class ListingPlace:
    """Where a list of models may be; what is empty is as for the usual list."""

    path: str = ""
    root: bool = False
    query: Mapping[str, str] = field(default_factory=dict)
    dialect: str = ""


@dataclass(frozen=True, slots=True)
class Quirks:
    """Validated quirks of one factory, or of one model merged over its factory."""

    version_path: str = ""
    base_url: str = ""
    paths: Mapping[Operation, str] = field(default_factory=dict)
    base_urls: Mapping[Operation, str] = field(default_factory=dict)
    dialects: Mapping[LLMType, str] = field(default_factory=dict)
    signers: Mapping[LLMType, str] = field(default_factory=dict)
    token_url: str = ""
    params: Params = field(default_factory=Params)
    strip_suffix: str = ""
    name_map: Mapping[str, str] = field(default_factory=dict)
    model_field: str = ""
    no_model_list: bool = False
    public_model_list: bool = False
    listings: tuple[ListingPlace, ...] = ()
    no_json_schema: bool = False
    thinking_budget: bool = False
    embedding_batch: int = 16
    embedding_max_tokens: int | None = None
    input_type: Mapping[str, str] = field(default_factory=dict)
    probe_timeout_s: float | None = None
    probe_max_tokens: int = 16
    data: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_data(cls, data: Any) -> Quirks:
        """Check JSON data; raises ValueError that begins with the path of what is wrong."""
        checked = _read(data or {} if data is None or isinstance(data, dict) else data, "quirks", _FIELDS)
        params = checked.pop("params", {})
        embedding = checked.pop("embedding", {})
        probe = checked.pop("probe", {})
        for prefix, part in (("embedding_", embedding), ("probe_", probe)):
            checked.update({name if name == "input_type" else prefix + name: value for name, value in part.items()})
        return cls(**checked, params=Params(**params), data=copy.deepcopy(data or {}))

    def merge(self, other: Quirks) -> Quirks:
        """These quirks with `other` (a model's) laid over them."""
        if not other.data:
            return self
        if not self.data:
            return other
        return Quirks.from_data(_patched(self.data, other.data))

    def apply_params(self, operation: Operation, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A new payload, with its parameters as this upstream takes them."""
        result = self.params.apply(payload)
        if operation is Operation.EMBEDDINGS and result.get("input_type") in (None, "document", "query"):
            kind = result.pop("input_type", None) or "document"
            if kind in self.input_type:
                result[self.input_type.get("parameter", "input_type")] = self.input_type[kind]
        return result

    def model_name(self, name: str, fields: Mapping[str, str] | None = None) -> str:
        """What the upstream calls the model `name`; `fields` are the credential's."""
        if self.model_field and fields and fields.get(self.model_field):
            return fields[self.model_field]
        if self.strip_suffix:
            name = name.partition(self.strip_suffix)[0] or name
        return self.name_map.get(name, name)

    def path_for(self, operation: Operation, default: str) -> str:
        return self.paths.get(operation, default)

    def base_url_for(self, operation: Operation) -> str | None:
        return self.base_urls.get(operation)

    def token_url_for(self, fields: Mapping[str, str]) -> str:
        """Where a credential with these plain fields gets its tokens; "" if nowhere is declared or they do not fit."""
        try:
            return fill_template(self.token_url, fields) if self.token_url else ""
        except ValueError:
            return ""

    def dialect_for(self, llm_type: LLMType | str) -> str | None:
        return self.dialects.get(LLMType(llm_type))


def _patched(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            under = result.get(name)
            result[name] = _patched(under if isinstance(under, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def _read(data: Any, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected an object, got {_kind(data)}")
    result = {}
    for name, value in data.items():
        if name not in fields:
            raise ValueError(f"{path}.{name}: unknown; known are {', '.join(sorted(fields))}")
        if value is not None:
            result[name] = fields[name](value, f"{path}.{name}")
    return result


def _object(fields: Mapping[str, Any]) -> Any:
    return lambda value, path: _read(value, path, fields)


def _map(key: Any, item: Any) -> Any:
    def read(value: Any, path: str) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{path}: expected an object, got {_kind(value)}")
        return {key(k, f"{path}.{k}"): item(v, f"{path}.{k}") for k, v in value.items() if v is not None}

    return read


def _places(value: Any, path: str) -> tuple[ListingPlace, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{path}: expected a list of places, got {_kind(value)}")
    fields = {"path": _path, "root": _flag, "query": _map(_text, _text), "dialect": _text}
    return tuple(ListingPlace(**_read(item, f"{path}[{index}]", fields)) for index, item in enumerate(value))


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{path}: expected a non-empty text, got {_kind(value)}")
    return value


def _names(value: Any, path: str) -> frozenset[str]:
    if not isinstance(value, list):
        raise ValueError(f"{path}: expected a list of names, got {_kind(value)}")
    return frozenset(_text(item, f"{path}[{index}]") for index, item in enumerate(value))


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{path}: expected true or false, got {_kind(value)}")
    return value


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{path}: expected a number, got {_kind(value)}")
    return value


def _positive(value: Any, path: str) -> float:
    if _number(value, path) <= 0:
        raise ValueError(f"{path}: expected a number above 0, got {value}")
    return float(value)


def _count(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{path}: expected a whole number of at least 1, got {_kind(value)}")
    return value


def _bounds(value: Any, path: str) -> tuple[float | None, float | None]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{path}: expected [lowest, highest], got {_kind(value)}")
    low, high = (None if end is None else _number(end, f"{path}[{index}]") for index, end in enumerate(value))
    if low is not None and high is not None and low > high:
        raise ValueError(f"{path}: the lowest ({low}) is above the highest ({high})")
    return low, high


def _path(value: Any, path: str) -> str:
    if value == "":
        return ""
    text = _text(value, path)
    if not text.startswith("/") or any(mark in text for mark in ("?", "#", "\\", "/../", "//")) or text.endswith("/.."):
        raise ValueError(f"{path}: expected a path such as /v1, got {text!r}")
    return text.rstrip("/")


def _url(check: Any) -> Any:
    def read(value: Any, path: str) -> str:
        try:
            return str(check(_text(value, path)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    return read


def _place(url: str) -> str:
    """A base URL, with or without fields in its host."""
    return check_template(url) if "{" in url else clean_base_url(url)


def _operation(value: Any, path: str) -> Operation:
    if value in set(Operation):
        return Operation(value)
    if value in set(LLMType):
        return operation_for(value)
    raise ValueError(f"{path}: unknown operation; known are {', '.join(Operation)}")


def _llm_type(value: Any, path: str) -> LLMType:
    if value not in set(LLMType):
        raise ValueError(f"{path}: unknown model type; known are {', '.join(LLMType)}")
    return LLMType(value)


def _input_kind(value: Any, path: str) -> str:
    if value not in ("document", "query", "parameter"):
        raise ValueError(f"{path}: expected document, query or parameter")
    return str(value)


def _kind(value: Any) -> str:
    """What came instead, for an error."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


_FIELDS: Mapping[str, Any] = {
    "version_path": _path,
    "paths": _map(_operation, _path),
    "base_url": _url(check_template),
    "base_urls": _map(_operation, _url(clean_base_url)),
    "dialects": _map(_llm_type, _text),
    "signers": _map(_llm_type, _text),
    "token_url": _url(_place),
    "params": _object(
        {
            "allow": _names,
            "drop": _names,
            "rename": _map(_text, _text),
            "default": _map(_text, lambda value, path: value),
            "bounds": _map(_text, _bounds),
        }
    ),
    "strip_suffix": _text,
    "name_map": _map(_text, _text),
    "model_field": _text,
    "no_model_list": _flag,
    "public_model_list": _flag,
    "listings": _places,
    "no_json_schema": _flag,
    "thinking_budget": _flag,
    "embedding": _object({"batch": _count, "max_tokens": _count, "input_type": _map(_input_kind, _text)}),
    "probe": _object({"timeout_s": _positive, "max_tokens": _count}),
}
