"""Which of a tenant's credentials a model that is added or edited goes through.

RAGFlow knows one row per (tenant, factory, name), with a key and a URL of its own. Here models share credentials: one
goes to the credential that already has its base URL, key and fields; one that is alone on its credential takes it along
when it is edited; else it gets a credential of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput
from core.origins import origin_of
from core.secrets import fingerprint
from providers.models import LLMFactory
from tenants.models import Credential, Tenant, TenantLLM
from tenants.services import credentials
from tenants.services.values import Values, check_base_url, check_values, secret_text


@dataclass(frozen=True, slots=True)
class Placement:
    """`replaces`: the saved credential it goes through. `moves`: the model's row on another one, which comes over."""

    values: Mapping[str, Any]
    base_url: str | None
    replaces: Credential | None = None
    label: str = ""
    moves: int | None = None

    @property
    def share(self) -> bool:
        return self.replaces is None and not self.label


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request says about the credential; `base_url` None: nothing."""

    factory: LLMFactory
    values: Mapping[str, Any]
    base_url: str | None

    @property
    def checked(self) -> Values:
        return check_values(self.factory, self.values, partial=True)

    def url_over(self, saved: Credential) -> str:
        """The address that calls would go to if this were laid over a saved credential."""
        own = saved.base_url if self.base_url is None else check_base_url(self.factory, self.base_url)
        return own or self.factory.base_url_for(self.checked.laid_over(saved.fields))

    @property
    def is_told(self) -> bool:
        """Whether it has what differs from model to model, such as an endpoint's id: that is not taken from others."""
        plain = [spec for spec in self.factory.credential_fields if spec.get("required") and not spec.get("secret")]
        return all(spec.get("default") or spec.get("model_types") or self.values.get(spec["name"]) for spec in plain)

    def fits(self, credential: Credential) -> bool:
        """Whether the credential has the base URL, and whatever else the request names."""
        checked = self.checked
        same_key = not checked.secret or credential.secret_fingerprint == fingerprint(
            secret_text(self.factory, checked.secret)
        )
        same_fields = all(credential.fields.get(name) == text for name, text in checked.plain.items())
        cleared = any(credential.fields.get(name) for name in checked.cleared)
        return same_key and same_fields and not cleared and self.url_over(credential) == credential.effective_base_url


def place(
    tenant: Tenant,
    factory: LLMFactory,
    *,
    stored_name: str,
    values: Mapping[str, Any],
    base_url: str | None,
    instance: str,
) -> Placement:
    """Decide for one model; raises InvalidInput if a key would be left behind or a base URL is missing."""
    saved = list(
        Credential.objects.for_tenant(tenant).saved().filter(factory=factory).select_related("factory", "tenant")
    )
    saved.sort(key=lambda credential: (credential.label != "default", credential.created_at, credential.pk))
    if instance:
        named = next((credential for credential in saved if credential.label == instance), None)
        return Placement(values, base_url if named or base_url else "", named, instance)
    rows = TenantLLM.objects.for_tenant(tenant).saved().filter(factory=factory, llm_name=stored_name)
    by_credential = {row.credential_id: row for row in rows.order_by("id")}
    having = [credential for credential in saved if credential.pk in by_credential]
    if not having:
        wanted = Wanted(factory, values, base_url or "")
        fitting = next(filter(wanted.fits, saved), None) if wanted.is_told else None
        return Placement(values, wanted.base_url, fitting)
    wanted = Wanted(factory, values, base_url)
    present = next((one for one in having if wanted.url_over(one) == one.effective_base_url), having[0])
    return _edit(wanted, present, by_credential[present.pk], saved)


def _edit(wanted: Wanted, present: Credential, row: TenantLLM, saved: list[Credential]) -> Placement:
    if wanted.fits(present):
        return Placement(wanted.values, wanted.base_url, present)
    if other := next(filter(wanted.fits, saved), None):
        return Placement(wanted.values, wanted.base_url, other, moves=row.pk)
    if present.tenant_llms.count() == 1:
        return Placement(wanted.values, wanted.base_url, present)
    return Placement(_carried(wanted, present), _own_url(wanted, present), moves=row.pk)


def _own_url(wanted: Wanted, present: Credential) -> str:
    return present.base_url if wanted.base_url is None else wanted.base_url


def _carried(wanted: Wanted, present: Credential) -> dict[str, Any]:
    """The values of a credential that splits off: what is not given again is kept, the key only at its own origin."""
    url = wanted.url_over(present)
    kept: dict[str, str] = {}
    if origin_of(url) == origin_of(present.effective_base_url):
        kept = credentials.saved_parts(present)
    elif present.secret is not None and not wanted.checked.secret:
        raise InvalidInput(
            "The saved key is not sent to another server.",
            hint="Enter the key again together with the new base URL.",
            fields={"api_base": ["A new host needs the key again."]},
        )
    return {**kept, **present.fields, **wanted.values}
