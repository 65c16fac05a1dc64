"""What was once asked for as a secret stays one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def unveiled(before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]) -> list[str]:
    """The credential fields that were secret and would no longer be: keys entered later would be stored in clear."""
    secret = {spec["name"] for spec in before if spec.get("secret")}
    return sorted(spec["name"] for spec in after if spec.get("name") in secret and not spec.get("secret"))
