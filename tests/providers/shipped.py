"""Every cell of the catalogue that we ship, as the product resolves its calls: the rows' own targets, nothing of ours.

No database is touched: rows and credentials live in memory.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from providers import dialects
from providers.catalog import formats
from providers.catalog.records import ParsedCatalogue
from providers.llm_types import LLMType
from providers.models import LLM, LLMFactory
from providers.probe_payloads import probe_payload
from providers.quirks import Quirks
from providers.services import matrix
from providers.target import Target
from providers.wire import Operation, UpstreamRequest
from tenants.models import Credential
from tenants.services.credentials import put_values, target_for
from tenants.services.values import check_values

KEY = "key-0123456789abcdef"
# A model where the catalogue lists none: tenants add their own.
NAMES = {"replicate": "owner/model", "bedrock": "amazon.nova-lite-v1:0", "spark": "x4_xiaoyan"}
# What a person enters where any text will not do.
VALUES = {
    "bedrock_region": "eu-west-1",
    "google_region": "us-central1",
    "google_service_account_key": base64.b64encode(
        json.dumps({"client_email": "a@b", "private_key": "k"}).encode()
    ).decode(),
    "endpoint_id": "ep-20260101",
    "provider_order": "",
    "api_version": "",
}


@dataclass(frozen=True)
class Cell:
    """One factory, model type and wire format, with the first model that the catalogue has of them."""

    factory: str
    model_type: LLMType
    dialect: str
    operation: Operation
    model: str

    def __str__(self) -> str:
        return f"{self.factory}-{self.model_type}"


@cache
def catalogue() -> ParsedCatalogue:
    files = sorted(Path(settings.CATALOG_DIR).glob("*.json"))
    return formats.merged([formats.parse(file.read_bytes()) for file in files])


@cache
def rows() -> Mapping[str, LLMFactory]:
    return {record.name: LLMFactory(name=record.name, **record.values) for record in catalogue().factories}


@cache
def cells() -> tuple[Cell, ...]:
    """The cells that can be called."""
    found = [cell for cell in matrix.from_fixtures() if cell.callable]
    return tuple(
        Cell(
            cell.factory,
            cell.model_type,
            cell.dialect,
            cell.operation,
            _model(cell.factory, cell.model_type, cell.dialect),
        )
        for cell in found
    )


def cell(factory: str, model_type: LLMType | str) -> Cell:
    return next(one for one in cells() if (one.factory, one.model_type) == (factory, model_type))


def _model(factory: str, model_type: LLMType, dialect: str) -> str:
    own = Quirks.from_data(rows()[factory].quirks)
    for record in catalogue().models:
        if record.factory == factory and model_type in record.values["model_types"]:
            quirks = own.merge(Quirks.from_data(record.values.get("quirks"))).resolved(record.llm_name, {})
            if (quirks.dialect_for(model_type) or rows()[factory].dialect) == dialect:
                return record.llm_name + rows()[factory].name_suffix
    return NAMES.get(dialect, "model") + rows()[factory].name_suffix


def target(of: Cell, base_url: str = "", *, model: str = "", key: str = KEY, **entered: str) -> Target:
    """Where the product would send the call of a tenant with this base URL and these values; `key` "" is no key."""
    factory = rows()[of.factory]
    credential = Credential(tenant_id="t" * 20, factory=factory, base_url=base_url)
    specs = factory.fields_for(of.model_type)
    values: dict[str, Any] = {spec["name"]: _value(spec, key) for spec in specs} | entered
    put_values(
        credential, check_values(factory, {name: value for name, value in values.items() if value}, partial=not key)
    )
    name = model or of.model
    found = (one for one in catalogue().models if (one.factory, one.llm_name) == (of.factory, name))
    llm = next((LLM(factory=factory, llm_name=name, quirks=one.values.get("quirks") or {}) for one in found), None)
    return target_for(credential, llm_name=name, model_type=of.model_type, llm=llm)


def _value(spec: Mapping[str, Any], key: str) -> Any:
    if spec.get("choices"):
        return spec.get("default") or spec["choices"][0]
    if spec["name"] in VALUES:
        return VALUES[spec["name"]] if not spec.get("secret") or key else ""
    if spec.get("secret"):
        return {"paddleocr_access_token": key} if spec.get("json") and key else key
    return spec.get("default") or "value"


def request(of: Cell, to: Target, operation: Operation | None = None, **payload: Any) -> UpstreamRequest:
    """The request that is built for a probe of the cell, with more in its payload; or for its list of models."""
    if operation is Operation.MODELS:
        return dialects.get(listing(of)).build(operation, payload, to)
    return dialects.get(to.dialect).build(of.operation, {**probe_payload(of.model_type, to.quirks), **payload}, to)


def listing(of: Cell) -> str:
    """The dialect that lists the factory's models; "" if it lists none."""
    name = rows()[of.factory].dialect
    quirks = Quirks.from_data(rows()[of.factory].quirks)
    lists = not quirks.no_model_list and Operation.MODELS in dialects.operations(name)
    return name if lists else ""
