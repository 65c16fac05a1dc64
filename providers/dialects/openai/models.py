"""The list of models. Source: https://platform.openai.com/docs/api-reference/models/list"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import get_request
from providers.dialects.bodies import load, unexpected
from providers.dialects.failures import classify_body
from providers.target import Target
from providers.wire import Operation, RemoteModel, UpstreamRequest

PATH = "/models"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    return get_request(target.url_for(Operation.MODELS, PATH))


def parse(headers: Mapping[str, str], body: bytes) -> list[RemoteModel]:
    """Every entry that has a name; some vendors answer with a bare list."""
    data = load(headers, body)
    outer: dict[str, Any] = data if isinstance(data, dict) else {}
    named = (outer.get("data"), outer.get("models"))
    items = data if isinstance(data, list) else next((value for value in named if isinstance(value, list)), None)
    if items is None:
        if outer.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer is not a list of models.", headers, body)
    models: dict[str, RemoteModel] = {}
    for item in items:
        entry = item if isinstance(item, dict) else {"id": item}
        name = next((v for n in ("id", "name", "model", "key") if isinstance(v := entry.get(n), str) and v), "")
        owner, created = entry.get("owned_by"), entry.get("created")
        if name:
            models[name] = RemoteModel(
                id=name,
                owned_by=owner if isinstance(owner, str) else "",
                created=created if type(created) is int else None,
                raw={**entry, **models[name].raw} if name in models else entry,  # one entry for each of its endpoints
            )
    return list(models.values())
