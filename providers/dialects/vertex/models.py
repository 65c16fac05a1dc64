"""Google's own models in Model Garden, by pages; those of other publishers are not in this list.

Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/publishers.models/list
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from providers.dialects.base import get_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import text
from providers.dialects.gemini import errors
from providers.dialects.roots import root_url
from providers.target import Target
from providers.wire import ModelPage, Operation, RemoteModel, UpstreamRequest

PATH = "/v1beta1/publishers/google/models"  # the list is not in v1
PAGE_SIZE = 100
_VERSION = re.compile(r"/v\d+(?:beta\d*)?$")
_PREFIX = "publishers/google/models/"


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`page_token` is what the page before gave."""
    query = {"pageSize": str(PAGE_SIZE)}
    if token := payload.get("page_token"):
        query["pageToken"] = str(token)
    address = root_url(target, Operation.MODELS, PATH, known=_VERSION)
    return get_request(f"{address}?{urlencode(query, errors='replace')}")


def parse(headers: Mapping[str, str], body: bytes) -> ModelPage:
    data = load_object(headers, body)
    items = data.get("publisherModels", None if data else [])
    if not isinstance(items, list):
        if data.get("error"):
            raise errors.in_success(body)
        raise unexpected("The answer is not a list of models.", headers, body)
    names = {text(item, "name").removeprefix(_PREFIX): item for item in items}
    page = ModelPage(RemoteModel(id=name, owned_by="google", raw=item) for name, item in names.items() if name)
    if token := text(data, "nextPageToken"):
        page.next_page = {"page_token": token}
    return page
