"""Announces that something was done, and by whom.

Every service that writes calls `record`; the room that keeps the audit log listens and stores a row in the same
transaction, so that an event exists exactly when its change does. Rooms below it need not know where it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.dispatch import Signal

recorded = Signal()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: a user, a token acting for one, or the system itself (both None)."""

    user_id: int | None = None
    token_id: str | None = None
    label: str = "system"
    address: str = ""


SYSTEM = Actor()


@dataclass(frozen=True, slots=True)
class Event:
    action: str
    actor: Actor
    tenant_id: str | None
    target: str
    detail: dict[str, Any] = field(default_factory=dict)


def record(action: str, *, actor: Actor, tenant_id: str | None = None, target: str = "", **detail: Any) -> None:
    """Announce one event.

    `action` is `noun.verb` ("credential.rotated"), `target` a short name of what it was done to.
    `detail` must hold JSON values and never a secret: fingerprints and last four characters are fine.
    """
    recorded.send(sender=None, event=Event(action, actor, tenant_id, target, detail))
