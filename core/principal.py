"""Who is asking, for which tenant, with which rights."""

from __future__ import annotations

from dataclasses import dataclass

from core.audit import Actor
from core.errors import Forbidden

ALL_SCOPES = frozenset({"read", "write", "invoke"})
MANAGER_ROLES = frozenset({"owner", "admin"})


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `tenant_id` is empty for a user who belongs to none."""

    actor: Actor
    tenant_id: str
    role: str
    scopes: frozenset[str]
    is_staff: bool = False

    @property
    def key(self) -> str:
        """By which its calls are counted."""
        return f"token:{self.actor.token_id}" if self.actor.token_id else f"user:{self.actor.user_id}"

    @property
    def may_write(self) -> bool:
        return "write" in self.scopes and self.role in MANAGER_ROLES

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the caller may do things of this scope in its tenant."""
        if scope not in self.scopes:
            raise Forbidden(f"This token lacks the scope “{scope}”.", hint="Make a token that has it.")
        if scope == "write" and self.role not in MANAGER_ROLES:
            raise Forbidden(
                "Only owners and admins of the tenant may change this.", hint="Ask an owner to do it, or for the role."
            )
