"""The path of a model's methods. Source: https://ai.google.dev/api/models"""

from __future__ import annotations

import re
from collections.abc import Callable

from providers.errors import ModelNotFound
from providers.target import Target
from providers.wire import Operation

NAME = "gemini"
URLOf = Callable[[Target, Operation, str], str]
_RESOURCE = re.compile(r"[A-Za-z0-9][\w.\-]*(?:/[A-Za-z0-9][\w.\-]*)*", re.A)


def resource(model: str) -> str:
    """The model as a resource: `models/…`, unless its name says which kind it is. ModelNotFound for no name at all."""
    if not _RESOURCE.fullmatch(model) or len(model) > 200:
        raise ModelNotFound("No model of this wire format has such a name.", step="build")
    return model if "/" in model else f"models/{model}"


def url(target: Target, operation: Operation, method: str) -> str:
    return target.url_for(operation, f"/{resource(target.upstream_model)}:{method}")
