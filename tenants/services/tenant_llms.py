"""Which models a tenant may use through which credential."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from core import audit
from core.audit import Actor
from core.clock import now
from core.errors import Conflict, InvalidInput, NotFound
from providers.fields import normalise_types
from providers.models import DEFAULT_MAX_TOKENS, INVALID, LLM, VALID, LLMFactory
from providers.services.statuses import check_status
from tenants.models import Credential, Tenant, TenantLLM
from tenants.services import routes, routing

MAX_MAX_TOKENS = 100_000_000
MAX_NAME = 160


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model that a credential is to serve. `llm_name` is the stored name, suffix included.

    `moves` is the tenant's model that comes over from another credential, with its counter and its switch.
    """

    llm_name: str
    model_types: list[str]
    max_tokens: int = DEFAULT_MAX_TOKENS
    is_tools: bool | None = None
    llm_id: int | None = None
    moves: int | None = None

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def checked_plan(plan: ModelPlan) -> ModelPlan:
    """The plan in canonical form; raises InvalidInput that names each field."""
    problems: dict[str, list[str]] = {}
    name = plan.llm_name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        problems["llm_name"] = [f"A name of 1 to {MAX_NAME} printable characters."]
    try:
        kinds = normalise_types(plan.model_types)
        if not kinds:
            problems["model_types"] = ["At least one model type."]
    except ValidationError as error:
        kinds, problems["model_types"] = [], list(error.messages)
    limit = plan.max_tokens
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_MAX_TOKENS:
        problems["max_tokens"] = [f"A whole number from 1 to {MAX_MAX_TOKENS}."]
    if problems:
        raise InvalidInput("The model is not described correctly.", fields=problems)
    return ModelPlan(name, kinds, limit, plan.is_tools, plan.llm_id, plan.moves)


def refuse_disabled(factory: LLMFactory, plans: Iterable[ModelPlan]) -> None:
    """Raise InvalidInput if staff have disabled one of the models in the catalogue."""
    names = [bare_name(plan.llm_name) for plan in plans]
    disabled = LLM.objects.filter(factory=factory, llm_name__in=names, status=INVALID).first()
    if disabled is not None:
        raise InvalidInput(
            f"{disabled.llm_name} is disabled in the catalogue.",
            hint="Use another model, or ask staff to enable this one.",
            fields={"llm_name": ["Disabled in the catalogue."]},
        )


@transaction.atomic
def add(
    *,
    credential: Credential,
    llm_name: str,
    model_types: Sequence[str],
    max_tokens: int = DEFAULT_MAX_TOKENS,
    is_tools: bool | None = None,
    actor: Actor,
) -> TenantLLM:
    """Let a tenant use a model through one of its credentials, untested; raises InvalidInput, NotFound or Conflict."""
    plan = checked_plan(ModelPlan(llm_name, list(model_types), max_tokens, is_tools))
    refuse_disabled(credential.factory, [plan])
    Tenant.objects.select_for_update().filter(pk=credential.tenant_id).first()  # it is deleted before this, or after
    if not Credential.objects.saved().filter(pk=credential.pk).exists():
        raise NotFound("The credential was deleted meanwhile.")
    row = TenantLLM(
        tenant_id=credential.tenant_id,
        credential=credential,
        factory=credential.factory,
        llm=LLM.objects.filter(factory=credential.factory, llm_name=bare_name(plan.llm_name)).first(),
        llm_name=plan.llm_name,
        model_types=plan.model_types,
        max_tokens=plan.max_tokens,
        is_tools=plan.is_tools,
    )
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise Conflict(f"{credential} has the model {plan.llm_name} already.", hint="Change that one.") from error
    routing.bump(row.tenant_id)
    _record("model.added", row, actor)
    return row


@transaction.atomic
def update(
    row: TenantLLM,
    *,
    actor: Actor,
    model_types: Sequence[str] | None = None,
    max_tokens: int | None = None,
    is_tools: bool | None = None,
    status: str | None = None,
) -> TenantLLM:
    """Change what is given; raises InvalidInput."""
    row = TenantLLM.objects.select_for_update(of=("self",)).select_related("factory", "credential").get(pk=row.pk)
    plan = checked_plan(
        ModelPlan(
            row.llm_name,
            list(row.model_types if model_types is None else model_types),
            row.max_tokens if max_tokens is None else max_tokens,
            row.is_tools if is_tools is None else is_tools,
        )
    )
    row.model_types, row.max_tokens, row.is_tools = plan.model_types, plan.max_tokens, plan.is_tools
    if status is not None:
        row.status = check_status(status)
    row.save(update_fields=["model_types", "max_tokens", "is_tools", "status", "updated_at"])
    routing.bump(row.tenant_id)
    _record("model.updated", row, actor, status=row.status)
    return row


@transaction.atomic
def save_plans(credential: Credential, plans: Sequence[ModelPlan]) -> set[str]:
    """Make a credential serve the planned models: what it has is updated; switches and counters stay.

    Returns the ids of the credentials that models were taken from.
    """
    present = {row.llm_name: row for row in credential.tenant_llms.all()}
    own = TenantLLM.objects.for_tenant(credential.tenant_id).exclude(credential=credential)
    moving = own.in_bulk([plan.moves for plan in plans if plan.moves])
    left = {row.credential_id for row in moving.values()}
    fresh, changed = [], []
    moment = now()
    for plan in plans:
        row = present.get(plan.llm_name) or moving.pop(plan.moves or 0, None)
        if row is None:
            row = TenantLLM(tenant_id=credential.tenant_id, credential=credential, factory_id=credential.factory_id)
            row.llm_name = plan.llm_name
            fresh.append(row)
        else:
            row.credential = credential
            changed.append(row)
        row.model_types, row.max_tokens, row.llm_id = plan.model_types, plan.max_tokens, plan.llm_id
        row.is_tools = row.is_tools if plan.is_tools is None else plan.is_tools
        row.updated_at = moment
    TenantLLM.objects.bulk_create(fresh)
    columns = ["credential", "model_types", "max_tokens", "llm_id", "is_tools", "updated_at"]
    TenantLLM.objects.bulk_update(changed, columns)
    routes.hand_over({plan.moves: present[plan.llm_name].pk for plan in plans if plan.moves and plan.moves in moving})
    own.filter(pk__in=list(moving)).delete()  # its place was taken meanwhile by an equal one
    routing.bump(credential.tenant_id)
    return left


@transaction.atomic
def set_status(rows: Iterable[TenantLLM], *, status: str, actor: Actor) -> int:
    """Enable ("1") or disable ("0") models; how many there were."""
    check_status(status)
    found = list(rows)
    TenantLLM.objects.filter(pk__in=[row.pk for row in found]).update(status=status, updated_at=now())
    for row in found:
        _record("model.enabled" if status == VALID else "model.disabled", row, actor)
    _bump(found)
    return len(found)


@transaction.atomic
def delete(rows: Iterable[TenantLLM], *, actor: Actor) -> int:
    """Take models away from their tenants, and out of their routes; how many there were. Their credentials stay."""
    found = list(rows)
    for tenant_id in sorted({row.tenant_id for row in found}):  # no route is given one of them meanwhile
        Tenant.objects.select_for_update(no_key=True).filter(pk=tenant_id).first()
    used = routes.names_by_model(row.pk for row in found)
    for row in found:
        _record("model.deleted", row, actor, **({"routes": used[row.pk]} if row.pk in used else {}))
    TenantLLM.objects.filter(pk__in=[row.pk for row in found]).delete()
    _bump(found)
    return len(found)


def check_served(credential: Credential, pairs: Sequence[tuple[str, str]]) -> None:
    """Raise InvalidInput unless each (llm_name, model_type) is used through the credential."""
    served = {(row.llm_name, kind) for row in credential.tenant_llms.all() for kind in row.model_types}
    if unknown := [f"{name} ({kind})" for name, kind in pairs if (name, kind) not in served]:
        raise InvalidInput(
            f"This is not used through {credential}: {', '.join(unknown[:5])}.",
            fields={"models": ["Models and types that are used through this credential."]},
        )


def stored_name(factory: LLMFactory, name: str) -> str:
    """A model's name as it is stored and listed: with the factory's suffix, once."""
    return name if name.endswith(factory.name_suffix) else name + factory.name_suffix


def bare_name(stored: str) -> str:
    """A stored name without the suffix that some factories add to it."""
    return stored.partition("___")[0]


def _bump(rows: Iterable[TenantLLM]) -> None:
    for tenant_id in {row.tenant_id for row in rows}:
        routing.bump(tenant_id)


def _record(action: str, row: TenantLLM, actor: Actor, **detail: Any) -> None:
    audit.record(action, actor=actor, tenant_id=row.tenant_id, target=row.llm_name, **{"model": row.pk, **detail})
