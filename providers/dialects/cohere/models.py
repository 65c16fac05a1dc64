"""The list of models, whose `endpoints` say what each can do. Source: https://docs.cohere.com/reference/list-models"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from providers.dialects.base import get_request
from providers.dialects.bodies import load_object
from providers.dialects.cohere import paths
from providers.dialects.failures import classify_body
from providers.dialects.openai import models
from providers.target import Target
from providers.wire import ModelPage, Operation, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    query = {"page_size": 1000, **{name: payload[name] for name in ("page_token", "endpoint") if payload.get(name)}}
    return get_request(f"{paths.url(target, Operation.MODELS, '/v1/models')}?{urlencode(query)}")


def parse(headers: Mapping[str, str], body: bytes) -> ModelPage:
    data = load_object(headers, body)
    if isinstance(data.get("message"), str):
        raise classify_body(200, body)
    page = ModelPage(models.parse(headers, body))
    if isinstance(token := data.get("next_page_token"), str) and token:
        page.next_page = {"page_token": token}
    return page
