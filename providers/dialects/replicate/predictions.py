"""One prediction: where it is created, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import get_request, json_request
from providers.dialects.bodies import load_object, unexpected, words
from providers.dialects.replicate.errors import of_failed
from providers.dialects.vocabulary import bad
from providers.errors import TimedOut
from providers.pending import Pending
from providers.target import Target
from providers.wire import Operation, UpstreamRequest

_ID = re.compile(r"[A-Za-z0-9]{1,64}")
_NAME = re.compile(r"([A-Za-z0-9][\w.\-]{0,99})/([A-Za-z0-9][\w.\-]{0,99})(?::([0-9a-f]{16,64}))?", re.A)


def request(target: Target, operation: Operation, given: Mapping[str, Any]) -> UpstreamRequest:
    """`owner/name` runs an official model, `owner/name:version` that version of any model."""
    match = _NAME.fullmatch(target.upstream_model)
    if match is None:
        raise bad("A model on Replicate is named owner/name or owner/name:version.")
    owner, name, version = match.groups()
    body: dict[str, Any] = {"input": dict(given)}
    path = f"/models/{owner}/{name}/predictions"
    if version:
        path, body = "/predictions", {"version": version, **body}
    return json_request(target.url_for(operation, path), body).with_headers({"Prefer": "wait"})


def succeeded(operation: Operation, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The prediction, which has its output; raises what else became of it, Pending if it is not finished."""
    data = load_object(headers, body)
    status = data.get("status")
    if status in ("starting", "processing"):
        identity = data.get("id")
        if not isinstance(identity, str) or not _ID.fullmatch(identity):
            raise unexpected("The prediction is not finished, and has no id to ask for.", headers, body)
        raise Pending(lambda target: get_request(target.url_for(operation, f"/predictions/{identity}")))
    if status in ("canceled", "aborted"):
        raise TimedOut("The prediction was canceled before it was finished.", step="parse")
    if status == "failed":
        raise of_failed(error if isinstance(error := data.get("error"), str) else "")
    if status not in ("succeeded", "successful"):
        said = f" Its status is “{words(status, 40)}”." if isinstance(status, str) else ""
        raise unexpected(f"The answer is not a finished prediction.{said}", headers, body)
    return data
