"""On whose behalf a command acts."""

from __future__ import annotations

from argparse import ArgumentParser

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from core import audit


def add_user_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--user", default="", help="Whose name the history and the audit log show.")


def actor_named(username: str) -> audit.Actor:
    """The user of that name as an actor; the system when it is empty."""
    if not username:
        return audit.SYSTEM
    user = get_user_model()._default_manager.filter(username=username).first()
    if user is None:
        raise CommandError(f"There is no user {username!r}.")
    return audit.Actor(user_id=user.pk, label=username)
