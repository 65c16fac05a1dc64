"""What the llm_app endpoints show: factories, a tenant's models, and the models it can choose from.

Each takes a constant number of queries, and none reads a secret.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.db.models import Q, QuerySet

from core.clock import epoch_ms
from providers.llm_types import LLMType
from providers.models import DEFAULT_MAX_TOKENS, LLM, VALID, Catalogued, LLMFactory
from runtimes.models import ServiceModel
from tenants.models import Tenant, TenantLLM
from tenants.services import defaults

ALWAYS_AVAILABLE = "flag-embedding"


def factories() -> list[dict[str, Any]]:
    """The factories on offer, best rank first, with the model types their catalogue has (all, if it has no models)."""
    kinds: dict[int, set[str]] = defaultdict(set)
    for factory_id, types in LLM.objects.valid().values_list("factory_id", "model_types"):
        kinds[factory_id].update(types)
    return [
        {
            "name": factory.name,
            "logo": factory.logo,
            "tags": factory.tags,
            "rank": factory.rank,
            "status": factory.status,
            "model_types": sorted(kinds.get(factory.pk) or [kind.value for kind in LLMType]),
            **_moments(factory),
        }
        for factory in LLMFactory.objects.offered().order_by("-rank", "name")
    ]


def my_llms(tenant: Tenant, *, include_details: bool) -> dict[str, dict[str, Any]]:
    """The tenant's models by factory, one item per (model, type)."""
    groups: dict[str, dict[str, Any]] = {}
    for row in _rows(tenant):
        group = groups.setdefault(row.factory.name, {"tags": row.factory.tags, "llm": []})
        for kind in row.model_types:
            item = {
                "id": row.pk,
                "type": kind,
                "name": row.llm_name,
                "used_token": row.used_tokens,
                "status": row.status,
            }
            group["llm"].append({**item, **_details(row)} if include_details else item)
    return groups


def choices(tenant: Tenant, *, model_type: str = "") -> dict[str, list[dict[str, Any]]]:
    """The models that the tenant can choose from, by factory; `model_type` is a part of the type's name.

    First those of the catalogue that it has enabled (and the built-in ones), then its own, then those of the services
    that it may use: `name@service` is what they can be called by. Disabled ones are left out.
    """
    owned: dict[tuple[int, str], list[TenantLLM]] = defaultdict(list)
    for row in _rows(tenant):
        if row.status == VALID:
            owned[row.factory_id, row.llm_name].append(row)
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    shown: set[tuple[int, str, str]] = set()
    for llm in _catalogue({name for _factory, name in owned}):
        rows = owned.get((llm.factory_id, llm.llm_name), [])
        if not rows and not _is_built_in(llm.factory):
            continue
        for kind in _kinds(rows) or llm.model_types:
            shown.add((llm.factory_id, llm.llm_name, kind))
            if model_type in kind:
                groups[llm.factory.name].append({**_catalogued(llm), "model_type": kind, **_availability(llm, rows)})
    for (factory_id, name), rows in owned.items():
        for kind in _kinds(rows):
            if (factory_id, name, kind) not in shown and model_type in kind:
                usable = [row for row in rows if kind in row.model_types and row.is_usable]
                fid = rows[0].factory.name
                item = {"llm_name": name, "model_type": kind, "fid": fid, "status": VALID}
                groups[fid].append({**item, "id": (usable or rows)[0].pk, "available": bool(usable)})
    for model in _served(tenant):
        for kind in model.model_types or ():
            if model_type in kind:
                groups[model.service.name].append({**_of_service(model), "model_type": kind})
    return dict(groups)


def _rows(tenant: Tenant) -> QuerySet[TenantLLM]:
    rows = TenantLLM.objects.for_tenant(tenant).saved().select_related("factory", "credential", "llm")
    return rows.defer("credential__secret", "factory__logo").order_by("factory__name", "id")


def _catalogue(names: set[str]) -> list[LLM]:
    """The catalogue rows that may be shown: of the tenant's own factories, or built in."""
    built_in = Q(factory__hidden=True, factory__keyless=True)
    rows = LLM.objects.valid().filter(factory__status=VALID).select_related("factory").defer("factory__logo")
    candidates = rows.filter(built_in | Q(llm_name__in=names)) if len(names) <= 500 else rows
    return list(candidates.order_by("factory__name", "llm_name"))


def _served(tenant: Tenant) -> QuerySet[ServiceModel]:
    """Of services that no factory is called like: its models would be taken for the factory's."""
    named_alike = LLMFactory.objects.order_by().values("name")
    return defaults.choosable_served(tenant).exclude(service__name__in=named_alike).order_by("service__name", "name")


def _of_service(model: ServiceModel) -> dict[str, Any]:
    return {
        "llm_name": model.name,
        "fid": model.service.name,
        "max_tokens": model.max_tokens or DEFAULT_MAX_TOKENS,
        "is_tools": model.tooling,
        "status": VALID,
        "id": None,
        "available": True,
    }


def _is_built_in(factory: LLMFactory) -> bool:
    """Internal, and needs no key: its models are everybody's."""
    return factory.hidden and factory.keyless


def _kinds(rows: list[TenantLLM]) -> list[str]:
    return list(dict.fromkeys(kind for row in rows for kind in row.model_types))


def _availability(llm: LLM, rows: list[TenantLLM]) -> dict[str, Any]:
    usable = [row for row in rows if row.is_usable]
    free = not rows and (llm.factory.self_deployed or llm.llm_name.lower() == ALWAYS_AVAILABLE)
    return {"available": bool(usable) or free, "id": (usable or rows)[0].pk if rows else None}


def _catalogued(llm: LLM) -> dict[str, Any]:
    return {
        "llm_name": llm.llm_name,
        "fid": llm.factory.name,
        "max_tokens": llm.max_tokens or DEFAULT_MAX_TOKENS,
        "tags": llm.tags,
        "is_tools": llm.is_tools,
        "status": llm.status,
        **_moments(llm),
    }


def _details(row: TenantLLM) -> dict[str, Any]:
    return {
        "api_base": row.credential.base_url,
        "max_tokens": row.max_tokens or DEFAULT_MAX_TOKENS,
        "is_tools": row.supports_tools,
        "instance": row.credential.label,
        "verdict": row.verdict,
    }


def _moments(row: Catalogued) -> dict[str, Any]:
    return {
        "create_time": epoch_ms(row.created_at),
        "create_date": row.created_at,
        "update_time": epoch_ms(row.updated_at),
        "update_date": row.updated_at,
    }
