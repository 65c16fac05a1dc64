"""Whose jobs a caller sees and may touch; the one place that says so for pages, events and changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django.db.models import Q, QuerySet
from rest_framework.request import Request

from core.errors import Forbidden
from core.principal import Principal
from jobs.models import Job
from jobs.services import requests, types
from jobs.services.types import JobType

SHOWN_OF_TYPES = (
    *("id", "group", "name", "aliases", "description", "params_schema", "queue", "timeout_s", "stall_after_s"),
    *("max_attempts", "retry_delay_s", "suspendable"),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks, with what their permissions in the admin add to their role in a tenant."""

    principal: Principal
    sees_all: bool
    runs_all: bool

    @classmethod
    def of(cls, request: Request) -> Caller:
        principal, user = cast(Principal, request.auth), cast(Any, request.user)
        staff = principal.is_staff
        return cls(principal, staff and user.has_perm("jobs.view_job"), staff and user.has_perm("jobs.change_job"))

    def rows(self) -> QuerySet[Job]:
        """The jobs of the caller's tenant, and those of the installation that they started; all for staff."""
        self.principal.require("read")
        jobs = Job.objects.select_related("created_by")
        if self.sees_all:
            return jobs
        mine = Q(pk__in=[])
        if self.principal.tenant_id:
            mine |= Q(tenant_id=self.principal.tenant_id)
        if not self.principal.actor.token_id:  # a token is of its tenant only, whoever made it
            mine |= Q(tenant_id="", created_by_id=self.principal.actor.user_id)
        return jobs.filter(mine)

    def require_change(self) -> None:
        """Raise Forbidden unless the caller may stop and restart jobs."""
        if not self.runs_all:
            self.principal.require("write")

    def require_start(self) -> None:
        """Raise Forbidden for a token that is not for writing; which types one may start is the type's to say."""
        if "write" not in self.principal.scopes:
            raise Forbidden("This token lacks the scope “write”.", hint="Make a token that has it.")

    @property
    def standing(self) -> dict[str, Any]:
        """What decides which jobs they may start."""
        return {"tenant_id": self.principal.tenant_id, "role": self.principal.role, "is_staff": self.runs_all}

    def type_data(self, job_type: JobType) -> dict[str, Any]:
        """The type as its serializer wants it."""
        data = {name: getattr(job_type, name) for name in SHOWN_OF_TYPES}
        may = "write" in self.principal.scopes and requests.may(job_type, **self.standing)
        return {**data, "who": job_type.who.value, "may_start": may}


def types_of_group(group: str) -> list[str]:
    """The ids of the types in a group."""
    return [job_type.id for job_type in types.all_types() if job_type.group == group]
