"""Tests a credential with as few calls as can tell: free ones first, then the cheapest, and none after a sure answer.

The usual plan lists the upstream's models (free) and then makes one cheap call, trying a few models if the first is not
to be had. With explicit pairs, or a credential of one model, each (model, type) is called once. An answer that is about
the key or the server, not about a model, ends the test: a wrong key costs one call. Among explicit pairs, such an
answer may be about one model after all (its own rate limit, its slow start, its price): the test goes on after a few of
them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError

from core.errors import NotFound
from core.secrets import SecretError
from jobs.services.context import JobContext
from providers import dialects
from providers.calls import call
from providers.errors import (
    AddressBlocked,
    AuthenticationFailed,
    ModelNotFound,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    TimedOut,
    Unreachable,
    Unsupported,
    UpstreamError,
    Verdict,
)
from providers.llm_types import LLMType
from providers.models import LLM, VALID
from providers.probe_payloads import check_reply, probe_payload
from providers.quirks import Quirks
from providers.target import Target
from providers.upstream import UNSENT
from providers.wire import Operation, RemoteModel
from tenants.models import Credential, CredentialState, Probe
from tenants.services import credentials, drafts, verdicts
from tenants.services.verdicts import Outcome

CHEAPEST_FIRST = [
    LLMType.EMBEDDING, LLMType.RERANK, LLMType.CHAT, LLMType.IMAGE2TEXT,
    LLMType.TTS, LLMType.SPEECH2TEXT, LLMType.OCR,
]  # fmt: skip
CONCLUSIVE = (AuthenticationFailed, QuotaExceeded, AddressBlocked, Unreachable, TimedOut, RateLimited)
ONE_MODEL_S = (AuthenticationFailed, QuotaExceeded, TimedOut)  # where another model has answered with the same key
PATIENCE = 3  # so many conclusive answers are put up with among explicit pairs
MODELS_PER_TYPE = 2
CALLS_AT_MOST = 4


@dataclass(frozen=True, slots=True)
class Pair:
    """A model of one type, with its catalogue row if it has one."""

    llm_name: str
    model_type: LLMType
    llm: LLM | None = None

    @property
    def cost(self) -> tuple[int, bool, Any, str]:
        price = self.llm.input_price if self.llm is not None else None
        return (CHEAPEST_FIRST.index(self.model_type), price is None, price or 0, self.llm_name)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the free call told: the upstream's model names, and whether it proves the key."""

    names: frozenset[str] = frozenset()
    error: UpstreamError | None = None
    answered: bool = False
    proves_key: bool = False


def run_job(ctx: JobContext) -> dict[str, Any]:
    """The handler of probe jobs: `credential_id`, `pairs` or None, `free_only`."""
    if done := ctx.checkpoint.get("result"):  # tested and settled just before the worker died
        return dict(done)
    credential = _load(ctx.params["credential_id"])
    draft = credential.state == CredentialState.DRAFT
    examination = Examination(ctx, credential)
    outcome = examination.run(_pairs(credential, ctx.params.get("pairs")), explicit=bool(ctx.params.get("pairs")))
    return verdicts.settle(credential, outcome, draft=draft, job_id=ctx.job_id, remember=ctx.save_checkpoint)


def _load(pk: str) -> Credential:
    found = Credential.objects.select_related("tenant", "factory", "replaces").filter(pk=pk).first()
    if found is None:
        raise NotFound(verdicts.DELETED)
    return found


def _pairs(credential: Credential, wanted: Iterable[Iterable[str]] | None) -> list[Pair]:
    """What may be tested: the wanted pairs, else all that the credential serves."""
    if credential.state == CredentialState.DRAFT:
        plans = drafts.plans_of(credential)
        rows = LLM.objects.in_bulk([plan.llm_id for plan in plans if plan.llm_id])
        models = [(plan.llm_name, plan.model_types, rows.get(plan.llm_id or 0)) for plan in plans]
    else:
        served = credential.tenant_llms.select_related("llm").order_by("-status", "llm_name")
        models = [(row.llm_name, row.model_types, row.llm) for row in served]
    pairs = [Pair(name, LLMType(kind), llm) for name, kinds, llm in models for kind in kinds]
    if wanted is None:
        return pairs  # of explicit ones, those that are still served
    asked = {tuple(pair) for pair in wanted}
    return [pair for pair in pairs if (pair.llm_name, pair.model_type.value) in asked]


@dataclass
class Examination:
    """One run over one credential. Every call is recorded as soon as it is answered, and never made twice in a job."""

    ctx: JobContext
    credential: Credential
    outcome: Outcome = field(default_factory=Outcome)
    calls: int = 0
    patience: int = PATIENCE

    def run(self, pairs: list[Pair], *, explicit: bool) -> Outcome:
        explicit = explicit or len({pair.llm_name for pair in pairs}) == 1
        if not self._readable():
            return self.outcome
        listing = self._list_models()
        self.outcome.key_proven = listing.proves_key
        if isinstance(listing.error, CONCLUSIVE) and not isinstance(listing.error, RateLimited):
            return self._fail(pairs[:1], listing.error)
        supported = self._supported(pairs)
        if not self.ctx.params.get("free_only"):
            self._call_models(supported, listing, explicit=explicit)
        return self._conclude(pairs, listing, explicit=explicit)

    def _readable(self) -> bool:
        try:
            self.credential.open_secret()
        except SecretError as error:
            self.outcome.conclude(Verdict.BAD_KEY, str(error), step="unseal")
            return False
        return True

    def _list_models(self) -> Listing:
        quirks = Quirks.from_data(self.credential.factory.quirks)
        target = credentials.target_for(self.credential, llm_name="")
        try:
            if quirks.no_model_list or Operation.MODELS not in dialects.operations(target.dialect):
                return Listing()
        except Unsupported as missing:
            return Listing(error=missing)
        self.ctx.progress(5, "Listing the models")
        reply, error = self._attempt("", None, lambda: self._send(target, Operation.MODELS, {}, quirks))
        if error is not None:
            return Listing(error=error)
        names = frozenset(model.id for model in reply or [] if isinstance(model, RemoteModel))
        keyed = self.credential.secret is not None and not self.credential.factory.keyless
        return Listing(names, answered=True, proves_key=keyed and not quirks.public_model_list)

    def _supported(self, pairs: list[Pair]) -> list[Pair]:
        """The pairs whose wire format has a call for them; the others' verdict is known without one."""
        found = []
        for pair in pairs:
            try:
                target = self._target(pair)
                dialects.for_type(pair.model_type, target.dialect, target.quirks.uncallable)
            except Unsupported as error:
                self.outcome.failed(pair.llm_name, pair.model_type, error)
            else:
                found.append(pair)
        return found

    def _call_models(self, pairs: list[Pair], listing: Listing, *, explicit: bool) -> None:
        listed = [pair for pair in pairs if {pair.llm_name, self._target(pair).upstream_model} & listing.names]
        queue = sorted(pairs if explicit or not listed else listed, key=lambda pair: pair.cost)
        tried: dict[LLMType, int] = {}
        for position, pair in enumerate(queue):
            if not explicit and (self.calls >= CALLS_AT_MOST or tried.get(pair.model_type, 0) >= MODELS_PER_TYPE):
                continue
            self.ctx.raise_if_cancelled()
            self.ctx.progress(10 + 80 * position // len(queue), f"Calling {pair.llm_name}")
            error = self._call_model(pair)
            if isinstance(error, CONCLUSIVE) and not (explicit and self._bears(error, queue)):
                if not self.outcome.passes or not isinstance(error, RateLimited | ONE_MODEL_S):
                    self.outcome.conclude(error.verdict, str(error))
                return
            if error is None and not explicit:
                return
            another = isinstance(error, ModelNotFound | PermissionDenied)
            tried[pair.model_type] = tried.get(pair.model_type, 0) + 1 if another else MODELS_PER_TYPE

    def _bears(self, error: UpstreamError, queue: list[Pair]) -> bool:
        """Whether to go on although this might be about the key or the server."""
        slow = isinstance(error, TimedOut) and error.step not in UNSENT and len({pair.llm_name for pair in queue}) > 1
        of_this_one = bool(self.outcome.passes) and isinstance(error, ONE_MODEL_S)
        if not (slow or of_this_one or isinstance(error, RateLimited)):
            return False
        self.patience -= 1
        return self.patience > 0

    def _call_model(self, pair: Pair) -> UpstreamError | None:
        target = self._target(pair)
        self.calls += 1

        def send() -> None:
            _dialect, operation = dialects.for_type(pair.model_type, target.dialect)
            reply = self._send(target, operation, probe_payload(pair.model_type, target.quirks), target.quirks)
            check_reply(pair.model_type, reply)

        _reply, error = self._attempt(pair.llm_name, pair.model_type, send)
        if error is None:
            self.outcome.passed(pair.llm_name, pair.model_type)
        else:
            self.outcome.failed(pair.llm_name, pair.model_type, error)
        return error

    def _conclude(self, pairs: list[Pair], listing: Listing, *, explicit: bool) -> Outcome:
        outcome = self.outcome
        if outcome.concluded:
            return outcome
        if outcome.passes and (not explicit or not outcome.failures):
            outcome.conclude(Verdict.OK, "")
        elif outcome.passes:  # some types of what was asked for work, some do not
            outcome.conclude(outcome.failures[0].verdict, outcome.failures[0].message)
        elif listing.proves_key and not (explicit and self.calls) and not self._was_about_money():
            outcome.conclude(Verdict.OK, "The key is accepted; no model was called successfully." if self.calls else "")
        elif self.ctx.params.get("free_only"):
            outcome.conclude(Verdict.UNTESTED, "Today's budget for billed probes is spent.")
        elif listing.answered and not pairs:
            outcome.conclude(Verdict.OK, "The server answers; there is no model to call.")
        elif outcome.failures:
            outcome.conclude(outcome.failures[0].verdict, outcome.failures[0].message)
        elif listing.error is not None:
            self._fail(pairs[:1], listing.error)
        else:
            outcome.conclude(Verdict.UNSUPPORTED, "There is nothing that could be called to test this credential.")
        return outcome

    def _was_about_money(self) -> bool:
        """A free call says nothing of an account that was found empty by a billed one."""
        return bool(self.ctx.params.get("free_only")) and self.credential.verdict == Verdict.NO_QUOTA

    def _fail(self, pairs: list[Pair], error: UpstreamError) -> Outcome:
        for pair in pairs:
            self.outcome.failed(pair.llm_name, pair.model_type, error)
        self.outcome.conclude(error.verdict, str(error))
        return self.outcome

    def _target(self, pair: Pair) -> Target:
        return credentials.target_for(self.credential, llm_name=pair.llm_name, model_type=pair.model_type, llm=pair.llm)

    def _send(self, target: Target, operation: Operation, payload: dict[str, Any], quirks: Quirks) -> Any:
        policy = credentials.policy_for(self.credential.factory, total_timeout_s=quirks.probe_timeout_s)
        return call(target, operation, payload, policy=policy)

    def _attempt(
        self, llm_name: str, kind: LLMType | None, send: Callable[[], Any]
    ) -> tuple[Any, UpstreamError | None]:
        """Make one call and record it; a call that this job recorded before its worker died is not made again."""
        earlier = Probe.objects.filter(job_id=self.ctx.job_id, llm_name=llm_name, model_type=kind or "").first()
        if earlier is not None:
            return None, verdicts.recorded_error(earlier)
        started, reply = time.perf_counter(), None
        error: UpstreamError | None = None
        try:
            reply = send()
        except UpstreamError as caught:
            error = caught
        latency_ms = round((time.perf_counter() - started) * 1000)
        self._keep(
            tenant_id=self.credential.tenant_id,
            credential=self.credential,
            factory=self.credential.factory,
            job_id=self.ctx.job_id,
            llm_name=llm_name,
            model_type=kind or "",
            verdict=Verdict.OK if error is None else error.verdict,
            step=("list_models" if kind is None else "done") if error is None else error.step[:32],
            http_status=200 if error is None else error.upstream_status,
            latency_ms=latency_ms,
            message="" if error is None else verdicts.described(error)[:500],
            hint="" if error is None else error.hint[:500],
            billed=kind is not None and self.credential.secret is not None,
        )
        return reply, error

    def _keep(self, **columns: Any) -> None:
        try:
            Probe.objects.create(**columns)
        except IntegrityError:
            raise NotFound(verdicts.DELETED) from None


def pairs_of(credential: Credential) -> list[tuple[str, str]]:
    """Every enabled (llm_name, model_type) of a saved credential: what a thorough test calls."""
    rows = credential.tenant_llms.filter(status=VALID)
    return [(row.llm_name, kind) for row in rows for kind in row.model_types]
