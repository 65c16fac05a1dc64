"""One call on its way through the gateway, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.ids import new_id
from gateway.deployments import Deployment
from gateway.snapshot import Caller, TenantSnapshot
from providers.wire import Operation
from usage.records import CallRecord, Outcome, Usage

MAX_END_USER = 128


@dataclass(slots=True)
class Attempt:
    """One try at one target. `code` is "ok", or what went wrong."""

    model_id: str
    code: str
    ms: int


@dataclass(slots=True)
class Call:
    """`payload` is in OpenAI's vocabulary, `model` what the caller wrote; times are seconds of the monotonic clock."""

    operation: Operation
    payload: dict[str, Any]
    model: str
    caller: Caller
    tenant: TenantSnapshot
    request_id: str
    stream: bool = False
    size_bytes: int = 0
    id: str = field(default_factory=new_id)
    began_at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.monotonic)
    route: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    deployment: Deployment | None = None
    first_token_ms: int | None = None
    tier: str = ""  # the service tier that the upstream says it served
    headers: dict[str, str] = field(default_factory=dict)
    reply: Any = None
    heard: list[Any] = field(default_factory=list)  # the pieces of a stream, where they are to be traced

    @property
    def elapsed_ms(self) -> int:
        return round((time.monotonic() - self.began) * 1000)

    def record(
        self, outcome: Outcome, *, status: int, usage: Usage, cost: Any = None, error_code: str = ""
    ) -> CallRecord:
        """The one line that the ledger gets of this call."""
        answered = self.deployment
        end_user = self.payload.get("user")
        return CallRecord(
            id=self.id,
            tenant_id=self.tenant.tenant_id,
            token_id=self.caller.token_id,
            tenant_llm_id=answered.tenant_llm_id if answered else None,
            factory=answered.factory if answered else "",
            llm_name=answered.llm_name if answered else "",
            model=self.model[:255],
            route=self.route,
            operation=self.operation.value,
            stream=self.stream,
            started_at=self.began_at,
            latency_ms=self.elapsed_ms,
            first_token_ms=self.first_token_ms,
            outcome=outcome.value,
            status=status,
            error_code=error_code,
            attempts=tuple((one.model_id, one.code, one.ms) for one in self.attempts),
            usage=usage,
            cost=cost,
            request_id=self.request_id,
            end_user=end_user[:MAX_END_USER] if isinstance(end_user, str) else "",
        )


@dataclass(slots=True)
class Done:
    """An answer that is complete: its bytes as the caller gets them, and the reply that they stand for."""

    reply: Any
    body: bytes
    media_type: str
    headers: Mapping[str, str]
    record: CallRecord
