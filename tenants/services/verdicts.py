"""What a test found out, and what follows from it for the credential and its models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from core import audit
from core.audit import SYSTEM
from core.clock import now
from core.errors import AppError, NotFound
from providers.errors import Unreachable, UpstreamError, Verdict
from providers.llm_types import LLMType
from tenants.models import Credential, CredentialState, Probe, TenantLLM
from tenants.services import credentials, drafts, routing

# A key that the vendor refuses does not heal by itself: it is taken out of use at once. What may pass gets three tries.
QUARANTINE_AT_ONCE = {Verdict.BAD_KEY, Verdict.NO_QUOTA, Verdict.BLOCKED_ADDRESS, Verdict.WRONG_URL}
ABOUT_THE_MODEL = {
    Verdict.NO_SUCH_MODEL, Verdict.NO_PERMISSION, Verdict.UNSUPPORTED, Verdict.BAD_REPLY, Verdict.WRONG_URL,
    Verdict.TIMED_OUT,
}  # fmt: skip
ABOUT_THE_SERVER = {Verdict.UNREACHABLE, Verdict.BLOCKED_ADDRESS}
QUARANTINE_AFTER = 3
FIRST_RETRY = timedelta(minutes=15)
DELETED = "The credential was deleted before its test ended."


@dataclass(frozen=True, slots=True)
class Failure:
    llm_name: str
    model_type: str
    verdict: Verdict
    message: str


@dataclass
class Outcome:
    """Collected while testing: which models passed, which failed, and the verdict on the credential as a whole."""

    passes: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    key_proven: bool = False  # the upstream has accepted the key, whatever it said of the models
    verdict: Verdict = Verdict.UNTESTED
    reason: str = ""
    concluded: bool = False

    @property
    def ok(self) -> bool:
        return self.verdict is Verdict.OK

    def passed(self, llm_name: str, kind: LLMType) -> None:
        self.passes.append((llm_name, kind.value))

    def failed(self, llm_name: str, kind: LLMType, error: UpstreamError) -> None:
        self.failures.append(Failure(llm_name, kind.value, error.verdict, described(error)))

    def conclude(self, verdict: Verdict, reason: str, *, step: str = "") -> None:
        self.verdict, self.reason, self.concluded = verdict, reason[:500], True


def recorded_error(probe: Probe) -> UpstreamError | None:
    """The recorded result of a call, as the call itself gave it: None, or an error of the same verdict."""
    if probe.verdict == Verdict.OK:
        return None
    kinds = [kind for kind in UpstreamError.__subclasses__() if kind.verdict == probe.verdict] or [UpstreamError]
    kind = Unreachable if Unreachable in kinds and probe.http_status is None else kinds[0]
    return kind(probe.message, hint=probe.hint, step=probe.step, upstream_status=probe.http_status)


def described(error: UpstreamError) -> str:
    """The error's message with the upstream's own words, which carry no secret any more."""
    return f"{error.message} {error.detail}".strip() if error.detail not in error.message else error.message


def settle(
    credential: Credential,
    outcome: Outcome,
    *,
    draft: bool,
    job_id: str,
    remember: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Write down what the outcome means, all or nothing; `remember` keeps the result if the worker dies right after.

    `credential` is what was tested. If it is something else by now, the outcome says nothing of it. Raises NotFound if
    it is gone, and what `drafts.promote` and `remember` raise.
    """
    tested = credentials.version_of(credential)
    try:
        with transaction.atomic():
            credentials.lock(credential.tenant)
            rows = Credential.objects.select_related("tenant", "factory", "replaces")
            present = rows.filter(pk=credential.pk).first()
            if present is None:
                raise NotFound(DELETED)
            saved: Credential | None = None if draft else present
            if draft and outcome.ok and present.plan.get("save"):
                saved = drafts.promote(present)
            elif draft:
                drafts.discard(present)
            if saved is not None and credentials.version_of(saved) == tested:
                judge(saved, outcome)
            result = report(outcome, saved=draft and saved is not None, credential=saved, job_id=job_id)
            remember({"result": result})
    except AppError:
        if draft:
            drafts.discard(credential)
        raise
    return result


def report(outcome: Outcome, *, saved: bool, credential: Credential | None, job_id: str) -> dict[str, Any]:
    """The result of a probe job, as its readers see it."""
    probes = Probe.objects.filter(job_id=job_id).order_by("id")
    columns = ("llm_name", "model_type", "verdict", "step", "http_status", "latency_ms", "message", "hint")
    return {
        "ok": outcome.ok,
        "saved": saved,
        "credential_id": credential.pk if credential else None,
        "verdict": outcome.verdict.value,
        "reason": outcome.reason,
        "probes": list(probes.values(*columns)),
        "failures": [
            {
                "llm_name": item.llm_name,
                "model_type": item.model_type,
                "verdict": item.verdict.value,
                "message": item.message,
            }
            for item in outcome.failures
        ],
    }


def judge(credential: Credential, outcome: Outcome) -> None:
    """Apply a test's outcome to a saved credential and to the models that were called."""
    moment = now()
    _mark_models(credential, outcome, moment)
    verdict = outcome.verdict
    if outcome.passes and verdict not in ABOUT_THE_SERVER:
        verdict = Verdict.OK  # it works; what failed is written on the models
    elif outcome.key_proven and verdict in ABOUT_THE_MODEL:  # what was known of it stays
        credential.next_check_at = moment + timedelta(hours=settings.PROBE_INTERVAL_HOURS)
        credential.save(update_fields=["next_check_at", "updated_at"])
        return
    if verdict is Verdict.UNTESTED:  # nothing was learnt: everything stays, and it is tried again later
        credential.next_check_at = moment + FIRST_RETRY
        credential.save(update_fields=["next_check_at", "updated_at"])
        return
    before = credential.state
    credential.verdict, credential.reason, credential.checked_at = verdict.value, outcome.reason, moment
    credential.failures = 0 if verdict is Verdict.OK else credential.failures + 1
    credential.state = _state_after(verdict, credential)
    credential.next_check_at = moment + _next_check(credential)
    credential.save(
        update_fields=["verdict", "reason", "checked_at", "failures", "state", "next_check_at", "updated_at"]
    )
    if before != credential.state:
        routing.bump(credential.tenant_id)
        audit.record(
            f"credential.{credential.state}",
            actor=SYSTEM,
            tenant_id=credential.tenant_id,
            target=str(credential),
            credential=credential.pk,
            verdict=credential.verdict,
            before=before,
        )


def _mark_models(credential: Credential, outcome: Outcome, moment: datetime) -> None:
    found = {name: Verdict.OK for name, _kind in outcome.passes}
    found |= {item.llm_name: item.verdict for item in outcome.failures if item.llm_name}
    for name, verdict in found.items():
        rows = TenantLLM.objects.filter(credential=credential, llm_name=name)
        rows.update(verdict=verdict.value, checked_at=moment)


def _state_after(verdict: Verdict, credential: Credential) -> str:
    if verdict is Verdict.OK:
        return CredentialState.OK
    if verdict is Verdict.UNSUPPORTED:
        return CredentialState.UNTESTED  # nobody has refused it: this installation cannot test it
    if verdict is Verdict.RATE_LIMITED:
        return CredentialState.FAILING  # a busy key is a working one
    if verdict in QUARANTINE_AT_ONCE or credential.failures >= QUARANTINE_AFTER:
        return CredentialState.QUARANTINED
    return CredentialState.FAILING


def _next_check(credential: Credential) -> timedelta:
    """The usual interval for a working key; for a failing one soon at first, then twice as late each time."""
    interval = timedelta(hours=settings.PROBE_INTERVAL_HOURS)
    if credential.failures == 0:
        return interval
    doublings = min(credential.failures - 1, 10)
    return min(interval, FIRST_RETRY * int(2**doublings))
