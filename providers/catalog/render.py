"""Writes the catalogue as a Django fixture that a curator can read a diff of: fixed key order, sorted rows, no ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

FACTORY_MODEL, LLM_MODEL = "providers.llmfactory", "providers.llm"

FACTORY_FIELDS = (
    *("name", "tags", "rank", "status", "logo", "base_url", "base_url_required", "dialect", "signer", "quirks"),
    *("credential_fields", "keyless", "self_deployed", "hidden", "name_suffix", "price_provider", "docs_url"),
)
PRICE_FIELDS = ("input_price", "output_price", "cached_input_price", "price_detail", "price_source", "priced_at")
LLM_FIELDS = ("llm_name", "model_types", "tags", "max_tokens", "is_tools", "status", "quirks", *PRICE_FIELDS)

FIELD_KEYS = (
    *("name", "label", "secret", "required", "default", "choices", "model_types", "json", "base_url", "help"),
    "fields",
)

# Left out of a file while they hold nothing, because most rows have none of them.
SPARSE = frozenset({"logo", "quirks", *PRICE_FIELDS})


def plain(value: Any) -> Any:
    """A value as JSON has it, keys sorted; a Decimal becomes its shortest exact text, never a float."""
    if isinstance(value, Decimal):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def fixture(factories: Iterable[tuple[Mapping[str, Any], Iterable[Mapping[str, Any]]]]) -> str:
    """The text of a fixture: each factory is followed by its models, all in the order of their names."""
    rows: list[dict[str, Any]] = []
    for factory, llms in sorted(factories, key=lambda pair: str(pair[0]["name"])):
        rows.append({"model": FACTORY_MODEL, "fields": _chosen(factory, FACTORY_FIELDS)})
        for llm in sorted(llms, key=lambda row: str(row["llm_name"])):
            fields = {"factory": [factory["name"]], **_chosen(llm, LLM_FIELDS)}
            fields["model_types"] = ",".join(llm["model_types"])
            rows.append({"model": LLM_MODEL, "fields": fields})
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def file_name(factory: str) -> str:
    """What a factory's own file is called: "Tencent Cloud" → "tencent-cloud.json"."""
    return f"{re.sub(r'[^a-z0-9]+', '-', factory.lower()).strip('-')}.json"


def _chosen(values: Mapping[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: _ordered(name, values[name])
        for name in order
        if name in values and not (name in SPARSE and values[name] in (None, "", {}))
    }


def _ordered(name: str, value: Any) -> Any:
    """JSON values in an order of our own, since PostgreSQL does not keep theirs: keys sorted, and a credential field's
    as a person reads them. The fields themselves stay in the order that a form shows them in."""
    return [_field(item) for item in value] if name == "credential_fields" else plain(value)


def _field(spec: Mapping[str, Any]) -> dict[str, Any]:
    inner = {"fields": [_field(item) for item in spec["fields"]]} if "fields" in spec else {}
    return {key: spec[key] for key in FIELD_KEYS if key in spec} | inner
