"""On whose behalf a row's history says that it was changed."""

from __future__ import annotations

from django.contrib.auth.models import User

from core.audit import Actor


def history_user(actor: Actor) -> User | None:
    """The user that acts, as `HistoricalRecords` wants to know them; None for the system."""
    return User.objects.filter(pk=actor.user_id).first() if actor.user_id else None
