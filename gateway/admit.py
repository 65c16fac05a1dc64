"""Leave to call: limits and budgets, counted before anything is sent and corrected by what was really used."""

from __future__ import annotations

import time
from decimal import Decimal

from gateway import errors, estimate, meter, metrics
from gateway.call import Call
from gateway.deployments import Deployment
from gateway.snapshot import MAX_REMEMBERED
from providers.wire import Operation
from usage.admission import MAX_TOKENS, Admission, BudgetLine, Counters, Limit, Refused, applying, units_of
from usage.pricing import ceiling

Bounds = tuple[tuple[Limit, ...], tuple[BudgetLine, ...]]


class Admissions:
    """What one call has been given leave for. A fallback to another model is admitted anew, as that model's."""

    __slots__ = ("_admission", "_call", "_counters", "_for")

    def __init__(self, counters: Counters, call: Call) -> None:
        self._counters, self._call = counters, call
        self._admission: Admission | None = None
        self._for: tuple[str, str] | None = None

    async def enter(self, deployment: Deployment) -> None:
        """Raises GatewayError, if a limit or a budget does not allow it."""
        asked = (deployment.model_id, deployment.factory)
        if self._for == asked:
            return
        if self._admission is not None:
            await self.settle(0, Decimal(0))
        limits, budgets = self._bounds(deployment)
        self._for = asked
        if not limits and not budgets:
            return
        call = self._call
        given = estimate.input_tokens(call.payload, call.size_bytes)
        out = estimate.max_output_tokens(call.payload) if call.operation in estimate.GENERATES else 0
        most = _most(call, deployment, given, out) if budgets else Decimal(0)
        try:
            self._admission = await self._counters.admit(
                limits,
                budgets,
                tokens=min(given + out, MAX_TOKENS),
                units=None if most is None else units_of(most),
                now=time.time(),
            )
        except Refused as refused:
            self._for = None
            metrics.counts.refuse(refused.kind)
            raise errors.refused(refused) from None
        call.headers |= self._admission.headers

    async def settle(self, tokens: int | None, cost: Decimal | None) -> None:
        """Put what was used in the place of what was set aside; None is unknown."""
        admission, self._admission = self._admission, None
        if admission is not None:
            await self._counters.settle(admission, tokens=tokens, units=None if cost is None else units_of(cost))

    def _bounds(self, deployment: Deployment) -> Bounds:
        tenant, caller = self._call.tenant, self._call.caller
        key = (caller.token_id, deployment.model_id)
        found = tenant.bounds.get(key)
        if found is None:
            found = applying(tenant.lines, caller.token_id, deployment.model_id, deployment.factory)
            if len(tenant.bounds) < MAX_REMEMBERED:
                tenant.bounds[key] = found
        return found


def _most(call: Call, deployment: Deployment, given: int, out: int) -> Decimal | None:
    """What the call may cost: at the service tier that it asks for, or at the standard one if that costs more."""
    known = meter.of_input(call) if call.operation is Operation.SPEECH else None  # the characters to be spoken
    most = ceiling(deployment.price, input_tokens=given, max_output_tokens=out, known=known)
    tier = call.payload.get("service_tier")
    if most is None or not isinstance(tier, str) or tier in meter.STANDARD:
        return most
    there = ceiling(deployment.price, input_tokens=given, max_output_tokens=out, context=meter.context_of(tier))
    return None if there is None else max(most, there)
