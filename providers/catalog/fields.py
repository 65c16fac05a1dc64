"""Which fields a factory and a model have in a catalogue file, and how each is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from providers.catalog import checks, json_checks
from providers.catalog.checks import Check

FACTORY_CHECKS: Final[Mapping[str, Check]] = {
    "tags": checks.tags,
    "rank": checks.integer,
    "status": checks.status,
    "logo": checks.logo,
    "base_url": checks.url,
    "base_url_required": checks.flag,
    "dialect": checks.slug,
    "signer": checks.slug,
    "quirks": json_checks.quirks,
    "credential_fields": json_checks.credential_fields,
    "keyless": checks.flag,
    "self_deployed": checks.flag,
    "hidden": checks.flag,
    "name_suffix": checks.suffix,
    "price_provider": checks.short,
    "docs_url": checks.web_page,
}

MODEL_CHECKS: Final[Mapping[str, Check]] = {
    "model_types": checks.model_types,
    "tags": checks.tags,
    "max_tokens": checks.max_tokens,
    "is_tools": checks.flag,
    "status": checks.status,
    "quirks": json_checks.quirks,
    "input_price": checks.price,
    "output_price": checks.price,
    "cached_input_price": checks.price,
    "price_detail": json_checks.mapping,
    "price_source": checks.short,
    "priced_at": checks.moment,
}
