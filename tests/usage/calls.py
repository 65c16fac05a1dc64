"""Metered calls for tests, and what the books have to say about them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from core.ids import new_id
from providers.models import LLMFactory
from tenants.models import Credential, Tenant, TenantLLM
from usage.models import UsageDaily, UsageRecord
from usage.models.records import DIMENSIONS, MEASURES
from usage.records import COUNTS, CallRecord, Usage

TENANT = "0" * 31 + "1"


def make_call(**fields: Any) -> CallRecord:
    """A chat that was answered, but for what is given; counts may be given by their own names."""
    counts = {name: fields.pop(name) for name in (*COUNTS, "estimated") if name in fields}
    usage = Usage(**counts) if counts else Usage(input_tokens=100, output_tokens=20)
    values: dict[str, Any] = {
        "id": new_id(),
        "tenant_id": TENANT,
        "token_id": "",
        "tenant_llm_id": None,
        "factory": "Vendor",
        "llm_name": "gpt",
        "model": "gpt@Vendor",
        "route": "",
        "operation": "chat",
        "stream": False,
        "started_at": time.time(),
        "latency_ms": 250,
        "first_token_ms": None,
        "outcome": "complete",
        "status": 200,
        "error_code": "",
        "attempts": (("gpt@Vendor", "ok", 249),),
        "usage": usage,
        "cost": Decimal("0.0012500000"),
        "request_id": "req-1",
        "end_user": "",
    }
    return CallRecord(**{**values, **fields})


def make_models(tenant: Tenant, count: int) -> list[TenantLLM]:
    """Models that the tenant may call: model-0@Vendor and so on."""
    factory, _ = LLMFactory.objects.get_or_create(name="Vendor", base_url="https://vendor.example/v1")
    credential = Credential.objects.create(tenant=tenant, factory=factory)
    return [
        TenantLLM.objects.create(
            tenant=tenant, credential=credential, factory=factory, llm_name=f"model-{number}", model_types=["chat"]
        )
        for number in range(count)
    ]


def booked() -> dict[tuple[Any, ...], dict[str, Any]]:
    """The roll-ups: dimensions → measures."""
    return {
        tuple(getattr(row, name) for name in DIMENSIONS): {name: getattr(row, name) for name in MEASURES}
        for row in UsageDaily.objects.all()
    }


def expected(calls: Iterable[CallRecord]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The same, worked out in the plainest way from the calls, each taken once."""
    sums: dict[tuple[Any, ...], Counter[str]] = {}
    costs: dict[tuple[Any, ...], Decimal] = {}
    for call in {call.id: call for call in calls}.values():
        day = datetime.fromtimestamp(call.started_at, UTC).date()
        key = (call.tenant_id, day, call.token_id, call.tenant_llm_id or 0, call.factory, call.llm_name, call.operation)
        found = sums.setdefault(key, Counter())
        found["calls"] += 1
        found["errors"] += call.outcome == "error"
        found["estimated"] += call.usage.estimated
        found["unpriced"] += call.cost is None and call.outcome != "error"
        for name in COUNTS:
            found[name] += getattr(call.usage, name) or 0
        costs[key] = costs.get(key, Decimal(0)) + (call.cost or 0)
    return {
        key: {**{name: found[name] for name in MEASURES if name != "cost"}, "cost": costs[key]}
        for key, found in sums.items()
    }


def check_books(calls: Iterable[CallRecord], *, used_before: int = 0) -> None:
    """The ledger holds these calls and no others, and everything that is summed up agrees with it."""
    calls = list(calls)
    ids = sorted({call.id for call in calls})
    assert sorted(UsageRecord.objects.order_by().values_list("id", flat=True)) == ids
    assert booked() == expected(calls)
    for model in TenantLLM.objects.all():
        mine = {call.id: call for call in calls if call.tenant_llm_id == model.pk}
        assert model.used_tokens == used_before + sum(call.usage.total_tokens for call in mine.values())


def calls_of_ledger() -> list[CallRecord]:
    """The records that were booked, as calls."""
    return [
        make_call(
            id=row.id,
            tenant_id=row.tenant_id,
            token_id=row.token_id or "",
            tenant_llm_id=row.tenant_llm_id,
            factory=row.factory,
            llm_name=row.llm_name,
            operation=row.operation,
            started_at=row.started_at.timestamp(),
            outcome=row.outcome,
            cost=row.cost,
            usage=Usage(*[getattr(row, name) for name in COUNTS], row.estimated),
        )
        for row in UsageRecord.objects.all()
    ]
