"""Background work: asking for it, watching it, stopping it; and which kinds of it there are."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import DestroyModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from core.drf import Pagination, TimelineFilter
from core.errors import InvalidInput, NotFound
from core.views import ReadOnlyResource, StrictViewSet
from jobs.api.access import Caller, types_of_group
from jobs.api.serializers import (
    KEY_LENGTH,
    KEY_PATTERN,
    JobGroupSerializer,
    JobRequestSerializer,
    JobSerializer,
    JobTypeSerializer,
    SubmittedJobSerializer,
)
from jobs.models import ACTIVE, FINISHED, Job, JobState
from jobs.services import queue, requests, types

KEY_HEADER = "Idempotency-Key"
ORDERS = ("created_at", "started_at", "finished_at", "type", "state", "progress")


class JobFilter(TimelineFilter):
    type = filters.CharFilter(method="of_types", help_text="Ids or aliases, separated by commas.")
    group = filters.CharFilter(method="of_group")
    state = filters.CharFilter(method="in_states", help_text="One or several, separated by commas.")
    status = filters.CharFilter(method="in_states", help_text="The same as state.")
    active = filters.BooleanFilter(method="is_active", help_text="Not over yet; or over.")
    queue = filters.CharFilter()
    tenant = filters.CharFilter(field_name="tenant_id", help_text="For staff, who see those of all.")
    service = filters.CharFilter(field_name="params__service_name", help_text="Whose models the job is about.")
    order = filters.OrderingFilter(fields=[(name, name) for name in ORDERS], help_text="-created_at unless told.")

    def of_types(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        asked = [types.find(part.strip()) for part in value.split(",") if part.strip()]
        return rows.filter(type__in=[found.id for found in asked if found])

    def of_group(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        return rows.filter(type__in=types_of_group(value))

    def in_states(self, rows: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        wanted = {part.strip() for text in self.data.getlist(name) for part in text.split(",") if part.strip()}
        if unknown := wanted - set(JobState.values):
            known = f"There are: {', '.join(JobState.values)}."
            raise ValidationError({name: [f"“{sorted(unknown)[0][:50]}” is no state. {known}"]})
        return rows.filter(state__in=wanted)

    def is_active(self, rows: QuerySet[Job], name: str, value: bool) -> QuerySet[Job]:
        return rows.filter(state__in=ACTIVE if value else FINISHED)


@extend_schema_view(destroy=extend_schema(description="Forget a job that is over."))
class JobViewSet(DestroyModelMixin, ReadOnlyResource):
    """Jobs of the tenant, newest first. Poll one until `finished_at` is set, or listen to its events."""

    queryset = Job.objects.none()
    serializer_class = JobSerializer
    pagination_class = Pagination
    filter_backends = (filters.DjangoFilterBackend,)
    filterset_class = JobFilter

    @property
    def caller(self) -> Caller:
        return Caller.of(self.request)

    def rows(self) -> QuerySet[Job]:
        return self.caller.rows()

    @extend_schema(
        request=JobRequestSerializer,
        responses={202: SubmittedJobSerializer, 200: SubmittedJobSerializer},
        parameters=[OpenApiParameter(KEY_HEADER, OpenApiTypes.STR, OpenApiParameter.HEADER)],
    )
    def create(self, request: Request) -> Response:
        """Ask for a job. 202 for a new one, 200 for one that was there already (`joined`)."""
        caller = self.caller
        caller.require_start()
        body = JobRequestSerializer.read(request.data)
        made = requests.submit(
            body["type"],
            params=body["params"],
            actor=caller.principal.actor,
            idempotency_key=_idempotency_key(request, body.get("idempotency_key", "")),
            **caller.standing,
        )
        made.job.joined = made.joined  # type: ignore[attr-defined]
        place = f"{request.path.rstrip('/')}/{made.job.pk}/"
        status = 200 if made.joined else 202
        return Response(SubmittedJobSerializer(made.job).data, status=status, headers={"Location": place})

    def perform_destroy(self, instance: Job) -> None:
        self.caller.require_change()
        queue.delete(instance, actor=self.principal.actor)

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Ask a job to stop. One that is running ends at its next step."""
        return self._changed(queue.cancel)

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Do a failed, cancelled or timed-out job again, from where it had come to."""
        return self._changed(queue.retry, starts=True)

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def suspend(self, request: Request, pk: str) -> Response:
        """Let a job rest, if its type can. One that is running stops at its next step."""
        return self._changed(queue.suspend)

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on with a suspended job from where it had come to."""
        return self._changed(queue.resume, starts=True)

    def _changed(self, verb: Any, *, starts: bool = False) -> Response:
        caller = self.caller
        caller.require_change()
        job, actor = self.get_object(), caller.principal.actor
        if starts:
            requests.require_again(job, actor=actor, **caller.standing)
        return Response(JobSerializer(verb(job, actor=actor)).data)


def _idempotency_key(request: Request, in_body: str) -> str:
    """From the body or the header; one of them, or the same in both."""
    header = request.headers.get(KEY_HEADER, "")
    if header and (len(header) > KEY_LENGTH or not re.match(KEY_PATTERN, header)):
        raise InvalidInput(
            f"The header {KEY_HEADER} is not a key.", hint=f"At most {KEY_LENGTH} printable ASCII characters."
        )
    if header and in_body and header != in_body:
        raise InvalidInput(
            f"The header {KEY_HEADER} and the body name two keys.",
            fields={"idempotency_key": [f"It differs from the header {KEY_HEADER}."]},
        )
    return header or in_body


class Described(StrictViewSet):
    """What comes from the settings and not from a table: one page, and each by its id."""

    pagination_class = Pagination
    filter_backends = ()
    queryset = Job.objects.none()
    lookup_value_regex = "[0-9A-Za-z_:.-]{1,64}"

    def entries(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.entries())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        wanted = types.find(pk)
        for entry in self.entries():
            if entry["id"] == pk or (wanted is not None and entry["id"] == wanted.id):
                return Response(self.get_serializer(entry).data)
        raise NotFound("There is no such thing here.")


class JobTypeViewSet(Described):
    """The kinds of jobs there are, and what they want to know."""

    serializer_class = JobTypeSerializer

    def entries(self) -> list[dict[str, Any]]:
        caller = Caller.of(self.request)
        return [caller.type_data(job_type) for job_type in types.all_types()]


class JobGroupViewSet(Described):
    """What the kinds of jobs are grouped by: the part of a type's id before the colon."""

    serializer_class = JobGroupSerializer

    def entries(self) -> list[dict[str, Any]]:
        names = dict.fromkeys([*settings.JOB_GROUPS, *(one.group for one in types.all_types() if one.group)])
        return [
            {"id": name, "description": settings.JOB_GROUPS.get(name, ""), "types": types_of_group(name)}
            for name in names
        ]
