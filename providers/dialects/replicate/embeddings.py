"""Embeddings. Each model names its input as it likes; a row says so by renaming `input`.

Under `texts` goes a list; under any other name, such as `text_batch`, the same list as JSON in a text.
Sources: https://replicate.com/ibm-granite/granite-embedding-278m-multilingual/api and
https://replicate.com/replicate/all-mpnet-base-v2/api
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from providers.dialects.base import require
from providers.dialects.bodies import unexpected
from providers.dialects.completions import text, tokens
from providers.dialects.replicate.predictions import request, succeeded
from providers.dialects.vectors import read_texts, read_vector
from providers.dialects.vocabulary import bad, refuse_others
from providers.target import Target
from providers.wire import Embeddings, Operation, UpstreamRequest


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    require(payload, "input")
    texts = read_texts(payload["input"])
    asked = target.quirks.apply_params(Operation.EMBEDDINGS, payload)
    name = target.quirks.params.rename.get("input", "texts")
    # The answer is read into numbers in any case, so the encoding makes no difference.
    refuse_others(asked, {"input", name, "encoding_format"}, "replicate")
    try:
        given: Any = texts if name == "texts" else orjson.dumps(texts).decode()
    except TypeError:
        raise bad("A text of the input cannot be sent as JSON.") from None
    return request(target, Operation.EMBEDDINGS, {name: given})


def parse(headers: Mapping[str, str], body: bytes) -> Embeddings:
    data = succeeded(Operation.EMBEDDINGS, headers, body)
    output = data.get("output")
    if not isinstance(output, list) or not output:
        raise unexpected("The prediction's output holds no embeddings.", headers, body)
    vectors = []
    for item in output:
        value = item.get("embedding") if isinstance(item, dict) else item
        vector = read_vector(value) if isinstance(value, list) else None
        if not vector:
            raise unexpected("An embedding is not a list of numbers.", headers, body)
        vectors.append(vector)
    count = tokens(data.get("metrics"), "input_token_count")
    return Embeddings(
        vectors,
        usage=None if count is None else {"prompt_tokens": count, "total_tokens": count},
        model=text(data, "model"),
    )
