"""The models of a region that can be called on demand, and then the inference profiles, which stand for the others.

Another host than the runtime's: the row's quirks name it. Sources:
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListInferenceProfiles.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from providers.dialects.base import get_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.completions import text
from providers.target import Target
from providers.wire import ModelPage, Operation, RemoteModel, UpstreamRequest

PAGE_SIZE = 1000


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`profiles_after` asks for the inference profiles: "" for the first of them, or what the page before gave."""
    token = payload.get("profiles_after")
    if token is None:
        return get_request(target.url_for(Operation.MODELS, "/foundation-models"))
    query = {"maxResults": str(PAGE_SIZE), **({"nextToken": str(token)} if token else {})}
    url = target.url_for(Operation.MODELS, "/inference-profiles")
    return get_request(f"{url}?{urlencode(query, errors='replace')}")


def parse(headers: Mapping[str, str], body: bytes) -> ModelPage:
    data = load_object(headers, body)
    models, profiles = data.get("modelSummaries"), data.get("inferenceProfileSummaries")
    if isinstance(models, list):
        page = _page(models, "modelId")
        page.next_page = {"profiles_after": ""}
    elif isinstance(profiles, list):
        page = _page(profiles, "inferenceProfileId")
        if token := text(data, "nextToken"):
            page.next_page = {"profiles_after": token}
    else:
        raise unexpected("The answer is not a list of models.", headers, body)
    return page


def _page(items: list[Any], key: str) -> ModelPage:
    listed = [item for item in items if isinstance(item, dict) and text(item, key) and _on_demand(item)]
    return ModelPage(RemoteModel(text(item, key), owned_by=text(item, "providerName"), raw=item) for item in listed)


def _on_demand(item: Mapping[str, Any]) -> bool:
    """Whether a call may name it: a model without that is called through one of its profiles."""
    ways = item.get("inferenceTypesSupported")
    return not isinstance(ways, list) or "ON_DEMAND" in ways
