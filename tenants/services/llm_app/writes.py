"""What the llm_app endpoints change. Keys are tested before they are saved, unless the caller says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from core.audit import Actor
from core.errors import InvalidInput
from providers.llm_types import LLMType
from providers.models import DEFAULT_MAX_TOKENS, LLM, LLMFactory
from tenants.models import Credential, Tenant, TenantLLM
from tenants.services import assembly, credentials, drafts, plans, tenant_llms
from tenants.services.llm_app.outcome import Submitted, check_supported
from tenants.services.llm_app.placement import Placement, place
from tenants.services.tenant_llms import ModelPlan

DEFAULT_LABEL = "default"


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key for everything that a factory's catalogue has. `body` carries the credential's values."""

    llm_factory: str
    body: Mapping[str, Any] = field(repr=False)
    base_url: str = ""
    source_fid: str = ""
    test: bool = True
    verify: bool = False

    @property
    def tested(self) -> bool:
        return self.test or self.verify


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model. `api_base` None keeps the saved one; `instance` names one of several credentials."""

    llm_factory: str
    llm_name: str
    model_types: Sequence[str]
    body: Mapping[str, Any] = field(repr=False)
    api_base: str | None = None
    max_tokens: int = DEFAULT_MAX_TOKENS
    is_tools: bool | None = None
    instance: str = ""
    test: bool = True
    verify: bool = False

    @property
    def tested(self) -> bool:
        return self.test or self.verify


def set_api_key(request: KeyRequest, *, tenant: Tenant, actor: Actor) -> Submitted | None:
    """Give the factory's catalogue models a key, the credential “default”; None if it was saved without a test."""
    factory, source = _factory(request.llm_factory), _source(request)
    models = _catalogue_plans(factory, source)
    if not models:
        raise InvalidInput(f"No models configured for {factory.name} (source: {source.name}).", code="no_models")
    kinds = list(dict.fromkeys(kind for plan in models for kind in plan.model_types))
    values = assembly.values_of(factory.credential_fields, request.body, model_types=kinds, keyless=factory.keyless)
    base_url = request.base_url or assembly.base_url_in(factory.credential_fields, values)
    base_url = base_url or (source.base_url if source.pk != factory.pk else "")
    if request.tested:
        _check_some_supported(factory, kinds)
    with transaction.atomic():
        credentials.lock(tenant)
        saved = Credential.objects.for_tenant(tenant).saved().filter(factory=factory, label=DEFAULT_LABEL)
        present = saved.select_related("factory", "tenant").first()
        if present is None:
            _require(factory, values, kinds)
        chosen = Placement(values, base_url, present, DEFAULT_LABEL)
        return _start(chosen, factory, models, request, tenant=tenant, actor=actor)


def add_llm(request: ModelRequest, *, tenant: Tenant, actor: Actor) -> Submitted | None:
    """Add or edit one model; None if it was saved without a test."""
    factory = _factory(request.llm_factory)
    kinds = [_kind(name) for name in request.model_types]
    stored = tenant_llms.stored_name(factory, request.llm_name)
    values = assembly.values_of(factory.credential_fields, request.body, model_types=kinds, keyless=factory.keyless)
    llm = LLM.objects.filter(factory=factory, llm_name=tenant_llms.bare_name(stored)).first()
    plan = ModelPlan(stored, list(kinds), request.max_tokens, request.is_tools, llm.pk if llm else None)
    if request.tested:
        check_supported(factory, kinds, adding=True)
    with transaction.atomic():
        credentials.lock(tenant)
        chosen = place(
            tenant,
            factory,
            stored_name=stored,
            values=values,
            base_url=assembly.base_url_in(factory.credential_fields, values) or request.api_base,
            instance=request.instance.strip(),
        )
        if chosen.replaces is None:
            _require(factory, chosen.values, kinds)
        models = [replace(plan, moves=chosen.moves)]
        return _start(chosen, factory, models, request, tenant=tenant, actor=actor)


@transaction.atomic
def delete_llm(*, tenant: Tenant, llm_factory: str, llm_name: str, instance: str = "", actor: Actor) -> int:
    """Take a model away, and the credential that serves no other one; how many there were."""
    credentials.lock(tenant)
    rows = list(_named(tenant, llm_factory, llm_name, instance))
    removed = tenant_llms.delete(rows, actor=actor)
    credentials.delete_unused(tenant, {row.credential_id for row in rows}, actor=actor)
    return removed


@transaction.atomic
def enable_llm(
    *, tenant: Tenant, llm_factory: str, llm_name: str, status: str, instance: str = "", actor: Actor
) -> int:
    """Enable ("1") or disable ("0") a model; how many there were."""
    return tenant_llms.set_status(_named(tenant, llm_factory, llm_name, instance), status=status, actor=actor)


@transaction.atomic
def delete_factory(*, tenant: Tenant, llm_factory: str, actor: Actor) -> int:
    """Remove the tenant's keys for a factory with all their models; how many keys there were."""
    rows = Credential.objects.for_tenant(tenant).saved().filter(factory__name=llm_factory)
    found = list(rows.select_related("factory", "tenant"))
    for credential in found:
        credentials.delete(credential, actor=actor)
    return len(found)


def carries_key(llm_factory: str, body: Mapping[str, Any]) -> bool:
    """Whether a request has any of the factory's own credential fields, other than `api_key`."""
    rows = LLMFactory.objects.filter(name=llm_factory)
    specs = rows.values_list("credential_fields", flat=True).first() or []
    return any(spec["name"] in body for spec in specs if spec["name"] != "api_key")


def _factory(name: str) -> LLMFactory:
    factory = LLMFactory.objects.offered().filter(name=name).first()
    if factory is None:
        raise InvalidInput(f"LLM factory {name} is not allowed", code="unknown_factory")
    return factory


def _source(request: KeyRequest) -> LLMFactory:
    """Whose catalogue is meant: the factory's own, or a hidden sibling's that is saved under its name."""
    name = request.source_fid or request.llm_factory
    source = LLMFactory.objects.valid().filter(name=name).first()
    if source is None:
        raise InvalidInput(f"No models configured for {request.llm_factory} (source: {name}).", code="no_models")
    return source


def _catalogue_plans(factory: LLMFactory, source: LLMFactory) -> list[ModelPlan]:
    found = plans.whole_catalogue(source)
    if source.pk == factory.pk:
        return found
    own = dict(LLM.objects.filter(factory=factory).values_list("llm_name", "pk"))
    return [replace(plan, llm_id=own.get(plan.llm_name)) for plan in found]


def _kind(name: str) -> LLMType:
    try:
        return LLMType(name)
    except ValueError:
        raise InvalidInput(
            f"Unknown model type: {name[:40]}.", hint=f"Known: {', '.join(LLMType)}.", code="unknown_type"
        ) from None


def _check_some_supported(factory: LLMFactory, kinds: Sequence[str]) -> None:
    """A key can be tested if any of the types can be called."""
    refused: list[InvalidInput] = []
    for kind in kinds:
        try:
            return check_supported(factory, [kind], adding=False)
        except InvalidInput as error:
            refused.append(error)
    raise refused[0]


def _require(factory: LLMFactory, values: Mapping[str, Any], kinds: Sequence[str]) -> None:
    names = [] if factory.keyless else assembly.missing(factory.credential_fields, values, model_types=kinds)
    if names:
        fields = {name: ["This field is required."] for name in names}
        raise InvalidInput(f"{factory.name} needs more than this.", fields=fields)


def _start(
    chosen: Placement,
    factory: LLMFactory,
    models: list[ModelPlan],
    request: KeyRequest | ModelRequest,
    *,
    tenant: Tenant,
    actor: Actor,
) -> Submitted | None:
    """Test what was placed before it is saved, or save it at once; None for the latter."""
    draft: dict[str, Any] = {
        "tenant": tenant,
        "factory": factory,
        "values": chosen.values,
        "base_url": chosen.base_url,
        "label": chosen.label,
        "models": models,
        "replaces": chosen.replaces,
        "share": chosen.share,
        "actor": actor,
    }
    if not request.tested:
        drafts.save_untested(**draft)
        return None
    job = drafts.submit(**draft, save=not request.verify)
    keyed = bool(chosen.values) or (chosen.replaces is not None and chosen.replaces.secret is not None)
    adding = isinstance(request, ModelRequest)
    return Submitted(job, factory.name, adding, keyed, (models[0].llm_name, models[0].model_types[0]))


def _named(tenant: Tenant, llm_factory: str, llm_name: str, instance: str) -> QuerySet[TenantLLM]:
    """The rows of a stored name; the name without the factory's suffix will do."""
    rows = TenantLLM.objects.for_tenant(tenant).saved().filter(factory__name=llm_factory)
    suffix = LLMFactory.objects.filter(name=llm_factory).values_list("name_suffix", flat=True).first() or ""
    rows = rows.filter(Q(llm_name=llm_name) | Q(llm_name=llm_name + suffix)).select_related("factory", "credential")
    return rows.filter(credential__label=instance) if instance else rows
