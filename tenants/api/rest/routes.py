"""A tenant's routes, each with its targets in one document."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import Prefetch, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.drf import StrictSerializer
from core.errors import NotFound
from core.views import ReadOnlyResource, place
from providers.fields import TYPE_CHOICES
from providers.models import STATUS_CHOICES, VALID
from runtimes.models import ServiceModel
from tenants import access
from tenants.models import OnError, Route, RouteTarget, Strategy
from tenants.models.routes import MAX_POSITION, MAX_RETRIES, MAX_TIMEOUT_S, MAX_WEIGHT
from tenants.services import routes
from tenants.services.route_plans import MAX_DESCRIPTION, MAX_NAME, MAX_TARGETS, RoutePlan, TargetPlan

MAX_ID = 18  # digits that surely fit into a BigAutoField
MAX_SERVED = 64 + 1 + 255  # of service~model


# --- What is shown --------------------------------------------------------------------------------------------------


class TargetSerializer(serializers.ModelSerializer):
    tenant_model = serializers.CharField(
        source="tenant_llm_id", allow_null=True, help_text="The tenant model's id; null for a service's model."
    )
    service_model = serializers.CharField(
        allow_null=True, help_text="service~model; null for one of the tenant's own models."
    )
    name = serializers.CharField(source="model", help_text="llm_name@factory, or service~model.")
    only_on = serializers.ListField(child=serializers.ChoiceField(OnError.choices))
    usable = serializers.BooleanField(source="is_usable", help_text="Whether calls are sent to it now.")

    class Meta:
        model = RouteTarget
        fields = ("tenant_model", "service_model", "name", "position", "weight", "only_on", "status", "usable")
        read_only_fields = fields


class RouteSerializer(serializers.ModelSerializer):
    targets = TargetSerializer(many=True, help_text="By position.")
    usable = serializers.BooleanField(source="is_usable", help_text="Whether a call to it would be sent anywhere now.")

    class Meta:
        model = Route
        fields = (
            "id", "name", "model_type", "strategy", "status", "usable", "description", "timeout_s", "max_retries",
            "targets", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


# --- What writes may carry ------------------------------------------------------------------------------------------


class Target(StrictSerializer):
    tenant_model = serializers.CharField(
        required=False, help_text="The id of one of the tenant's models; each once. Either this or service_model."
    )
    service_model = serializers.CharField(
        required=False, max_length=MAX_SERVED, help_text="service~model, of a service that the tenant may use."
    )
    position = serializers.IntegerField(
        min_value=1, max_value=MAX_POSITION, default=1, help_text="The lowest is tried first."
    )
    weight = serializers.IntegerField(
        min_value=1, max_value=MAX_WEIGHT, default=1, help_text="Its share of the calls among those of one position."
    )
    only_on = serializers.ListField(
        child=serializers.ChoiceField(OnError.choices),
        default=list,
        max_length=len(OnError),
        help_text="Tried only after one of these failures; empty: always.",
    )
    status = serializers.ChoiceField(STATUS_CHOICES, default=VALID)

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if ("tenant_model" in given) == ("service_model" in given):
            raise serializers.ValidationError({"tenant_model": "Either this or service_model."})
        return given


class RouteChange(StrictSerializer):
    NEEDED: ClassVar[frozenset[str]] = frozenset()  # what must be given; the rest may be

    name = serializers.CharField(max_length=MAX_NAME, help_text="What applications name as the model.")
    model_type = serializers.ChoiceField(TYPE_CHOICES)
    targets = serializers.ListField(child=Target(), min_length=1, max_length=MAX_TARGETS)
    strategy = serializers.ChoiceField(
        Strategy.choices, help_text="ordered: position by position. weighted: positions do not matter."
    )
    status = serializers.ChoiceField(STATUS_CHOICES)
    description = serializers.CharField(allow_blank=True, max_length=MAX_DESCRIPTION)
    timeout_s = serializers.IntegerField(
        min_value=1, max_value=MAX_TIMEOUT_S, allow_null=True, help_text="For a call in all; null: as everywhere."
    )
    max_retries = serializers.IntegerField(
        min_value=0,
        max_value=MAX_RETRIES,
        allow_null=True,
        help_text="Once all targets have failed; null: as everywhere.",
    )

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = super().get_fields()
        for name, field in fields.items():
            field.required = name in self.NEEDED
        return fields


class NewRoute(RouteChange):
    NEEDED = frozenset({"name", "model_type", "targets"})


class RouteFilter(filters.FilterSet):
    name = filters.CharFilter(help_text="The exact name.")
    type = filters.ChoiceFilter(choices=TYPE_CHOICES, field_name="model_type")
    strategy = filters.ChoiceFilter(choices=Strategy.choices)
    status = filters.ChoiceFilter(choices=STATUS_CHOICES)
    tenant_model = filters.CharFilter(method="with_model", help_text="The id of a tenant model: the routes it is in.")
    service_model = filters.CharFilter(method="with_served", help_text="service~model: the routes that it is in.")
    credential = filters.CharFilter(
        method="with_credential", help_text="A credential's id: the routes that lose targets if it is deleted."
    )

    def with_model(self, rows: QuerySet[Route], name: str, value: str) -> QuerySet[Route]:
        return rows.filter(targets__tenant_llm=_number(value)) if _is_number(value) else rows.none()

    def with_served(self, rows: QuerySet[Route], name: str, value: str) -> QuerySet[Route]:
        targets = RouteTarget.objects.filter(service_model__in=ServiceModel.objects.named([value]))
        return rows.filter(pk__in=targets.values("route"))

    def with_credential(self, rows: QuerySet[Route], name: str, value: str) -> QuerySet[Route]:
        return rows.filter(pk__in=RouteTarget.objects.filter(tenant_llm__credential=value).values("route"))


# --- The resource ---------------------------------------------------------------------------------------------------


class RouteViewSet(ReadOnlyResource):
    """The tenant's public names for models, and which models answer for each."""

    queryset = Route.objects.none()
    serializer_class = RouteSerializer
    filterset_class = RouteFilter
    search_fields = ("name", "description")
    ordering_fields = ("name", "model_type", "created_at", "updated_at")

    def rows(self) -> QuerySet[Route]:
        return access.routes(self.principal).prefetch_related(Prefetch("targets", RouteTarget.objects.shown()))

    @extend_schema(request=NewRoute, responses={201: RouteSerializer})
    def create(self, request: Request) -> Response:
        """A new route. Its targets do its type, and are models of the tenant or of services that it may use; at least
        one has no only_on."""
        tenant = access.tenant(self.principal, scope="write")
        plan = RoutePlan(**_planned(NewRoute.read(request.data)))
        route = routes.create(tenant=tenant, plan=plan, actor=self.principal.actor)
        shown = RouteSerializer(self.rows().get(pk=route.pk)).data
        return Response(shown, status=201, headers={"Location": place("route-detail", route.pk)})

    @extend_schema(request=RouteChange, responses=RouteSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is given: `targets` replaces all of them, null lifts a limit. Defaults follow a new name."""
        route = access.route(self.principal, pk, scope="write")
        routes.update(route, actor=self.principal.actor, **_planned(RouteChange.read(request.data)))
        return Response(RouteSerializer(self.rows().get(pk=pk)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a route. The models behind it stay."""
        routes.delete(access.route(self.principal, pk, scope="write"), actor=self.principal.actor)
        return Response(status=204)


def _planned(given: dict[str, Any]) -> dict[str, Any]:
    """A body as the fields of a RoutePlan; raises NotFound for a target's id that cannot be one."""
    if "targets" in given:
        given["targets"] = [_target(**target) for target in given["targets"]]
    return given


def _target(tenant_model: str | None = None, **target: Any) -> TargetPlan:
    return TargetPlan(tenant_llm_id=None if tenant_model is None else _number(tenant_model), **target)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MAX_ID


def _number(text: str) -> int:
    if not _is_number(text):
        raise NotFound("There is no such model.")
    return int(text)
