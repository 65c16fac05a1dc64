"""The list of models, a thousand to a page. Source: https://platform.claude.com/docs/en/api/models/list"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from providers.dialects.anthropic.request import HEADERS
from providers.dialects.base import get_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import text
from providers.target import Target
from providers.wire import ModelPage, Operation, RemoteModel, UpstreamRequest

PATH = "/models"
PAGE_SIZE = 1000


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`after_id` is the last model of the page before."""
    query = {"limit": str(PAGE_SIZE)}
    if after := payload.get("after_id"):
        query["after_id"] = str(after)
    url = f"{target.url_for(Operation.MODELS, PATH)}?{urlencode(query, errors='replace')}"
    return get_request(url).with_headers(HEADERS)


def parse(headers: Mapping[str, str], body: bytes) -> ModelPage:
    data = load_object(headers, body)
    items = data.get("data")
    if not isinstance(items, list):
        raise unexpected("The answer is not a list of models.", headers, body)
    models = {
        name: RemoteModel(id=name, owned_by=text(item, "owned_by") or "anthropic", created=_created(item), raw=item)
        for item in items
        if (name := text(item, "id"))
    }
    page = ModelPage(models.values())
    if data.get("has_more") is True and (last := text(data, "last_id")):
        page.next_page = {"after_id": last}
    return page


def _created(item: Mapping[str, Any]) -> int | None:
    if type(created := item.get("created")) is int:
        return created
    try:
        return int(datetime.fromisoformat(text(item, "created_at")).timestamp())
    except (ValueError, OverflowError):
        return None
