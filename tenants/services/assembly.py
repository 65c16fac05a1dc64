"""A credential's values, and the one `api_key` text in which RAGFlow's clients know them.

The fields that apply to the model types decide: where there is one, `api_key` is its plain text; where there are
several, it is a JSON object of exactly these fields in their order, a missing one "". Nothing here knows a factory by
its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.errors import InvalidInput

Spec = Mapping[str, Any]

PLACEHOLDER = "x"  # what RAGFlow's clients and server write where there is no key
EXTRA_KEYS = frozenset({"is_tools"})  # RAGFlow packs it beside the key


def fields_for(specs: Sequence[Spec], model_types: Iterable[str]) -> list[Spec]:
    """The fields that apply to any of the types, in order; all of them when no type is named."""
    kinds = set(model_types)
    return [spec for spec in specs if not kinds or not spec.get("model_types") or kinds & set(spec["model_types"])]


def from_api_key(specs: Sequence[Spec], api_key: Any) -> dict[str, Any]:
    """The values in a classic `api_key`: plain text, JSON text, or an object; raises InvalidInput."""
    if api_key is None or api_key == "":
        return {}
    if not isinstance(api_key, str | dict):
        raise _wrong("Send text, or an object of the factory's fields.")
    given, names = _as_object(api_key), [spec["name"] for spec in specs]
    if given is not None and set(given) & set(names):
        if unknown := sorted(set(given) - set(names) - EXTRA_KEYS):
            raise _wrong(f"Unknown: {', '.join(unknown)[:200]}. The fields are {', '.join(names)}.")
        return {
            spec["name"]: _settings(spec, given[spec["name"]]) if spec.get("json") else given[spec["name"]]
            for spec in specs
            if spec["name"] in given
        }
    packed = next((spec for spec in specs if spec.get("json")), None)
    if packed is not None:
        return {packed["name"]: _settings(packed, given)}
    if isinstance(api_key, dict):
        raise _wrong(f"The fields of this object are {', '.join(names)}.")
    secrets = [spec["name"] for spec in specs if spec.get("secret")]
    if "api_key" not in names and len(secrets) != 1:
        raise _wrong(f"This factory needs {', '.join(names)}: send them as fields, or as an object.")
    return {"api_key" if "api_key" in names else secrets[0]: api_key}


def values_of(
    specs: Sequence[Spec], body: Mapping[str, Any], *, model_types: Iterable[str] = (), keyless: bool = False
) -> dict[str, Any]:
    """The credential values that a request carries, as `api_key` and as fields of their own; raises InvalidInput.

    A factory that works without a key is not sent the placeholder that stands for none.
    """
    applying = fields_for(specs, model_types)
    api_key = body.get("api_key")
    if isinstance(api_key, str):
        api_key = api_key.strip()
    values = from_api_key(applying, None if keyless and api_key == PLACEHOLDER else api_key)
    for spec in applying:
        name = spec["name"]
        if name != "api_key" and body.get(name) not in (None, ""):
            values[name] = body[name]
    return values


def base_url_in(specs: Sequence[Spec], values: Mapping[str, Any]) -> str:
    """Where the service runs, if an object among the values says so; else ""."""
    for spec in specs:
        given = values.get(spec["name"])
        for member in spec.get("fields", ()):
            if member.get("base_url") and isinstance(given, dict) and given.get(member["name"]):
                return str(given[member["name"]])
    return ""


def missing(specs: Sequence[Spec], values: Mapping[str, Any], *, model_types: Iterable[str]) -> list[str]:
    """The required fields of these types that have neither a value nor a default."""
    applying = fields_for(specs, model_types)
    return [s["name"] for s in applying if s.get("required") and not s.get("default") and not values.get(s["name"])]


def _as_object(api_key: str | dict[str, Any]) -> dict[str, Any] | None:
    if isinstance(api_key, dict):
        return api_key
    if not api_key.lstrip().startswith("{"):
        return None
    try:
        parsed = json.loads(api_key, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _not_json(constant: str) -> None:
    raise ValueError(constant)


def _settings(spec: Spec, given: Any) -> dict[str, str]:
    """An object whose members the field declares: where a service runs, and how."""
    if isinstance(given, str):
        given = _as_object(given)
    if not isinstance(given, dict):
        raise _wrong(f"“{spec['label']}” is an object.", spec["name"])
    settings: dict[str, str] = {}
    for member in spec.get("fields", ()):
        name = member["name"]
        value = given.get(name, given.get(name.upper(), ""))
        value = value if value not in (None, "") else member.get("default", "")
        if not isinstance(value, str):
            raise _wrong(f"{name} must be text.", spec["name"])
        if not value and member.get("required"):
            raise _wrong(f"{name} is missing.", spec["name"])
        if value and member.get("choices") and value not in member["choices"]:
            raise _wrong(f"{name} must be one of {', '.join(member['choices'])}.", spec["name"])
        settings[name] = value
    return settings


def _wrong(text: str, field: str = "api_key") -> InvalidInput:
    return InvalidInput("The credential cannot be read.", fields={field: [text]})
