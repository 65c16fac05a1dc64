"""Jobs that people and programs ask for by type: who may, what they may say, and what counts as asking twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from core.audit import Actor, record
from core.errors import Conflict, Forbidden
from core.principal import MANAGER_ROLES
from jobs.models import Job, JobRequest
from jobs.services import plain, queue, types
from jobs.services.types import JobType, Who


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that was asked for; `joined` when it was there before."""

    job: Job
    joined: bool


def submit(
    type: str,
    *,
    params: Mapping[str, Any],
    actor: Actor,
    tenant_id: str = "",
    role: str = "",
    is_staff: bool = False,
    idempotency_key: str = "",
) -> Submitted:
    """Make a job of the type (an id or an alias), or find the one that this amounts to.

    For somebody with this role in the tenant. The same user's repeat with the same `idempotency_key` finds the first
    job for as long as its row is kept. Raises InvalidInput (type, params), Forbidden (the type is not theirs to
    start), Conflict (the key was used for something else; one with other params is active), and whatever the type's
    own `prepare` raises.
    """
    job_type = types.named(type)
    plain.check_params(params)
    checked = job_type.check(params)
    require(job_type, tenant_id=tenant_id, role=role, is_staff=is_staff)
    digest = _digest(job_type, checked)
    user_id = actor.user_id or 0
    idempotency_key = idempotency_key if user_id else ""  # the system does not repeat itself
    asked = JobRequest.objects.filter(user_id=user_id, tenant_id=tenant_id, key=idempotency_key)
    if idempotency_key and (first := asked.select_related("job__created_by").first()):
        return _repeat(first, digest)
    made = types.prepared(job_type, checked, actor=actor, tenant_id=tenant_id, is_staff=is_staff)
    own = "" if job_type.who is Who.STAFF else tenant_id
    try:
        with transaction.atomic():
            job, joined = queue.add(
                job_type,
                params=made.params,
                actor=actor,
                tenant_id=own if made.tenant_id is None else made.tenant_id,
                dedupe_key=made.dedupe_key,
            )
            if joined and job.params != dict(made.params):
                raise _other_params(job)
            if not joined:
                record("job.created", actor=actor, tenant_id=job.tenant_id or None, target=str(job))
            if idempotency_key:
                JobRequest.objects.create(
                    user_id=user_id, tenant_id=tenant_id, key=idempotency_key, digest=digest, job=job
                )
    except IntegrityError:
        if idempotency_key and (first := asked.select_related("job__created_by").first()):
            return _repeat(first, digest)  # the same request, twice at the same instant
        raise
    return Submitted(job, joined)


def require_again(job: Job, *, actor: Actor, tenant_id: str = "", role: str = "", is_staff: bool = False) -> None:
    """Raise what `submit` would, were somebody to ask for this very job now: who may see it need not be who may do it.

    What they may not start themselves (types that only our own code starts) has nothing to be refused by.
    """
    job_type = types.find(job.type)
    if is_staff or job_type is None or job_type.who is Who.NOBODY:
        return
    require(job_type, tenant_id=tenant_id, role=role, is_staff=is_staff)
    types.prepared(job_type, job.params, actor=actor, tenant_id=tenant_id, is_staff=is_staff)


def require(job_type: JobType, *, tenant_id: str, role: str, is_staff: bool) -> None:
    """Raise Forbidden unless somebody with this role may start jobs of the type."""
    if may(job_type, tenant_id=tenant_id, role=role, is_staff=is_staff):
        return
    hint = {
        Who.NOBODY: "llmadmin makes them itself: see the description of the type.",
        Who.STAFF: "Ask the staff of this installation.",
        Who.MANAGERS: "Ask an owner or admin of the tenant.",
        Who.MEMBERS: "Ask for a membership in a tenant.",
    }[job_type.who]
    raise Forbidden(f"You may not start a job “{job_type.id}”.", hint=hint)


def may(job_type: JobType, *, tenant_id: str, role: str, is_staff: bool) -> bool:
    """Whether somebody with this role may start jobs of the type."""
    if job_type.who is Who.NOBODY:
        return False
    if is_staff:
        return True
    if job_type.who is Who.STAFF or not tenant_id:
        return False
    return role in MANAGER_ROLES or (job_type.who is Who.MEMBERS and role != "")


def _repeat(first: JobRequest, digest: str) -> Submitted:
    if first.digest != digest:
        raise Conflict(
            "This idempotency key was used for another request.",
            hint=f"Use a new key. The earlier request made the job {first.job_id}.",
            code="idempotency_key_used",
        )
    return Submitted(first.job, joined=True)


def _other_params(job: Job) -> Conflict:
    return Conflict(
        f"A job “{job.type}” for the same thing is active with other params.",
        hint=f"Wait for the job {job.pk}, or cancel it.",
        code="active_with_other_params",
    )


def _digest(job_type: JobType, params: Mapping[str, Any]) -> str:
    text = json.dumps([job_type.id, params], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
