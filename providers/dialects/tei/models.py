"""The one model that a server has; `raw` tells its kind and limits.

Source: https://huggingface.github.io/text-embeddings-inference/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.dialects.base import get_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.failures import classify_body
from providers.dialects.tei import paths
from providers.target import Target
from providers.wire import Operation, RemoteModel, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    return get_request(paths.url(target, Operation.MODELS, "/info"))


def parse(headers: Mapping[str, str], body: bytes) -> list[RemoteModel]:
    data = load_object(headers, body)
    name = data.get("model_id")
    if not isinstance(name, str) or not name:
        if data.get("error"):
            raise classify_body(200, body)
        raise unexpected("The answer names no model.", headers, body)
    return [RemoteModel(name, raw=data)]
