"""Checks the JSON values of a catalogue row: quirks, credential fields and price details."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from providers.catalog.checks import LARGEST_INTEGER, Changes, Refused, shown
from providers.catalog.render import FIELD_KEYS, plain
from providers.llm_types import LLMType
from providers.quirks import Quirks

JSON_LENGTH = 64 * 1024


def mapping(value: Any, changes: Changes) -> dict[str, Any]:
    """A JSON object that any database can hold; fractions become texts in it."""
    if not isinstance(value, dict):
        raise Refused(f"{shown(value)} is not an object")
    return dict(plain(_storable(value)))


def quirks(value: Any, changes: Changes) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{shown(value)} is not an object")
    cleaned = _storable(_with_plain_numbers(value))
    try:
        Quirks.from_data(cleaned)
    except ValueError as error:
        raise Refused(str(error)) from error
    return dict(cleaned)


def credential_fields(value: Any, changes: Changes) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refused("is not a list of objects")
    for item in value:
        where = f"the field {shown(item.get('name'))}"
        if not isinstance(item.get("name"), str) or not re.fullmatch(r"[a-zA-Z_]\w{0,63}", item["name"]):
            raise Refused(f"{where} has no proper name")
        if unknown := sorted(set(item) - set(FIELD_KEYS)):
            raise Refused(f"{where} has an unknown key {unknown[0]}")
        if any(not isinstance(item.get(key, False), bool) for key in ("secret", "required", "json", "base_url")):
            raise Refused(f"{where}: secret, required, json and base_url are true or false")
        if any(not isinstance(item.get(key, ""), str) for key in ("label", "help", "default")):
            raise Refused(f"{where}: label, help and default are texts")
        if any(not _texts(item.get(key, [])) for key in ("choices", "model_types")):
            raise Refused(f"{where}: choices and model_types are lists of texts")
        if set(item.get("model_types", [])) - set(LLMType):
            raise Refused(f"{where}: unknown model type")
        credential_fields(item.get("fields", []), changes)
    names = [item["name"] for item in value]
    if len(set(names)) != len(names):
        raise Refused("two fields have one name")
    return list(_storable(value))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _with_plain_numbers(value: Any) -> Any:
    """Fractions in quirks are parameters, not money: 0.3 stays a number."""
    if isinstance(value, Decimal):
        return float(value) if abs(value) < LARGEST_INTEGER else value
    if isinstance(value, dict):
        return {key: _with_plain_numbers(item) for key, item in value.items()}
    return [_with_plain_numbers(item) for item in value] if isinstance(value, list) else value


def _storable(value: Any) -> Any:
    dumped = json.dumps(plain(value), ensure_ascii=False)
    if len(dumped) > JSON_LENGTH:
        raise Refused("too large")
    if "\\u0000" in dumped or any("\ud800" <= character <= "\udfff" for character in dumped):
        raise Refused("has characters that no database keeps")
    return value
