"""What a person enters for a credential, checked against the fields that its factory declares."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput
from providers.base_urls import clean_base_url, is_region, template_fields
from providers.models import LLMFactory

MAX_VALUE_BYTES = 16 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Values:
    """Checked values by field name: `secret` to be sealed, `plain` to be stored, `cleared` to be removed."""

    secret: dict[str, str]
    plain: dict[str, str]
    cleared: frozenset[str] = frozenset()

    def laid_over(self, plain: Mapping[str, str]) -> dict[str, str]:
        """The plain fields that are saved, after this edit of them."""
        return {**{name: text for name, text in plain.items() if name not in self.cleared}, **self.plain}

    def __repr__(self) -> str:
        return f"<Values secret={sorted(self.secret)} plain={sorted(self.plain)}>"


def check_values(factory: LLMFactory, given: Mapping[str, Any], *, partial: bool = False) -> Values:
    """Sort and check what was entered; raises InvalidInput that names each field.

    `partial` is an edit: what is missing or None stays as it is, and so does a secret that is blank; "" clears a field
    that is not secret, back to its default if it has one. Otherwise a blank value counts as not given.
    """
    specs = {spec["name"]: spec for spec in factory.credential_fields}
    urls = [factory.quirks.get("base_url", ""), factory.quirks.get("token_url", "")]
    urls += factory.quirks.get("base_urls", {}).values()
    regions = {name for url in urls for name in template_fields(url)}
    problems: dict[str, list[str]] = {name: ["This factory has no such field."] for name in given if name not in specs}
    secret: dict[str, str] = {}
    plain: dict[str, str] = {}
    cleared: set[str] = set()
    for name, spec in specs.items():
        try:
            text = _text(given.get(name), spec)
        except ValueError as error:
            problems[name] = [str(error)]
            continue
        if text and name in regions and not is_region(text):
            problems[name] = ["This must be a region such as us-east-1."]
        elif text:
            (secret if spec.get("secret") else plain)[name] = text
        elif partial and (spec.get("secret") or given.get(name) is None):
            continue
        elif spec.get("default"):
            plain[name] = str(spec["default"])
        elif spec.get("required") and not spec.get("model_types") and not factory.keyless:
            problems[name] = ["This field is required."]
        else:
            cleared.add(name)
    if problems:
        raise InvalidInput("The credential is not complete.", fields=problems)
    return Values(secret, plain, frozenset(cleared))


def check_secrets(factory: LLMFactory, secret: Mapping[str, str]) -> None:
    """Raise InvalidInput unless all secret fields are there that a credential of this factory must have."""
    specs = [spec for spec in factory.credential_fields if spec.get("secret") and spec.get("required")]
    missing = [spec["name"] for spec in specs if not spec.get("model_types") and spec["name"] not in secret]
    if missing and not factory.keyless:
        raise InvalidInput(
            "The key is not complete.",
            hint="Enter all its parts again: the saved ones cannot be used here.",
            fields={name: ["This field is required."] for name in missing},
        )


def _text(value: Any, spec: Mapping[str, Any]) -> str:
    if value is None:
        return ""
    if isinstance(value, dict) and spec.get("json"):
        value = json.dumps(value, separators=(",", ":"), allow_nan=False) if value else ""
    if not isinstance(value, str):
        raise ValueError("This must be an object." if spec.get("json") else "This must be text.")
    text = value.strip()
    if len(text.encode(errors="replace")) > MAX_VALUE_BYTES:
        raise ValueError(f"This is longer than {MAX_VALUE_BYTES // 1024} KiB.")
    if _CONTROL.search(text) or ("\n" in text and not text.startswith(("{", "-----BEGIN"))):
        raise ValueError("This holds line breaks or control characters: copy it again.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("This is not valid text.") from None
    choices = spec.get("choices")
    if text and choices and text not in choices:
        raise ValueError(f"Choose one of {', '.join(map(str, choices))}.")
    return text


def check_base_url(factory: LLMFactory, url: str) -> str:
    """The base URL in its canonical form, empty for the factory's own; raises InvalidInput."""
    if not url.strip():
        if factory.base_url_required and not factory.base_url:
            raise InvalidInput(
                "This factory needs a base URL.", hint="Say where yours runs.", fields={"base_url": ["Required."]}
            )
        return ""
    try:
        cleaned = clean_base_url(url)
    except ValueError as error:
        raise InvalidInput(f"Not usable: {error}.", fields={"base_url": [f"{error}."]}) from error
    if len(cleaned) > 255:
        raise InvalidInput("The base URL is too long.", fields={"base_url": ["At most 255 characters."]})
    return cleaned


def secret_text(factory: LLMFactory, secret: Mapping[str, str]) -> str:
    """What is sealed: the one secret as it is, or a JSON object where the factory declares several."""
    declared = [spec["name"] for spec in factory.credential_fields if spec.get("secret")]
    if not secret:
        return ""
    if len(declared) == 1:
        return secret[declared[0]]
    return json.dumps(dict(sorted(secret.items())), separators=(",", ":"))


def secret_parts(factory: LLMFactory, text: str) -> dict[str, str]:
    """The inverse of `secret_text`."""
    declared = [spec["name"] for spec in factory.credential_fields if spec.get("secret")]
    if not text or not declared:
        return {}
    if len(declared) == 1:
        return {declared[0]: text}
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    if not isinstance(parts, dict):  # saved when the factory had a single field
        return {declared[0]: text}
    return {str(name): str(part) for name, part in parts.items()}
