"""The switch that factories, models, tenants and credentials have: “1” is enabled, “0” disabled."""

from __future__ import annotations

from core.errors import InvalidInput
from providers.models import INVALID, VALID


def check_status(status: str) -> str:
    """The status; raises InvalidInput for anything that is none."""
    if status not in (VALID, INVALID):
        expected = f"Use “{VALID}” (enabled) or “{INVALID}” (disabled)."
        raise InvalidInput("Unknown status.", fields={"status": [expected]})
    return status
