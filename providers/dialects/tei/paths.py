"""Where its calls go: to the root of the server, which serves one model."""

from __future__ import annotations

import re

from providers.dialects.roots import root_url
from providers.target import Target
from providers.wire import Operation

# What a pasted base URL may end in: OpenAI's compatible branch, or the path of a call.
_KNOWN = re.compile(r"(?:/v1)?(?:/(?:embed|embed_all|embeddings|rerank|predict|info|health|models))?$", re.I)


def url(target: Target, operation: Operation, path: str) -> str:
    """The URL of an operation; raises WrongURL."""
    return root_url(target, operation, path, known=_KNOWN)
