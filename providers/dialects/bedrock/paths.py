"""The path of a model's calls: its id or ARN is one segment of it.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_RequestParameters
"""

from __future__ import annotations

import re
from urllib.parse import quote

from providers.errors import ModelNotFound
from providers.target import Target
from providers.wire import Operation

NAME = "bedrock"
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/._\-]{0,2047}")


def url(target: Target, operation: Operation, call: str) -> str:
    """The URL of a call; raises ModelNotFound for what no model is called, and WrongURL."""
    model = target.upstream_model
    if not _MODEL.fullmatch(model):
        raise ModelNotFound("No model of this wire format has such a name.", step="build")
    return target.url_for(operation, f"/model/{quote(model, safe='')}/{call}")


def family(model: str) -> str:
    """The model's own id, such as cohere.embed-english-v3, out of an ARN or the id of an inference profile."""
    last = model.rpartition("/")[2]
    return re.sub(r"^(?:us|us-gov|eu|apac|au|jp|ca|global)\.", "", last)
