"""System checks of what bounds calls.

W019  several web workers count limits each for itself
W020  models without a price that a budget refuses (`--database default`)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning, register
from django.db.models import Q

from tenants.checks import of_stored_rows
from tenants.models import TenantLLM
from usage.models import Budget

NAMED = 5


@register()
def check_counting(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.WEB_WORKERS == 1 or settings.REDIS_URL:
        return []
    return [
        Warning(
            f"{settings.WEB_WORKERS} web workers count limits and budgets each for itself.",
            hint="Each enforces its share of a limit, and sees late what the others spend. Set REDIS_URL to count "
            "together and exactly, or WEB_WORKERS=1.",
            id="llmadmin.W019",
        )
    ]


@of_stored_rows
def check_unpriced(database: str) -> list[CheckMessage]:
    """Only where a budget of the whole tenant or of the model's factory refuses what has no price."""
    strict = Budget.objects.using(database).in_force().filter(blocks=True, allow_unpriced=False, token=None)
    whole = strict.filter(factory=None).values("tenant")
    of_factories = strict.exclude(factory=None).values_list("tenant", "factory").distinct()
    applies = Q(tenant__in=whole)
    for tenant, factory in of_factories[:1000]:
        applies |= Q(tenant=tenant, factory=factory)
    unpriced = Q(llm=None) | Q(llm__price_source="")
    rows = TenantLLM.objects.using(database).usable().filter(applies, unpriced).select_related("factory")
    names = list(dict.fromkeys(str(row) for row in rows.order_by("llm_name", "id")[:1000]))
    if not names:
        return []
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return [
        Warning(
            f"Budgets refuse models that have no price: {', '.join(names[:NAMED])}{more}.",
            hint="Price them in the catalogue (0 for what costs nothing), or allow unpriced models on the budget.",
            id="llmadmin.W020",
        )
    ]
