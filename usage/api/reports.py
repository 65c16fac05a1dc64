"""What a tenant has used: calls, and what they come to."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.clock import now
from core.drf import MomentFilter, TimelinePagination
from core.errors import InvalidInput
from core.views import ReadOnlyResource, Resource
from usage.api.serializers import SummaryQuery, UsageRecordSerializer, UsageSummarySerializer
from usage.models import UsageDaily, UsageRecord
from usage.models.records import OUTCOME_CHOICES
from usage.services import reports

DEFAULT_DAYS = 30


class UsageRecordFilter(filters.FilterSet):
    started_after = MomentFilter(field_name="started_at", lookup_expr="gte")
    started_before = MomentFilter(field_name="started_at", lookup_expr="lt")
    token = filters.UUIDFilter(field_name="token_id", help_text="The token's id.")
    target = filters.CharFilter(help_text="A model: name@factory or service~model.")
    factory = filters.CharFilter(help_text="The factory's exact name, or the service's.")
    llm_name = filters.CharFilter(help_text="The model's exact name.")
    operation = filters.CharFilter(help_text="For instance chat.")
    outcome = filters.ChoiceFilter(choices=OUTCOME_CHOICES)
    unpriced = filters.BooleanFilter(help_text="Calls that delivered something and whose cost is unknown.")
    estimated = filters.BooleanFilter(help_text="Calls whose counts are estimates.")
    request_id = filters.CharFilter(help_text="An X-Request-Id; of the last day, unless the gateway made it.")

    def filter_queryset(self, queryset: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
        given = self.form.cleaned_data
        for name in ("started_after", "started_before"):
            queryset = self.filters[name].filter(queryset, given[name])
        if given["request_id"]:
            queryset = reports.of_request(queryset, given["request_id"])
        wanted = {name: given[name] for name in ("factory", "llm_name", "operation", "outcome")}
        wanted["token_id"] = given["token"].hex if given["token"] else None
        if target := given["target"]:
            queryset = queryset.filter(**reports.columns_of(target))
            wanted = {**reports.columns_of(target), **{name: value for name, value in wanted.items() if value}}
        return reports.narrowed(
            queryset,
            reports.daily(self.request.auth),
            wanted=wanted,
            unpriced=given["unpriced"],
            estimated=given["estimated"],
        )


class NewestFirst(TimelinePagination):
    ordering = "-started_at"


class UsageRecordViewSet(ReadOnlyResource):
    """Calls to models through the gateway, newest first."""

    queryset = UsageRecord.objects.none()
    serializer_class = UsageRecordSerializer
    pagination_class = NewestFirst
    filter_backends = (filters.DjangoFilterBackend,)
    filterset_class = UsageRecordFilter

    def rows(self) -> QuerySet[UsageRecord]:
        return reports.records(self.principal)


class UsageSummaryViewSet(Resource):
    queryset = UsageDaily.objects.none()
    pagination_class = None
    filter_backends = ()
    list_query = tuple(SummaryQuery().fields)

    @extend_schema(
        parameters=[SummaryQuery],
        responses={(200, "application/json"): UsageSummarySerializer, (200, "text/csv"): OpenApiTypes.STR},
    )
    def list(self, request: Request) -> Any:
        """What the calls of a period come to, by day, model, factory, token or operation."""
        asked = SummaryQuery.read(request.query_params)
        last = asked.get("to") or now().date()
        first = asked.get("from") or _before(last)
        if first > last:
            raise InvalidInput("The period ends before it begins.", fields={"from": ["Must not be after `to`."]})
        rows = reports.daily(self.principal)
        chosen = {
            "token_id": asked.get("token"),
            **{name: asked.get(name) for name in ("factory", "llm_name", "operation")},
        }
        rows = rows.filter(**{name: value for name, value in chosen.items() if value is not None})
        if target := asked.get("target"):
            rows = rows.filter(**reports.columns_of(target))
        report = reports.summary(rows, first=first, last=last, group_by=asked["group_by"])
        if asked["as"] == "json":
            return Response(reports.as_json(report))
        name = f"usage-{first}-{last}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(reports.as_csv(report), content_type="text/csv; charset=utf-8", headers=headers)


def _before(last: date) -> date:
    try:
        return last - timedelta(days=DEFAULT_DAYS - 1)
    except OverflowError as error:
        raise InvalidInput("This date is out of range.", fields={"to": ["Out of range."]}) from error
