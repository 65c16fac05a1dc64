"""The list of models, a thousand to a page. Source: https://ai.google.dev/api/models#method:-models.list"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from providers.dialects.base import get_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import text
from providers.dialects.gemini import errors
from providers.target import Target
from providers.wire import ModelPage, Operation, RemoteModel, UpstreamRequest

PATH = "/models"
PAGE_SIZE = 1000


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`page_token` is what the page before gave."""
    query = {"pageSize": str(PAGE_SIZE)}
    if token := payload.get("page_token"):
        query["pageToken"] = str(token)
    return get_request(f"{target.url_for(Operation.MODELS, PATH)}?{urlencode(query, errors='replace')}")


def parse(headers: Mapping[str, str], body: bytes) -> ModelPage:
    data = load_object(headers, body)
    items = data.get("models")
    if not isinstance(items, list):
        if data.get("error"):
            raise errors.in_success(body)
        raise unexpected("The answer is not a list of models.", headers, body)
    names = {text(item, "name").removeprefix("models/"): item for item in items}
    page = ModelPage(RemoteModel(id=name, owned_by="google", raw=item) for name, item in names.items() if name)
    if token := text(data, "nextPageToken"):
        page.next_page = {"page_token": token}
    return page
