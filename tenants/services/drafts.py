"""Test first, save only what works.

A key that a person submits becomes a draft: a credential row that no list shows and no call uses, because a task can
be given an id but never a key. The probe job tests it. If it works, the draft becomes the credential, or takes the
place of the one that it replaces; if not, the draft and its secret are deleted and the probes say why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction

from core.audit import Actor
from core.clock import now
from core.errors import Conflict
from core.origins import origin_of
from jobs.models import FINISHED, Job
from jobs.services import queue
from providers.models import LLMFactory
from tenants.models import Credential, CredentialState, Probe, Tenant
from tenants.services import credentials, routing, tenant_llms
from tenants.services.sealing import put_secret
from tenants.services.tenant_llms import ModelPlan
from tenants.services.values import check_base_url, check_values

ABANDONED_AFTER = timedelta(hours=1)


@transaction.atomic
def submit(
    *,
    tenant: Tenant,
    factory: LLMFactory,
    values: Mapping[str, Any],
    base_url: str | None = "",
    label: str = "",
    models: Sequence[ModelPlan],
    replaces: Credential | None = None,
    save: bool = True,
    share: bool = False,
    actor: Actor,
) -> Job:
    """Start testing a key (and the models it is to serve) in the background.

    `replaces` is the saved credential that the draft would change: blank secrets and a base URL of None keep its own.
    With `share`, a saved credential with the same key, fields and base URL gets the models instead of a new one.
    With `save=False` nothing is saved whatever comes out. Raises InvalidInput before anything is stored.
    The finished job's result is `{"ok", "saved", "credential_id", "verdict", "probes", "failures"}`.
    """
    plans = [tenant_llms.checked_plan(plan) for plan in models]
    tenant_llms.refuse_disabled(factory, plans)
    draft = Credential(tenant=tenant, factory=factory, state=CredentialState.DRAFT, created_by_id=actor.user_id)
    draft.replaces = replaces
    draft.label = credentials.check_label(label)
    draft.plan = {"models": [plan.as_data() for plan in plans], "save": save, "share": share}
    draft.plan["actor"] = _actor_data(actor)
    draft.plan["base"] = "" if replaces is None else credentials.version_of(replaces)
    _fill(draft, values, base_url)
    draft.save()
    return queue.enqueue(
        "probe",
        params={"credential_id": draft.pk, "pairs": None},
        tenant_id=tenant.pk,
        actor=actor,
        timeout_s=credentials.probe_job_timeout_s(factory, 2 * len(plans)),
    )


def _fill(draft: Credential, values: Mapping[str, Any], base_url: str | None) -> None:
    old = draft.replaces
    checked = check_values(draft.factory, values, partial=old is not None)
    if old is None:
        draft.base_url = check_base_url(draft.factory, base_url or "")
        credentials.put_values(draft, checked)
        return
    copy = Credential.objects.select_related("factory", "tenant").get(pk=old.pk)
    credentials.move_and_put(
        copy, copy.base_url if base_url is None else check_base_url(draft.factory, base_url), checked
    )
    draft.base_url, draft.fields = copy.base_url, copy.fields
    opened = copy.open_secret()
    if opened is not None:
        text = opened.reveal(origin=origin_of(copy.effective_base_url))
        put_secret(draft, text, also=opened.also)


def plans_of(draft: Credential) -> list[ModelPlan]:
    return [ModelPlan(**data) for data in draft.plan.get("models", [])]


@transaction.atomic
def promote(draft: Credential) -> Credential:
    """Make a tested draft the tenant's credential, with its models; safe against a concurrent promotion.

    What was changed since the draft was made is not undone: a draft that only brings models leaves it alone, and one
    that wants something else raises Conflict. Raises SecretError if the key would go to another server than the one
    that it was tested with.
    """
    credentials.lock(draft.tenant)
    actor = Actor(**draft.plan["actor"])
    target = draft.replaces or _same_label(draft) or (_twin(draft) if draft.plan.get("share") else None)
    if target is None:
        target = draft
        target.label = draft.label or credentials.free_label(draft.tenant, draft.factory, draft.base_url)
        target.state = CredentialState.UNTESTED
        action = "credential.created"
    else:
        target = Credential.objects.select_related("factory", "tenant").get(pk=target.pk)
        if _brings_news(draft, target):
            target.base_url, target.fields = draft.base_url, draft.fields
            opened, origin = draft.open_secret(), origin_of(target.effective_base_url)
            text = "" if opened is None else opened.reveal(origin=origin)
            put_secret(target, text, also=opened.also if opened else None)
            credentials.reset_verdict(target)
        action = "credential.updated"
    plans = plans_of(draft)
    if target.pk != draft.pk:
        Probe.objects.filter(credential=draft).update(credential=target)
        draft.delete()
    target.replaces, target.plan = None, {}
    credentials.save(target)
    left = tenant_llms.save_plans(target, plans)
    credentials.delete_unused(target.tenant, left, actor=actor)
    credentials.record(action, target, actor, models=len(plans), tested=True)
    return target


def _brings_news(draft: Credential, target: Credential) -> bool:
    """Whether the target is to become what the draft is; raises Conflict if somebody made it something else."""
    base, wanted, present = draft.plan.get("base"), credentials.version_of(draft), credentials.version_of(target)
    if present in (base, wanted):
        return True
    if wanted == base:
        return False
    raise Conflict(
        f"{target} was changed while this was being tested.", hint="Look at it, and make your change again if need be."
    )


def _same_label(draft: Credential) -> Credential | None:
    """The credential that took the draft's label in the meantime: an identical write that came first."""
    if not draft.label:
        return None
    rows = Credential.objects.filter(tenant=draft.tenant_id, factory=draft.factory_id, label=draft.label)
    return rows.saved().select_related("factory", "tenant").first()


def _twin(draft: Credential) -> Credential | None:
    """A saved credential that is the same in all but its label."""
    columns = ("tenant_id", "factory_id", "base_url", "secret_fingerprint")
    rows = Credential.objects.filter(**{column: getattr(draft, column) for column in columns})
    saved = rows.saved().select_related("factory", "tenant").order_by("created_at", "id")
    return next((row for row in saved if row.fields == draft.fields), None)


def discard(draft: Credential) -> None:
    """Delete a draft and the secret in it."""
    Credential.objects.filter(pk=draft.pk, state=CredentialState.DRAFT).delete()


def discard_abandoned() -> int:
    """Delete the drafts that no job will finish any more; how many there were."""
    drafts = Credential.objects.filter(state=CredentialState.DRAFT, created_at__lt=now() - ABANDONED_AFTER)
    alive = set(
        Job.objects.filter(type="probe").exclude(state__in=FINISHED).values_list("params__credential_id", flat=True)
    )
    gone = [pk for pk in drafts.values_list("pk", flat=True) if pk not in alive]
    Credential.objects.filter(pk__in=gone, state=CredentialState.DRAFT).delete()
    return len(gone)


def _actor_data(actor: Actor) -> dict[str, Any]:
    return {"user_id": actor.user_id, "token_id": actor.token_id, "label": actor.label, "address": actor.address}


@transaction.atomic
def save_untested(
    *,
    tenant: Tenant,
    factory: LLMFactory,
    values: Mapping[str, Any],
    base_url: str | None = "",
    label: str = "",
    models: Sequence[ModelPlan],
    replaces: Credential | None = None,
    share: bool = False,
    actor: Actor,
) -> Credential:
    """The same as `submit`, saved at once and shown as untested."""
    plans = [tenant_llms.checked_plan(plan) for plan in models]
    tenant_llms.refuse_disabled(factory, plans)
    if replaces is None and share:
        credentials.lock(tenant)
        draft = Credential(tenant=tenant, factory=factory)
        _fill(draft, values, base_url)
        replaces = _twin(draft)
    if replaces is None:
        saved = credentials.create(
            tenant=tenant, factory=factory, values=values, base_url=base_url or "", label=label, actor=actor
        )
    else:
        saved = credentials.update(replaces, actor=actor, base_url=base_url, values=values)
    left = tenant_llms.save_plans(saved, plans)
    credentials.delete_unused(tenant, left, actor=actor)
    routing.bump(tenant.pk)
    return saved
