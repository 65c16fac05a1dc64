"""Secrets that are two keys: an id that names the caller, and a key that signs for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from providers.errors import AuthenticationFailed
from providers.target import CredentialFields
from providers.wire import UpstreamRequest

_KEY = re.compile(r"[\x21\x23-\x7e]{1,4096}")  # without quotes


class Pair(NamedTuple):
    id: str
    key: str

    def __repr__(self) -> str:
        return "<Pair>"


def read_pair(
    request: UpstreamRequest, credential: CredentialFields, ids: Iterable[str], keys: Iterable[str], *, missing: str
) -> Pair | None:
    """The pair under the first of these names that the secret, a JSON object, has; None if there is no secret.

    Raises AuthenticationFailed, whose message is `missing`, if the secret is not such a pair.
    """
    text = credential.reveal(origin=request.origin).strip()
    if not text:
        return None
    try:
        parts = json.loads(text)
    except (ValueError, RecursionError):
        parts = None
    if isinstance(parts, dict):
        held = {name: value.strip() for name, value in parts.items() if isinstance(value, str) and value.strip()}
        found = [next((held[name] for name in names if name in held), "") for names in (ids, keys)]
        if all(map(_KEY.fullmatch, found)):
            return Pair(*found)
    raise AuthenticationFailed(missing, hint="Copy both keys again.", step="sign")
