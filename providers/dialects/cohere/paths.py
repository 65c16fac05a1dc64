"""Where Cohere's calls go: each path begins with its version, /v2 for most and /v1 for the list of models."""

from __future__ import annotations

import re

from providers.dialects.roots import root_url
from providers.target import Target
from providers.wire import Operation

# What a pasted base URL may end in: a version, OpenAI's compatible branch, or the path of a call.
_KNOWN = re.compile(r"(?:/compatibility)?(?:/v\d+)?(?:/(?:chat|embed|rerank|models|audio/transcriptions))?$", re.I)


def url(target: Target, operation: Operation, path: str) -> str:
    """The URL of an operation; raises WrongURL."""
    return root_url(target, operation, path, known=_KNOWN)
