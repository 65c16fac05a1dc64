"""What people change in the catalogue by hand: every write has its history row and its audit event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models, transaction
from simple_history.utils import bulk_update_with_history

from core import audit
from core.audit import Actor
from core.clock import now
from core.errors import Conflict
from providers.catalog.diff import OPERATOR
from providers.models import LLM, VALID, LLMFactory
from providers.services.history import history_user
from providers.services.statuses import check_status

PRICES = ("input_price", "output_price", "cached_input_price")
_NAMED_IN_AUDIT = 50
_UNTRACKED = frozenset({"id", "updated_at", "created_at", "imported", "source"})


@transaction.atomic
def save_factory(factory: LLMFactory, *, actor: Actor) -> LLMFactory:
    """Store a validated factory, new or changed."""
    _save(factory, actor)
    return factory


@transaction.atomic
def save_llm(llm: LLM, *, actor: Actor) -> LLM:
    """Store a validated model, new or changed. A price that a person changed is theirs from then on."""
    before = LLM.objects.filter(pk=llm.pk).first() if llm.pk else None
    own = tuple(getattr(llm, column) for column in PRICES)
    if own != (tuple(getattr(before, column) for column in PRICES) if before else (None, None, None)):
        priced = any(price is not None for price in own)
        llm.price_source, llm.priced_at = (OPERATOR, now()) if priced else ("", None)
    _save(llm, actor, before)
    return llm


@transaction.atomic
def set_status(rows: Iterable[LLMFactory] | Iterable[LLM], *, status: str, actor: Actor) -> int:
    """Enable or disable rows of one kind; how many changed."""
    check_status(status)
    changed = [row for row in rows if row.status != status]
    if not changed:
        return 0
    moment = now()
    for row in changed:
        row.status, row.updated_at = status, moment
    model = type(changed[0])
    bulk_update_with_history(
        changed, model, ["status", "updated_at"], batch_size=500, default_user=history_user(actor), default_date=moment
    )
    names = sorted(str(row) for row in changed)
    audit.record(
        f"{_noun(changed[0])}.{'enabled' if status == VALID else 'disabled'}",
        actor=actor,
        target=names[0] if len(names) == 1 else f"{len(names)} {model._meta.verbose_name_plural}",
        names=names[:_NAMED_IN_AUDIT],
        count=len(names),
    )
    return len(changed)


@transaction.atomic
def delete(row: LLMFactory | LLM, *, actor: Actor) -> None:
    """Remove a row from the catalogue; raises Conflict while tenants have keys for the factory."""
    row._history_user = history_user(actor)  # type: ignore[union-attr]
    target, noun = str(row), _noun(row)
    try:
        row.delete()
    except models.ProtectedError as error:
        raise Conflict(f"{target} is in use by tenants.", hint="Disable it instead.") from error
    audit.record(f"{noun}.deleted", actor=actor, target=target)


def _save(row: Any, actor: Actor, before: Any = None) -> None:
    before = before or (type(row).objects.filter(pk=row.pk).first() if row.pk else None)
    changed = [
        field.name
        for field in row._meta.concrete_fields
        if field.name not in _UNTRACKED
        and before is not None
        and getattr(before, field.attname) != getattr(row, field.attname)
    ]
    if before is not None and not changed:
        return
    row._history_user = history_user(actor)
    row.save()
    audit.record(
        f"{_noun(row)}.{'updated' if before else 'created'}", actor=actor, target=str(row), row=row.pk, changed=changed
    )


def _noun(row: LLMFactory | LLM) -> str:
    return "factory" if isinstance(row, LLMFactory) else "llm"
