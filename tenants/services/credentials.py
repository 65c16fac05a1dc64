"""A tenant's credentials: saved, changed, tested, deleted. The only place that seals a tenant's key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.views.decorators.debug import sensitive_variables

from core import audit
from core.audit import Actor
from core.errors import Conflict, InvalidInput
from core.netguard import Networks, parse_networks
from core.origins import origin_of
from core.secrets import OpenSecret, SecretError, fingerprint
from jobs.models import Job
from jobs.services import queue
from providers.base_urls import completed
from providers.errors import Verdict
from providers.llm_types import LLMType
from providers.models import LLM, LLMFactory
from providers.quirks import Quirks
from providers.services.statuses import check_status
from providers.target import CredentialFields, Target
from providers.upstream import Policy
from tenants.models import Credential, CredentialState, Tenant
from tenants.services import routes, routing, tenant_llms
from tenants.services.sealing import narrow, put_secret, reach, token_origin
from tenants.services.values import Values, check_base_url, check_secrets, check_values, secret_parts, secret_text

MAX_LABEL = 100


@transaction.atomic
def create(
    *,
    tenant: Tenant,
    factory: LLMFactory,
    values: Mapping[str, Any],
    base_url: str = "",
    label: str = "",
    actor: Actor,
) -> Credential:
    """Save a credential without testing it; raises InvalidInput or Conflict (the label is taken)."""
    lock(tenant)
    checked, url = check_values(factory, values), check_base_url(factory, base_url)
    credential = Credential(tenant=tenant, factory=factory, base_url=url, created_by_id=actor.user_id)
    credential.label = check_label(label) or free_label(tenant, factory, url)
    put_values(credential, checked)
    save(credential)
    record("credential.created", credential, actor)
    return credential


@transaction.atomic
def update(
    credential: Credential,
    *,
    actor: Actor,
    label: str | None = None,
    base_url: str | None = None,
    values: Mapping[str, Any] | None = None,
    status: str | None = None,
) -> Credential:
    """Change what is given and keep the rest, the key above all.

    A key never follows its credential to another origin by itself: a base URL on another host needs the key again.
    """
    lock(credential.tenant)
    credential = Credential.objects.select_related("factory", "tenant").get(pk=credential.pk)
    changed = []
    if label is not None and check_label(label) != credential.label:
        credential.label = check_label(label) or credential.label
        changed.append("label")
    if status is not None and status != credential.status:
        credential.status = check_status(status)
        changed.append("status")
    if base_url is not None or values:
        checked = check_values(credential.factory, values or {}, partial=True)
        url = credential.base_url if base_url is None else check_base_url(credential.factory, base_url)
        if move_and_put(credential, url, checked):
            changed.append("values")
            reset_verdict(credential)
    if changed:
        save(credential)
        record("credential.updated", credential, actor, changed=changed)
    return credential


@transaction.atomic
def delete(credential: Credential, *, actor: Actor) -> None:
    """Remove a credential, its secret and its models, these out of their routes too; its probes stay as history."""
    lock(credential.tenant)
    used = [loss.route.name for loss in routes.losses(credential.tenant_llms.all())]
    detail = {"routes": used} if used else {}
    record("credential.deleted", credential, actor, models=credential.tenant_llms.count(), **detail)
    credential.delete()
    routing.bump(credential.tenant_id)


@transaction.atomic
def delete_unused(tenant: Tenant, ids: Iterable[str], *, actor: Actor) -> None:
    """Remove those of the credentials that serve no model any more."""
    for credential in Credential.objects.for_tenant(tenant).saved().filter(pk__in=list(ids), tenant_llms=None):
        delete(credential, actor=actor)


def test(credential: Credential, *, actor: Actor, pairs: Sequence[tuple[str, str]] | None = None) -> Job:
    """Test a saved credential in the background: the given (llm_name, model_type) pairs, or the usual plan.

    Raises InvalidInput for a pair that the credential does not serve.
    """
    if pairs:
        tenant_llms.check_served(credential, pairs)
    return queue.enqueue(
        "probe",
        params={"credential_id": credential.pk, "pairs": [list(pair) for pair in pairs] if pairs else None},
        tenant_id=credential.tenant_id,
        actor=actor,
        dedupe_key=test_key(credential) if not pairs else "",
        timeout_s=probe_job_timeout_s(credential.factory, len(pairs or ())),
    )


def test_key(credential: Credential) -> str:
    """By which two tests of the same credential become one; after an edit it is another one."""
    return f"test:{credential.pk}:{version_of(credential)}"


def version_of(credential: Credential) -> str:
    """Differs as soon as calls through the credential would: by another key, base URL or field."""
    parts = [credential.base_url, credential.fields, credential.secret_fingerprint]
    return fingerprint(json.dumps(parts, sort_keys=True))


def probe_job_timeout_s(factory: LLMFactory, calls: int) -> int:
    """Enough for so many calls and the usual plan's, each as long as it may take."""
    call_s = Quirks.from_data(factory.quirks).probe_timeout_s or 0
    return int(60 + max(call_s, settings.PROBE_TIMEOUT_S) * (4 + calls))


# --- What a call needs ---------------------------------------------------------------------------------------------


def target_for(
    credential: Credential, *, llm_name: str, model_type: str | None = None, llm: LLM | None = None
) -> Target:
    """Where a call for this model goes; raises SecretError when the key cannot be read."""
    factory = credential.factory
    quirks = Quirks.from_data(factory.quirks)
    if llm is not None:
        quirks = quirks.merge(Quirks.from_data(llm.quirks))
    return Target(
        factory=factory.name,
        model=llm_name,
        base_url=completed(credential.effective_base_url, factory.base_url_for(credential.fields)),
        dialect=(quirks.dialect_for(model_type) if model_type else None) or factory.dialect,
        signer=(quirks.signers.get(LLMType(model_type)) if model_type else None) or factory.signer,
        quirks=quirks,
        credential=CredentialFields(
            credential.fields, credential.open_secret(), owner=credential.tenant_id, installation=own_keys(credential)
        ),
        own_base_url=bool(credential.base_url),
    )


@sensitive_variables()
def own_keys(credential: Credential) -> OpenSecret | None:
    """The installation's AWS keys, told only to where this credential's tokens are had; None if there are none."""
    origin, (access_key, secret_key) = token_origin(credential), settings.ASSUME_ROLE_KEYS
    if not access_key or not origin.startswith("https://"):
        return None
    keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}
    return OpenSecret(json.dumps(keys), origin)


def approved_networks(factory: LLMFactory) -> Networks:
    """The non-public networks that staff approved: for everything, and for this factory."""
    return parse_networks([*settings.ALLOWED_NETWORKS, *factory.allowed_networks])


def policy_for(factory: LLMFactory, *, total_timeout_s: float | None = None) -> Policy:
    """How far a call to this factory may go, and for how long."""
    return Policy(
        allowed_networks=approved_networks(factory),
        connect_timeout_s=settings.PROBE_CONNECT_TIMEOUT_S,
        total_timeout_s=total_timeout_s or settings.PROBE_TIMEOUT_S,
    )


# --- Parts that drafts share ---------------------------------------------------------------------------------------


def lock(tenant: Tenant) -> None:
    """Let the writers of one tenant take turns until the transaction ends."""
    Tenant.objects.select_for_update().filter(pk=tenant.pk).values_list("pk").first()


def put_values(credential: Credential, values: Values) -> None:
    """Set the fields and seal the secret for the credential's row and origin."""
    credential.fields = dict(values.plain)
    put_secret(credential, secret_text(credential.factory, values.secret))


def move_and_put(credential: Credential, url: str, values: Values) -> bool:
    """Apply an edit of base URL and values; whether anything changed. Raises InvalidInput for a key left behind."""
    before = (credential.base_url, dict(credential.fields), credential.secret_fingerprint, reach(credential))
    home = (origin_of(credential.effective_base_url), token_origin(credential))
    credential.base_url, credential.fields = url, values.laid_over(credential.fields)
    moved = home != (origin_of(credential.effective_base_url), token_origin(credential))
    if credential.secret is not None and moved and not values.secret:
        raise InvalidInput(
            "The saved key is not sent to another server.",
            hint="Enter the key again together with the new base URL.",
            fields={"base_url": ["A new host needs the key again."]},
        )
    if values.secret:
        kept = {} if moved else saved_parts(credential)
        parts = {**kept, **values.secret}
        check_secrets(credential.factory, parts)
        put_secret(credential, secret_text(credential.factory, parts))
    elif credential.secret is not None and url != before[0]:
        narrow(credential)
    return before != (credential.base_url, credential.fields, credential.secret_fingerprint, reach(credential))


def saved_parts(credential: Credential) -> dict[str, str]:
    """The saved secret fields by name; {} if there are none, if they cannot be read, or if they were given for another
    server than calls go to now (a factory's own base URL can change)."""
    try:
        opened = credential.open_secret()
        text = "" if opened is None else opened.reveal(origin=origin_of(credential.effective_base_url))
    except SecretError:
        return {}
    return secret_parts(credential.factory, text)


def reset_verdict(credential: Credential) -> None:
    credential.state, credential.verdict = CredentialState.UNTESTED, Verdict.UNTESTED.value
    credential.reason, credential.failures, credential.checked_at = "", 0, None


def check_label(label: str) -> str:
    text = label.strip()
    if len(text) > MAX_LABEL or not text.isprintable():
        raise InvalidInput("The label is not usable.", fields={"label": [f"At most {MAX_LABEL} printable characters."]})
    return text


def free_label(tenant: Tenant, factory: LLMFactory, url: str) -> str:
    """ "default", else the base URL's host and port, else the first free number."""
    taken = set(Credential.objects.filter(tenant=tenant, factory=factory).saved().values_list("label", flat=True))
    host = urlsplit(url).netloc[:90]
    wanted = [label for label in ("default", host) if label]
    numbered = (f"{wanted[-1]}-{number}" for number in range(2, len(taken) + 3))
    return next(label for label in (*wanted, *numbered) if label not in taken)


def save(credential: Credential) -> None:
    try:
        with transaction.atomic():
            credential.save()
    except IntegrityError as error:
        raise Conflict(
            f"There is a credential “{credential.label}” for {credential.factory.name} already.",
            hint="Choose another label, or change that one.",
        ) from error
    routing.bump(credential.tenant_id)


def record(action: str, credential: Credential, actor: Actor, **detail: Any) -> None:
    audit.record(
        action,
        actor=actor,
        tenant_id=credential.tenant_id,
        target=str(credential),
        credential=credential.pk,
        fingerprint=credential.secret_fingerprint,
        **detail,
    )
