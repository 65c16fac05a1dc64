"""Lists a factory's models with a tenant's own key, and holds the list against what the tenant has.

The upstream is asked in a job; what it lists is kept for the credential until the next time. What is new, and what is
gone, is found when somebody looks, so that it is true whatever was added since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db import transaction

from core.audit import Actor
from core.clock import now
from core.errors import AppError, Conflict, InvalidInput, NotFound
from jobs.models import Job
from jobs.services import queue
from jobs.services.context import JobContext
from providers import dialects
from providers.discovery import Bounds, Discovered, Known, Listing, Reading, Source, list_models, places, typed
from providers.errors import Unsupported, UpstreamError
from providers.llm_types import LLMType
from providers.models import LLM
from providers.quirks import Quirks
from providers.services.matrix import TYPES_OF_TAGS
from providers.wire import Operation
from tenants.models import Credential, ModelListing, TenantLLM
from tenants.services import credentials, verdicts
from tenants.services.tenant_llms import MAX_MAX_TOKENS, MAX_NAME, stored_name

JOB_TYPE = "discover"
BOUNDS = Bounds()
JOB_TIMEOUT_S = int(BOUNDS.time_s) + 60


class State(StrEnum):
    """How a listed model stands to what the tenant uses through the credential."""

    NEW = "new"
    PRESENT = "present"
    DIFFERS = "differs"  # the upstream says that it has other types
    GONE = "gone"  # used, but not listed


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the difference. `model_types` are the upstream's; of a model that is gone, the tenant's."""

    state: State
    llm_name: str
    upstream_name: str
    model_types: list[str]
    typed_by: str = ""
    max_tokens: int | None = None
    tools: bool | None = None
    thinking: bool | None = None
    vision: bool | None = None
    tenant_llm: TenantLLM | None = None


@dataclass(frozen=True, slots=True)
class Diff:
    """The last list against what the tenant has now.

    `complete`: it was read to its end. `outdated`: it was asked for with another key, base URL or field. Unless it is
    complete and current, nothing is called gone.
    """

    rows: list[Row]
    listed_at: datetime | None = None
    job_id: str | None = None
    complete: bool = True
    outdated: bool = False

    @property
    def counts(self) -> dict[str, int]:
        counts = {state.value: 0 for state in State}
        for row in self.rows:
            counts[row.state] += 1
        return counts


def discover(credential: Credential, *, actor: Actor) -> Job:
    """List the upstream's models in the background, with the credential's key or without one.

    Asked again while it is under way, that job is returned. Raises InvalidInput for a factory that has no list.
    """
    if not can_list(credential):
        raise InvalidInput(
            f"{credential.factory.name} has no list of models that could be asked for.",
            hint="Add models by their names.",
            code="no_model_list",
        )
    return queue.enqueue(
        JOB_TYPE,
        params={"credential_id": credential.pk},
        tenant_id=credential.tenant_id,
        actor=actor,
        dedupe_key=f"discover:{credential.pk}:{credentials.version_of(credential)}",
        timeout_s=JOB_TIMEOUT_S,
    )


def can_list(credential: Credential) -> bool:
    """Whether the factory's wire format has a list of models, and the vendor too."""
    quirks = Quirks.from_data(credential.factory.quirks)
    if quirks.listings:
        return True
    try:
        return not quirks.no_model_list and Operation.MODELS in dialects.operations(credential.factory.dialect)
    except Unsupported:
        return False


def run_job(ctx: JobContext) -> dict[str, Any]:
    """The handler of discovery jobs: `credential_id`."""
    if done := ctx.checkpoint.get("result"):  # listed and saved just before the worker died
        return dict(done)
    rows = Credential.objects.saved().select_related("tenant", "factory")
    credential = rows.filter(pk=ctx.params["credential_id"]).first()
    if credential is None:
        raise NotFound("The credential was deleted before its models were listed.")
    listing = _asked(credential, ctx)
    entries = [_as_data(model) for model in _usable(credential, listing.models)]
    return _save(credential, entries, listing.complete, ctx)


def _asked(credential: Credential, ctx: JobContext) -> Listing:
    calls = 0

    def step(said: str) -> None:
        nonlocal calls
        calls += 1
        ctx.raise_if_cancelled()
        ctx.progress(min(95, 3 * calls), said)

    quirks = Quirks.from_data(credential.factory.quirks)
    target = credentials.target_for(credential, llm_name="")
    policy = credentials.policy_for(credential.factory, total_timeout_s=quirks.probe_timeout_s)
    try:
        return list_models(places(target), policy=policy, bounds=BOUNDS, step=step)
    except UpstreamError as error:
        raise AppError(verdicts.described(error), hint=error.hint, code=error.verdict.value) from None


def _usable(credential: Credential, models: Mapping[str, Reading]) -> Iterator[Discovered]:
    """The models, typed; without those that nobody can call any more, and names that we could not keep."""
    factory = credential.factory
    catalogue = {
        name: Known(tuple(map(LLMType, kinds)), limit)
        for name, kinds, limit in LLM.objects.filter(factory=factory).values_list(
            "llm_name", "model_types", "max_tokens"
        )
    }
    ours = _our_names(credential)
    offered = [TYPES_OF_TAGS[tag] for tag in factory.tags.split(",") if tag in TYPES_OF_TAGS]
    for name, reading in models.items():
        if not reading.retired and name.isprintable() and len(stored_name(factory, name)) <= MAX_NAME:
            yield typed(name, reading, known=catalogue.get(ours.get(name, name)), offered=offered)


def _as_data(model: Discovered) -> dict[str, Any]:
    """As it is kept: without what is unknown."""
    data = {
        "name": model.name,
        "types": list(model.types),
        "source": model.source.value,
        "vision": model.vision,
        "tools": model.tools,
        "thinking": model.thinking,
        "max_tokens": min(model.max_tokens, MAX_MAX_TOKENS) if model.max_tokens else None,
        "aliases": [alias for alias in model.aliases if alias.isprintable() and len(alias) <= MAX_NAME] or None,
    }
    return {name: value for name, value in data.items() if value is not None}


@transaction.atomic
def _save(credential: Credential, entries: list[dict[str, Any]], complete: bool, ctx: JobContext) -> dict[str, Any]:
    credentials.lock(credential.tenant)
    present = Credential.objects.saved().select_related("factory").filter(pk=credential.pk).first()
    if present is None:
        raise NotFound("The credential was deleted while its models were listed.")
    version = credentials.version_of(credential)
    if credentials.version_of(present) != version:
        raise Conflict(f"{credential} was changed while its models were listed.", hint="List them again.")
    values = {"entries": entries, "complete": complete, "version": version, "job_id": ctx.job_id, "listed_at": now()}
    ModelListing.objects.update_or_create(credential=present, defaults=values)
    credentials.record("credential.listed", present, ctx.actor, models=len(entries))
    result = {"credential_id": present.pk, "models": len(entries), "complete": complete, "counts": diff(present).counts}
    ctx.save_checkpoint({"result": result})
    return result


# --- The difference --------------------------------------------------------------------------------------------------


def diff(credential: Credential) -> Diff:
    """The credential's last list against the models that the tenant uses through it; without rows before the first."""
    listing = ModelListing.objects.filter(credential=credential).first()
    if listing is None:
        return Diff([])
    outdated = listing.version != credentials.version_of(credential)
    used = list(credential.tenant_llms.select_related("llm", "factory"))
    pairs = _paired(credential, listing.entries, used)
    rows = [_row(entry, name, found) for entry, name, found in pairs]
    seen = {found.pk for _entry, _name, found in pairs if found is not None}
    if listing.complete and not outdated:
        rows += [_gone(row) for row in used if row.pk not in seen]
    return Diff(rows, listing.listed_at, listing.job_id, listing.complete, outdated)


def _row(entry: Mapping[str, Any], name: str, found: TenantLLM | None) -> Row:
    state = State.NEW if found is None else State.DIFFERS if _differs(entry, found) else State.PRESENT
    return Row(
        state=state,
        llm_name=name if found is None else found.llm_name,
        upstream_name=entry["name"],
        model_types=list(entry["types"]),
        typed_by=entry["source"],
        max_tokens=entry.get("max_tokens"),
        tools=entry.get("tools"),
        thinking=entry.get("thinking"),
        vision=entry.get("vision"),
        tenant_llm=found,
    )


def _gone(row: TenantLLM) -> Row:
    return Row(State.GONE, row.llm_name, "", list(row.model_types), max_tokens=row.max_tokens, tenant_llm=row)


def _differs(entry: Mapping[str, Any], found: TenantLLM) -> bool:
    """Whether the upstream itself says otherwise: a guess is no difference, nor is what it leaves open."""
    if entry["source"] != Source.UPSTREAM or not entry["types"]:
        return False
    here, there = set(found.model_types), set(entry["types"])
    if entry.get("vision") is None:  # whether it takes pictures was not said
        here, there = (
            {LLMType.CHAT.value if kind == LLMType.IMAGE2TEXT else kind for kind in kinds} for kinds in (here, there)
        )
    return here != there


def _paired(
    credential: Credential, entries: list[dict[str, Any]], used: list[TenantLLM]
) -> list[tuple[dict[str, Any], str, TenantLLM | None]]:
    """Each entry with our name for it and the tenant's model that it is; by an alias only if no entry has its name."""
    quirks, ours = Quirks.from_data(credential.factory.quirks), _our_names(credential)
    by_name = {quirks.model_name(row.llm_name): row for row in used} | {row.llm_name: row for row in used}
    named = [(entry, stored_name(credential.factory, ours.get(entry["name"], entry["name"]))) for entry in entries]
    direct = [by_name.get(name) or by_name.get(entry["name"]) for entry, name in named]
    taken = {row.pk for row in direct if row is not None}
    by_alias = {name: row for name, row in by_name.items() if row.pk not in taken}
    return [
        (entry, name, row or next((by_alias[alias] for alias in entry.get("aliases", ()) if alias in by_alias), None))
        for (entry, name), row in zip(named, direct, strict=True)
    ]


def _our_names(credential: Credential) -> dict[str, str]:
    """What we call the models that the upstream calls otherwise."""
    return {theirs: ours for ours, theirs in Quirks.from_data(credential.factory.quirks).name_map.items()}
