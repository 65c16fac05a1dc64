"""Who sees and who changes what: tenants what they may call, staff the rest, as their permissions in the admin say."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request

from core.errors import Forbidden
from core.principal import Principal

APPROVE = "approve_networks"


def may(request: Any, permission: str) -> bool:
    """Whether it is staff, logged in, with this permission: `APPROVE`, or view, add, change, delete of services."""
    principal, user = getattr(request, "auth", None), getattr(request, "user", None)
    staff = isinstance(principal, Principal) and principal.is_staff
    codename = permission if permission == APPROVE else f"{permission}_llmservice"
    return staff and user is not None and user.has_perm(f"runtimes.{codename}")


def require(request: Request, permission: str) -> None:
    """Raise Forbidden unless they may."""
    if not may(request, permission):
        wanted = "approve networks" if permission == APPROVE else f"{permission} service"
        raise Forbidden(
            "Services are set up by staff.",
            hint=f"Log in as staff with the permission “{wanted}”. GET /llm/services tells what there is.",
        )
