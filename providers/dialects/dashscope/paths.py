"""URLs: the native API lives under /api/v1, beside the one in OpenAI's format under /compatible-mode/v1."""

from __future__ import annotations

import re

from providers.dialects.roots import root_url
from providers.target import Target
from providers.wire import Operation

RERANK = "/api/v1/services/rerank/text-rerank/text-rerank"
GENERATION = "/api/v1/services/aigc/multimodal-generation/generation"
_KNOWN = re.compile(r"(?<=[^/])/(?:(?:compatible-mode|compatible-api|api)(?:/v1(?:/.*)?)?|v1)$")


def url(target: Target, operation: Operation, path: str) -> str:
    return root_url(target, operation, path, known=_KNOWN)
