"""A tenant's background work."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from core.drf import TimelineFilter, TimelinePagination
from core.views import ReadOnlyResource
from jobs.api.serializers import JobSerializer
from jobs.models import ACTIVE, FINISHED, Job, JobState
from jobs.services import queue


class JobFilter(TimelineFilter):
    type = filters.CharFilter()
    state = filters.MultipleChoiceFilter(choices=JobState.choices)
    active = filters.BooleanFilter(method="is_active")

    def is_active(self, rows: QuerySet[Job], name: str, value: bool) -> QuerySet[Job]:
        return rows.filter(state__in=ACTIVE if value else FINISHED)


class JobViewSet(ReadOnlyResource):
    """Jobs of the tenant, newest first. Poll one until `finished_at` is set."""

    queryset = Job.objects.none()
    serializer_class = JobSerializer
    pagination_class = TimelinePagination
    filter_backends = (filters.DjangoFilterBackend,)
    filterset_class = JobFilter

    def rows(self) -> QuerySet[Job]:
        self.principal.require("read")
        if not self.principal.tenant_id:  # the installation's own jobs carry no tenant
            return Job.objects.none()
        return Job.objects.for_tenant(self.principal.tenant_id).select_related("created_by")

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Ask a job to stop. One that is running ends at its next step."""
        self.principal.require("write")
        job = queue.cancel(self.get_object(), actor=self.principal.actor)
        return Response(JobSerializer(job).data)

    @extend_schema(request=None, responses=JobSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Do a failed, cancelled or timed-out job again."""
        self.principal.require("write")
        job = queue.retry(self.get_object(), actor=self.principal.actor)
        return Response(JobSerializer(job).data)
