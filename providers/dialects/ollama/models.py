"""The local models; and, asked with {"model": name}, what one of them can do.

Sources: https://docs.ollama.com/api/tags and https://docs.ollama.com/api-reference/show-model-details
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from providers.dialects.base import get_request, json_request
from providers.dialects.bodies import load_object
from providers.dialects.ollama import paths
from providers.dialects.openai import models
from providers.target import Target
from providers.wire import Operation, RemoteModel, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    if payload.get("model"):
        return json_request(paths.url(target, Operation.MODELS, "/api/show"), {"model": payload["model"]})
    return get_request(paths.url(target, Operation.MODELS, "/api/tags"))


def parse(headers: Mapping[str, str], body: bytes) -> list[RemoteModel]:
    """The list; or one entry whose `raw` says what a model can do, without an id, which Ollama does not repeat."""
    data = load_object(headers, body)
    if "models" not in data and ("capabilities" in data or "model_info" in data):
        return [RemoteModel("", raw=data)]
    listed = models.parse(headers, body)
    return [model if _is_described(model.raw) else replace(model, details={"model": model.id}) for model in listed]


def _is_described(raw: Mapping[str, Any]) -> bool:
    details = raw.get("details")
    return "capabilities" in raw and isinstance(details, Mapping) and "context_length" in details
