"""RAGFlow's verbs for what a tenant can call, over this house's rows. Each knows one tenant, and none shows a key.

What is done otherwise than there, and why, is in docs/python.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet
from django.views.decorators.debug import sensitive_variables

from core.errors import InvalidInput, Unavailable
from core.ids import new_id
from core.redact import redact
from gateway.bundle import LLMBundle, NotAuthorized
from gateway.bundle.calls import kind_of
from gateway.names import IMPLIED_TAG, SUFFIX, NameAmbiguous, NameNotFound, Names, split
from providers.llm_types import LLMType
from providers.models import LLM, VALID, LLMFactory
from providers.wire import operation_for
from runtimes import drivers
from runtimes.models import ServiceModel
from runtimes.services import calls
from tenants.models import DEFAULT_MODEL_COLUMNS, Tenant, TenantLLM
from tenants.models.credential import UNUSABLE
from usage.records import LARGEST_COUNT, CallRecord, Outcome, Usage
from usage.services import ledger

OPENAI = "OpenAI"  # the row that `get_openai_models` is about


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A tenant's model, named by its row, and of its key no more than how it ends."""

    id: int
    tenant_id: str
    llm_factory: str
    llm_name: str
    model_types: tuple[str, ...]
    api_base: str
    max_tokens: int
    used_tokens: int
    is_tools: bool
    status: str
    credential_id: str
    api_key: str = field(default="")  # "…abcd", or "" without a key
    fingerprint: str = field(default="", repr=False)

    @property
    def model_type(self) -> str:
        """The primary type."""
        return self.model_types[0]


class TenantLLMService:
    """All verbs query the database in the caller's thread; names may be written in every way that calls may."""

    @classmethod
    def get_api_key(cls, tenant_id: str, model_name: str) -> ApiKey | None:
        """The tenant's row for a model, enabled or not, those that can be called first; None if there is none.

        A service's model is no row of the tenant's. Raises NotAuthorized, with the candidates, for a name that several
        models have.
        """
        row = _find(tenant_id, model_name)
        return None if row is None else _as_key(row)

    @classmethod
    def get_my_llms(cls, tenant_id: str) -> list[dict[str, Any]]:
        """One item for each model and type whose key works or has not been tested; with their factories' tags."""
        rows = _rows(tenant_id).exclude(credential__state__in=UNUSABLE).filter(factory__status=VALID)
        return [
            {
                "llm_factory": row.factory.name,
                "logo": row.factory.logo,
                "tags": row.factory.tags,
                "model_type": kind,
                "llm_name": row.llm_name,
                "used_tokens": row.used_tokens,
                "status": row.status,
            }
            for row in rows.order_by("factory__name", "llm_name", "id")
            for kind in row.model_types
        ]

    @staticmethod
    def split_model_name_and_factory(model_name: str) -> tuple[str, str | None]:
        """The model's own name, and its factory if it names one of the catalogue's."""
        return split(model_name, _factories())

    @classmethod
    @sensitive_variables()
    def get_model_config(cls, tenant_id: str, llm_type: str, llm_name: str | None = None) -> dict[str, Any]:
        """What is needed to call a model; without a name the tenant's default of the type.

        `api_key` is an `OpenSecret`, which tells its text to the origin it was given for and to nothing else (None
        without a key). Raises NotAuthorized (a LookupError), InvalidInput for an unknown type, SecretError for a key
        that cannot be read.
        """
        tenant = Tenant.objects.filter(pk=tenant_id, status=VALID).first()
        if tenant is None:
            raise NotAuthorized("Tenant not found.")
        kind = kind_of(llm_type)
        name = llm_name or getattr(tenant, DEFAULT_MODEL_COLUMNS[kind])
        if not name:
            raise NotAuthorized(f"{kind.value} model name is required: the tenant has no default one.")
        row = _meant(tenant_id, name)
        if isinstance(row, ServiceModel) and _can(calls.types_of(row), kind):
            return _config_of_served(row, tenant_id, kind)
        if not isinstance(row, TenantLLM) or not row.is_usable or not _can(row.model_types, kind):
            raise NotAuthorized(
                f"Model({redact(name)[:200]}) not authorized.",
                hint=f"It is not among the tenant's enabled models for {kind.value}; a route has no key of its own.",
            )
        return {
            "id": row.pk,
            "tenant_id": row.tenant_id,
            "llm_factory": row.factory.name,
            "llm_name": row.llm_name,
            "model_type": kind.value,
            "api_key": row.credential.open_secret(),
            "api_base": row.credential.effective_base_url,
            "max_tokens": row.max_tokens,
            "used_tokens": row.used_tokens,
            "is_tools": row.supports_tools,
            "status": row.status,
        }

    @classmethod
    def model_instance(
        cls, tenant_id: str, llm_type: str, llm_name: str | None = None, lang: str = "Chinese", **kwargs: Any
    ) -> LLMBundle | None:
        """The model, ready to be called; None if it is not of this type. Raises NotAuthorized if there is none."""
        try:
            return LLMBundle(tenant_id, llm_type, llm_name, lang, **kwargs)
        except InvalidInput as error:
            if error.code == "wrong_model_type":
                return None
            raise

    @classmethod
    def increase_usage(cls, tenant_id: str, llm_type: str, used_tokens: int, llm_name: str | None = None) -> int:
        """Book tokens that were used elsewhere than through the gateway, as one call; how many rows that changed.

        Raises InvalidInput for a count that is none, Unavailable if the ledger does not take it.
        """
        if type(used_tokens) is not int or not 0 <= used_tokens <= LARGEST_COUNT:
            raise InvalidInput(f"used_tokens is a whole number from 0 to {LARGEST_COUNT}.")
        kind = kind_of(llm_type)
        tenant = Tenant.objects.filter(pk=tenant_id).first()
        name = str(llm_name or getattr(tenant, DEFAULT_MODEL_COLUMNS[kind], ""))
        row = _meant(tenant_id, name) if name else None
        if row is None or not used_tokens:
            return 0
        of_service = isinstance(row, ServiceModel)
        record = CallRecord(
            id=new_id(),
            tenant_id=tenant_id,
            token_id="",
            tenant_llm_id=None if of_service else row.pk,
            factory=row.service.name if isinstance(row, ServiceModel) else row.factory.name,
            llm_name=row.name if isinstance(row, ServiceModel) else row.llm_name,
            model=name[:255],
            route="",
            operation=operation_for(kind).value,
            stream=False,
            started_at=time.time(),
            latency_ms=0,
            first_token_ms=None,
            outcome=Outcome.COMPLETE.value,
            status=200,
            error_code="",
            attempts=((str(row), "ok", 0),),
            usage=Usage(input_tokens=used_tokens, estimated=True),
            cost=None,
            request_id="",
        )
        if refused := ledger.ingest([record]):
            raise Unavailable(f"The usage was not booked: {refused[0].reason}.")
        return 1

    @classmethod
    def get_openai_models(cls, tenant_id: str) -> list[dict[str, Any]]:
        """The tenant's models of OpenAI, but those for embedding."""
        return [
            {"id": row.pk, "llm_name": row.llm_name, "model_type": _primary(row), "status": row.status}
            for row in _rows(tenant_id).filter(factory__name=OPENAI).order_by("llm_name", "id")
            if LLMType.EMBEDDING.value not in row.model_types
        ]

    @staticmethod
    def llm_id2llm_type(llm_id: str, tenant_id: str | None = None) -> str | None:
        """The primary type of a model of the catalogue, or of the tenant's; None if it is unknown, or if models of that
        name differ."""
        if tenant_id is not None:
            try:
                row = _meant(tenant_id, llm_id)
            except NotAuthorized:
                return None
            if row is not None:
                return calls.types_of(row)[0] if isinstance(row, ServiceModel) else _primary(row)
        own, factory = split(llm_id, _factories())
        found = LLM.objects.filter(llm_name=own, **({"factory__name": factory} if factory else {}))
        kinds = {_primary(llm) for llm in found.only("model_types")}
        return kinds.pop() if len(kinds) == 1 else None


def _factories() -> set[str]:
    return set(LLMFactory.objects.values_list("name", flat=True))


def _rows(tenant_id: str) -> QuerySet[TenantLLM]:
    rows = TenantLLM.objects.for_tenant(tenant_id).saved()
    return rows.select_related("tenant", "factory", "llm", "credential__factory")


def _find(tenant_id: str, name: str) -> TenantLLM | None:
    """The row of the tenant's own that a name means, by the rules that calls go by."""
    found = _meant(tenant_id, name)
    return found if isinstance(found, TenantLLM) else None


def _meant(tenant_id: str, name: str) -> TenantLLM | ServiceModel | None:
    """What a name means, by the rules that calls go by: the tenant's own, or a model of a service that it may use."""
    if "\0" in name:
        return None
    factories = _factories()
    wanted = {name, split(name, factories)[0], name.partition("/")[2]} - {""}
    alike = Q(llm_name__in=wanted)
    for stem in wanted:
        alike |= Q(llm_name__startswith=f"{stem}{SUFFIX}")
    rows = list(_rows(tenant_id).filter(alike).order_by("created_at", "id"))
    own = {name, name.partition("~")[2], name.rpartition("@")[0]} - {""}
    served = {
        model.full_name: model
        for model in ServiceModel.objects.for_tenant(tenant_id)
        .filter(name__in=own | {f"{one}{IMPLIED_TAG}" for one in own})
        .select_related("service")
    }
    models = ((str(row), row.llm_name, row.factory.name) for row in rows)
    names = Names.build(models, (), factories, [(full_name, model.name) for full_name, model in served.items()])
    try:
        found = names.resolve(name)
    except NameNotFound:
        return None
    except NameAmbiguous as error:
        alike_names = ", ".join(error.candidates)
        raise NotAuthorized(f"Several models have this name: {alike_names}.", hint="Write one of these.") from None
    return _best(row for row in rows if str(row) == found.id) or served.get(found.id)


def _config_of_served(model: ServiceModel, tenant_id: str, kind: LLMType) -> dict[str, Any]:
    """As of a tenant's own model; `id` is None, for the tenant has no row of it. Of several URLs the first."""
    service = model.service
    url = next(iter(calls.urls(service, drivers.get(service.type))), "")
    return {
        "id": None,
        "tenant_id": tenant_id,
        "llm_factory": service.name,
        "llm_name": model.name,
        "model_type": kind.value,
        "api_key": calls.key(service, url),
        "api_base": url,
        "max_tokens": model.max_tokens or 0,
        "used_tokens": 0,
        "is_tools": model.tooling,
        "status": VALID,
    }


def _best(rows: Iterable[TenantLLM]) -> TenantLLM | None:
    """The first that can be called, else the first."""
    return min(rows, key=lambda row: not row.is_usable, default=None)


def _primary(row: TenantLLM | LLM) -> str:
    return str(next(iter(row.model_types)))


def _can(kinds: Iterable[str], kind: LLMType) -> bool:
    """Whether a model of these types is of this one, or of one that is called the same way."""
    return operation_for(kind) in {operation_for(LLMType(one)) for one in kinds}


def _as_key(row: TenantLLM) -> ApiKey:
    last4 = row.credential.secret_last4
    return ApiKey(
        id=row.pk,
        tenant_id=row.tenant_id,
        llm_factory=row.factory.name,
        llm_name=row.llm_name,
        model_types=tuple(row.model_types),
        api_base=row.credential.effective_base_url,
        max_tokens=row.max_tokens,
        used_tokens=row.used_tokens,
        is_tools=row.supports_tools,
        status=row.status,
        credential_id=row.credential_id,
        api_key=f"…{last4}" if last4 else "",
        fingerprint=row.credential.secret_fingerprint,
    )
