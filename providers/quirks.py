"""How a factory or a model differs from its wire format, declared as data.

Every key is optional. A model's quirks are laid over its factory's as a JSON merge patch (RFC 7386): objects are merged
key by key, anything else replaces, and null takes a key away.

    version_path       "/v1"                          appended to a base URL that does not end in a version
    dated              versions by date in the place of version_path: see providers/dated.py
    paths              {"chat": "/chat/completions"}  another path for one operation
    query              {"GroupId": "group_id"}        what is asked for in every URL: a credential's plain field
    base_url           "https://api.{region}.vendor"  the factory's base, filled from a credential's plain fields
    region_base_urls   {"global": "https://vendor.com"}  the factory's base where a field of the template says so
    base_urls          {"rerank": "https://…"}        another base for one operation, unless the tenant gave its own;
                       fields as in base_url
    dialects           {"rerank": "jina"}             another dialect for one model type
    token_url          "https://oauth2.googleapis.com"  where signers that need a token get it; fields as in base_url
    signers            {"tts": "header:x-api-key"}    another signer for one model type
    uncallable         {"tts": "It has no API."}      a model type that is offered and cannot be called here, and why
    params             what happens to parameters: see providers/params.py
    params_for         {"embedding": {…}}             more of the same for one operation
    field_params       {"order": {"provider": {"order": "{list}"}}}  what a credential's plain field adds to a request
                       that does not say it itself: {value} is the field's text, {list} the parts between its commas
    voice              "{model}:anna"                 who speaks where no voice is named; "" if none is to be named
    strip_suffix       "___"                          the model's name sent upstream ends before it
    name_map           {"Spark-Max": "generalv3.5"}   names that the upstream calls otherwise
    publishers         {"claude-": "anthropic"}       whose model it is whose name begins so, where a vendor has several
    model_field        "endpoint_id"                  the credential field that holds the model's name upstream
    sells              ["openai", "anthropic"]        whose models it offers by their names: see providers/families.py
    families           {"gpt-5*": {"params": {…}}}    more of a factory's quirks, by the names of models that it has or
                       not; * and ? as in file names; more letters count more, and a model's own quirks most
    no_model_list      true                           the vendor has no list of models
    listings           [{"path": "/api/v0/models", "root": true}]  richer lists of models, asked before the usual one:
                       path, query, dialect; root: the path begins at the server's root, not at the API's
    public_model_list  true                           the list is open, so it proves nothing about a key
    no_json_schema     true                           a JSON answer must be asked for as the call of a tool
    thinking_budget    true                           reasoning is bounded by tokens, as older models want it
    embedding          batch: texts in a call; batch_tokens: tokens in a call; max_tokens: tokens in a text;
                       input_type {"document": "passage", "query": "query", "parameter": "task"},
                       methods {"gemini-embedding-2": "embedContent"}: another call for models whose names begin so
    probe              timeout_s, max_tokens; pdf: true where OCR reads no pictures
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from providers import dated
from providers.base_urls import fill_template
from providers.families import FAMILIES
from providers.llm_types import LLMType
from providers.params import Params
from providers.quirk_values import (
    a_base_url,
    a_count,
    a_flag,
    a_list,
    a_map,
    a_model_type,
    a_path,
    a_place,
    a_positive,
    a_template,
    a_text,
    an_object,
    an_operation,
    any_text,
    anything,
    members,
    one_of,
)
from providers.wire import Operation


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
    dated: dated.Dated | None = None
    base_url: str = ""
    region_base_urls: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[Operation, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    base_urls: Mapping[Operation, str] = field(default_factory=dict)
    dialects: Mapping[LLMType, str] = field(default_factory=dict)
    signers: Mapping[LLMType, str] = field(default_factory=dict)
    token_url: str = ""
    uncallable: Mapping[LLMType, str] = field(default_factory=dict)
    params: Params = field(default_factory=Params)
    params_for: Mapping[Operation, Params] = field(default_factory=dict)
    field_params: Mapping[str, Any] = field(default_factory=dict)
    voice: str | None = None
    strip_suffix: str = ""
    name_map: Mapping[str, str] = field(default_factory=dict)
    publishers: Mapping[str, str] = field(default_factory=dict)
    model_field: str = ""
    sells: tuple[str, ...] = ()
    families: Mapping[str, Any] = field(default_factory=dict)
    no_model_list: bool = False
    public_model_list: bool = False
    listings: tuple[ListingPlace, ...] = ()
    no_json_schema: bool = False
    thinking_budget: bool = False
    embedding_batch: int = 16
    embedding_batch_tokens: int | None = None
    embedding_max_tokens: int | None = None
    embedding_methods: Mapping[str, str] = field(default_factory=dict)
    input_type: Mapping[str, str] = field(default_factory=dict)
    probe_timeout_s: float | None = None
    probe_max_tokens: int = 16
    probe_pdf: bool = False
    data: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    own: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # a model's, within `data`

    @classmethod
    def from_data(cls, data: Any) -> Quirks:
        """Check JSON data; raises ValueError that begins with the path of what is wrong."""
        checked = members(data or {} if data is None or isinstance(data, dict) else data, "quirks", _FIELDS)
        embedding = checked.pop("embedding", {})
        probe = checked.pop("probe", {})
        for prefix, part in (("embedding_", embedding), ("probe_", probe)):
            checked.update({name if name == "input_type" else prefix + name: value for name, value in part.items()})
        return cls(**checked, data=copy.deepcopy(data or {}))

    def merge(self, other: Quirks) -> Quirks:
        """These quirks with `other` (a model's) laid over them."""
        if not other.data:
            return self
        if not self.data:
            return other
        return replace(Quirks.from_data(_patched(self.data, other.data)), own=other.data)

    def resolved(self, model: str, fields: Mapping[str, str]) -> Quirks:
        """These quirks for one model and credential: its families are laid under the model's own, its fields are in.

        What comes of it is resolved again to itself.
        """
        found = self._of_family(model) if self.families or self.sells else self
        for name, template in found.field_params.items():
            if text := fields.get(name):
                default = _patched(_filled(template, text), found.params.default)
                found = replace(found, params=replace(found.params, default=default))
        return replace(found, field_params={}) if found.field_params else found

    def _of_family(self, model: str) -> Quirks:
        names = (model.lower(), model.lower().rpartition("/")[2])
        data = dict(self.data)
        for families in (*(FAMILIES[vendor] for vendor in self.sells), self.families):
            fitting = [pattern for pattern in families if any(fnmatchcase(name, pattern) for name in names)]
            for pattern in sorted(fitting, key=lambda one: (len(one), one)):
                data = _patched(data, families[pattern])
        if data == self.data:
            return replace(self, families={}, sells=())
        return Quirks.from_data({**_patched(data, self.own), "families": None, "sells": None})

    def apply_params(self, operation: Operation, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A new payload, with its parameters as this upstream takes them."""
        result = self.params.apply(payload)
        if operation in self.params_for:
            result = self.params_for[operation].apply(result)
        if operation is Operation.EMBEDDINGS and result.get("input_type") in (None, "document", "query"):
            kind = result.pop("input_type", None) or "document"
            if kind in self.input_type:
                result[self.input_type.get("parameter", "input_type")] = self.input_type[kind]
        return result

    def voice_for(self, model: str, otherwise: str) -> str:
        """Who speaks where no voice is named; `otherwise` is the wire format's own choice. "": none is to be named."""
        return otherwise if self.voice is None else self.voice.replace("{model}", model)

    def model_name(self, name: str, fields: Mapping[str, str] | None = None) -> str:
        """What the upstream calls the model `name`; `fields` are the credential's."""
        if self.model_field and fields and fields.get(self.model_field):
            return fields[self.model_field]
        if self.strip_suffix:
            name = name.partition(self.strip_suffix)[0] or name
        return self.name_map.get(name, name)

    def publisher_of(self, model: str) -> str | None:
        """Whose model it is; None if no name in `publishers` says so."""
        return _by_prefix(self.publishers, model)

    def embedding_method(self, model: str) -> str | None:
        return _by_prefix(self.embedding_methods, model)

    def path_for(self, operation: Operation, default: str) -> str:
        return self.paths.get(operation, default)

    def base_url_for(self, operation: Operation, fields: Mapping[str, str] | None = None) -> str:
        """The operation's own base for a credential with these fields; "" if none is declared, or they do not fit."""
        return _located(self.base_urls.get(operation, ""), fields or {})

    def token_url_for(self, fields: Mapping[str, str]) -> str:
        """Where a credential with these plain fields gets its tokens; "" if nowhere is declared or they do not fit."""
        return _located(self.token_url, fields)

    def dialect_for(self, llm_type: LLMType | str) -> str | None:
        return self.dialects.get(LLMType(llm_type))


def _located(template: str, fields: Mapping[str, str]) -> str:
    try:
        return fill_template(template, fields) if template else ""
    except ValueError:
        return ""


def _by_prefix(values: Mapping[str, str], name: str) -> str | None:
    """The value of the longest key that the name begins with."""
    found = max((prefix for prefix in values if name.startswith(prefix)), key=len, default=None)
    return None if found is None else values[found]


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


def _filled(template: Any, text: str) -> Any:
    if isinstance(template, Mapping):
        return {name: _filled(value, text) for name, value in template.items()}
    if template == "{list}":
        return [part.strip() for part in text.split(",") if part.strip()]
    return template.replace("{value}", text) if isinstance(template, str) else template


def _place(value: Any, path: str) -> ListingPlace:
    fields = {"path": a_path, "root": a_flag, "query": a_map(a_text, a_text), "dialect": a_text}
    return ListingPlace(**members(value, path, fields))


def _pattern(value: Any, path: str) -> str:
    if (text := a_text(value, path)) != text.lower():
        raise ValueError(f"{path}: names of families are compared in lower case")
    return text


def _family(value: Any, path: str) -> Mapping[str, Any]:
    """The data of a family, once it is known to be sound."""
    members(value, path, {name: _FIELDS[name] for name in _OF_FAMILIES})
    return dict(value)


# A family is told by the model alone, so it cannot say where a call goes or how it is signed.
_OF_FAMILIES = (
    *("paths", "params", "params_for", "voice", "name_map", "no_json_schema", "thinking_budget", "embedding", "probe"),
)
_FIELDS: Mapping[str, Any] = {
    "version_path": a_path,
    "dated": dated.read,
    "paths": a_map(an_operation, a_path),
    "query": a_map(a_text, a_text),
    "base_url": a_template,
    "region_base_urls": a_map(a_text, a_base_url),
    "base_urls": a_map(an_operation, a_place),
    "dialects": a_map(a_model_type, a_text),
    "signers": a_map(a_model_type, a_text),
    "token_url": a_place,
    "uncallable": a_map(a_model_type, a_text),
    "params": Params.read,
    "params_for": a_map(an_operation, Params.read),
    "field_params": a_map(a_text, a_map(a_text, anything)),
    "voice": any_text,
    "strip_suffix": a_text,
    "name_map": a_map(a_text, a_text),
    "publishers": a_map(a_text, a_text),
    "model_field": a_text,
    "sells": a_list(one_of(*FAMILIES)),
    "families": a_map(_pattern, _family),
    "no_model_list": a_flag,
    "public_model_list": a_flag,
    "listings": a_list(_place),
    "no_json_schema": a_flag,
    "thinking_budget": a_flag,
    "embedding": an_object(
        {
            "batch": a_count,
            "batch_tokens": a_count,
            "max_tokens": a_count,
            "input_type": a_map(one_of("document", "query", "parameter"), a_text),
            "methods": a_map(a_text, a_text),
        }
    ),
    "probe": an_object({"timeout_s": a_positive, "max_tokens": a_count, "pdf": a_flag}),
}
