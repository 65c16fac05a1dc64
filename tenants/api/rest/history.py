"""What happened: probes and the audit log. Both can only be read."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend

from core.drf import TimelinePagination
from core.views import ReadOnlyResource
from tenants import access
from tenants.api.rest.filters import AuditFilter, ProbeFilter
from tenants.api.rest.serializers import AuditEventSerializer, ProbeSerializer
from tenants.models import AuditEvent, Probe


class ProbeViewSet(ReadOnlyResource):
    """Tests of the tenant's keys, newest first."""

    queryset = Probe.objects.none()
    serializer_class = ProbeSerializer
    pagination_class = TimelinePagination
    filter_backends = (DjangoFilterBackend,)
    filterset_class = ProbeFilter

    def rows(self) -> QuerySet[Probe]:
        return access.probes(self.principal).defer("credential__secret")


class AuditEventViewSet(ReadOnlyResource):
    """Who changed what in the tenant, newest first. For its owners and admins."""

    queryset = AuditEvent.objects.none()
    serializer_class = AuditEventSerializer
    pagination_class = TimelinePagination
    filter_backends = (DjangoFilterBackend,)
    filterset_class = AuditFilter

    def rows(self) -> QuerySet[AuditEvent]:
        return access.audit_events(self.principal)
