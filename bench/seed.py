"""Rows for the benchmark: a tenant, its token, limits and a budget that are never reached, models at the upstream.

Run by `manage.py shell`; prints the token.
"""

from __future__ import annotations

import os
from decimal import Decimal

from django.contrib.auth.models import User

from core.audit import SYSTEM, Actor
from providers.models import LLM, LLMFactory
from tenants.models import Membership, Role, Tenant
from tenants.services import credentials, tenant_llms, tokens
from usage.models import BudgetPeriod
from usage.services import budgets, limits

MANY = 1_000_000_000


def seed(bases: dict[str, str]) -> str:
    """A model `name` at each base URL."""
    user = User.objects.create(username="bench")
    tenant = Tenant.objects.create(name="Bench")
    Membership.objects.create(tenant=tenant, user=user, role=Role.OWNER)
    for name, base_url in bases.items():
        factory = LLMFactory.objects.create(name=f"Bench {name}", quirks={"version_path": "/v1"})
        LLM.objects.create(
            factory=factory,
            llm_name=name,
            model_types=["chat"],
            input_price=Decimal("0.15"),
            output_price=Decimal("0.6"),
            price_source="operator",
        )
        credential = credentials.create(
            tenant=tenant, factory=factory, base_url=base_url, values={"api_key": "sk-bench"}, actor=SYSTEM
        )
        tenant_llms.add(credential=credential, llm_name=name, model_types=["chat"], actor=SYSTEM)
    limits.create(
        tenant=tenant, requests_per_minute=MANY, tokens_per_minute=MANY * 10, parallel=1_000_000, actor=SYSTEM
    )
    budgets.create(tenant=tenant, amount=Decimal(1_000_000), period=BudgetPeriod.MONTH, actor=SYSTEM)
    return tokens.create(tenant=tenant, name="bench", scopes=["invoke"], actor=Actor(user_id=user.pk))[1]


if "BENCH_UPSTREAM" in os.environ:
    root, slow = os.environ["BENCH_UPSTREAM"], os.environ["BENCH_SLOW"]
    print("TOKEN=" + seed({"bench": root, "bench-stream": f"{root}/stream", "bench-slow": slow}))
