"""The staff groups that come with the product, and exactly what each may do in the admin.

    curator         the catalogue: factories and models, their import and their history
    operator        services: who they are, how they are reached, by whom; their models; all jobs
    tenant support  tenants and what they own, to look at, to test and to switch on and off; never a secret;
                    services, to look at, to test, and to manage their models
    auditor         everything, to look at

The groups are the product's: `migrate` sets them to what is written here. Who needs other rights makes another group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.contrib.auth.models import Group, Permission

CURATOR, OPERATOR, SUPPORT, AUDITOR = "curator", "operator", "tenant support", "auditor"

# Session data opens accounts; the rest of Django's own tables tells an auditor nothing.
NOT_FOR_AUDITORS = frozenset({"sessions", "contenttypes"})

_CURATES = {
    "providers": frozenset(
        {
            *(f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("llmfactory", "llm")),
            *(f"view_historical{model}" for model in ("llmfactory", "llm")),
        }
    )
}
_WATCHED = frozenset({"view_llmservice", "view_servicemodel", "view_serviceevent", "operate_llmservice"})
_OPERATES = {
    "runtimes": _WATCHED | {f"{verb}_llmservice" for verb in ("add", "change", "delete")} | {"approve_networks"},
    "jobs": frozenset({"view_job", "change_job"}),
    "tenants": frozenset({"view_tenant"}),  # by whom a service may be used is chosen by name
}
_SUPPORTS = {
    "providers": frozenset({"view_llmfactory", "view_llm"}),
    "runtimes": _WATCHED,
    "jobs": frozenset({"view_job"}),
    "tenants": frozenset(
        {
            *(f"view_{model}" for model in ("tenant", "membership", "apitoken", "credential", "tenantllm")),
            *(f"view_{model}" for model in ("route", "probe", "langfuseproject")),
            *(f"operate_{model}" for model in ("tenant", "credential", "tenantllm", "route")),
        }
    ),
    "usage": frozenset(
        f"view_{model}" for model in ("usagerecord", "usagedaily", "ratelimit", "budget", "budgetalert")
    ),
}


def _from(table: Mapping[str, frozenset[str]]) -> Callable[[str, str], bool]:
    return lambda app_label, codename: codename in table.get(app_label, ())


def _looks(app_label: str, codename: str) -> bool:
    return codename.startswith("view_") and app_label not in NOT_FOR_AUDITORS


GROUPS: Mapping[str, Callable[[str, str], bool]] = {
    CURATOR: _from(_CURATES),
    OPERATOR: _from(_OPERATES),
    SUPPORT: _from(_SUPPORTS),
    AUDITOR: _looks,
}


def sync(app_label: str, *, using: str = "default") -> None:
    """Make each group hold exactly its permissions on the models of one app; permissions on others stay as they are."""
    permissions = list(Permission.objects.using(using).filter(content_type__app_label=app_label))
    for name, wants in GROUPS.items():
        group, _ = Group.objects.using(using).get_or_create(name=name)
        held = set(
            group.permissions.using(using).filter(content_type__app_label=app_label).values_list("pk", flat=True)
        )
        wanted = {permission.pk for permission in permissions if wants(app_label, permission.codename)}
        if wanted - held:
            group.permissions.add(*(wanted - held))
        if held - wanted:
            group.permissions.remove(*(held - wanted))
