"""`/llm/services` and `/llm/models`: what is reachable and what it has, as the last looks at it found.

Nothing here waits for a service but `ping?now=1`, and that no longer than the service's short timeout.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from django.db.models import Count, Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from core.drf import ProbeThrottle, refuse_unknown
from core.errors import NotFound
from core.views import Resource
from runtimes.api.access import may
from runtimes.api.filters import ModelFilter, ServiceFilter
from runtimes.api.pages import NamedPages
from runtimes.api.serializers import (
    CAPABILITIES_SCHEMA,
    PingQuery,
    PingSerializer,
    ServedModelSerializer,
    ServiceSerializer,
)
from runtimes.models import LLMService, ModelState, ServiceModel
from runtimes.services import calls, health

IMPLIED_TAG = ":latest"
MAX_NAMED = 10
NAME = OpenApiParameter("name", OpenApiTypes.STR, OpenApiParameter.PATH, description="The service's name.")
NOW = OpenApiParameter("now", OpenApiTypes.BOOL, description="Look at it now, instead of telling of the last look.")


class _Served(ListModelMixin, Resource):
    """`listed_as` is what a list is called in its answer."""

    pagination_class = NamedPages
    filter_backends = (filters.DjangoFilterBackend,)
    usual_order: ClassVar = "name"
    listed_as: ClassVar[str]

    def services(self) -> QuerySet[LLMService]:
        """Those that the caller may see: staff all, others what their tenant may use."""
        self.principal.require("read")
        if may(self.request, "view"):
            return LLMService.objects.all()
        return LLMService.objects.for_tenant(self.principal.tenant_id)

    def models_of(self, services: QuerySet[LLMService]) -> QuerySet[ServiceModel]:
        rows = ServiceModel.objects.present().filter(service__in=services)
        return rows.select_related("service").order_by("service__name", "name")

    def service(self) -> LLMService:
        """The one whose name is in the path; raises NotFound."""
        name, rows = self.kwargs["name"], self.services()
        found = None if "\0" in name else rows.filter(name=name).first()
        if found is None:
            raise NotFound("There is no such service.", hint=_those("services", rows.values_list("name", flat=True)))
        return found

    def shown(self, row: Any) -> Response:
        return Response(self.get_serializer(row).data)


class ServiceViewSet(_Served):
    """Runtimes and cloud endpoints whose models are called through the gateway as `service~model`."""

    queryset = LLMService.objects.none()
    serializer_class = ServiceSerializer
    filterset_class = ServiceFilter
    listed_as = "services"

    def rows(self) -> QuerySet[LLMService]:
        count = Count("models", filter=~Q(models__state=ModelState.REMOVED))
        return self.services().annotate(model_count=count).order_by("name")

    def get_throttles(self) -> list[BaseThrottle]:
        asks = self.action == "ping" and self.request.query_params.get("now")
        return [*super().get_throttles(), ProbeThrottle()] if asks else super().get_throttles()

    @extend_schema(parameters=[NAME])
    def show(self, request: Request, name: str) -> Response:
        """One service."""
        return self.shown(self.rows().get(pk=self.service().pk))

    @extend_schema(parameters=[NAME, NOW], responses=PingSerializer, filters=False)
    def ping(self, request: Request, name: str) -> Response:
        """Whether it answers: as the last look found, or as one finds now, which takes its short timeout at most."""
        query = PingQuery(data=request.query_params)
        refuse_unknown(request, query.fields)
        query.is_valid(raise_exception=True)
        service = self.service()
        if query.validated_data["now"]:
            service = health.note(service_id=service.pk, seen=asyncio.run(health.ask(service))) or service
        return Response(PingSerializer(_pinged(service, for_staff=may(request, "view"))).data)

    @extend_schema(parameters=[NAME], responses={200: CAPABILITIES_SCHEMA}, filters=False)
    def capabilities(self, request: Request, name: str) -> Response:
        """What it can do, as its driver declares or as a look at it found; other verbs are refused unsent."""
        return Response(calls.capabilities(self.service()))


class ServedModelViewSet(_Served):
    """The models of all services, called `service~model`."""

    queryset = ServiceModel.objects.none()
    serializer_class = ServedModelSerializer
    filterset_class = ModelFilter
    listed_as = "models"

    def rows(self) -> QuerySet[ServiceModel]:
        return self.models_of(self.services())

    @extend_schema(
        parameters=[
            OpenApiParameter("name", OpenApiTypes.STR, OpenApiParameter.PATH, description="service~model, or its end.")
        ]
    )
    def show(self, request: Request, name: str) -> Response:
        """One model, by `service~model`, or by its own name if only one service has it."""
        return self.shown(_found(self.rows(), name))


class ModelsOfServiceViewSet(_Served):
    """The models of one service."""

    queryset = ServiceModel.objects.none()
    serializer_class = ServedModelSerializer
    filterset_class = ModelFilter
    listed_as = "models"

    def rows(self) -> QuerySet[ServiceModel]:
        return self.models_of(LLMService.objects.filter(pk=self.service().pk))

    @extend_schema(
        parameters=[
            NAME,
            OpenApiParameter(
                "model",
                OpenApiTypes.STR,
                OpenApiParameter.PATH,
                description="As the service calls it; may hold slashes.",
            ),
        ]
    )
    def show(self, request: Request, name: str, model: str) -> Response:
        """One of them, by the name that the service knows it by."""
        return self.shown(_found(self.rows(), model))


def _found(rows: QuerySet[ServiceModel], name: str) -> ServiceModel:
    """By its whole name, else by its own; the tag “:latest” goes without saying. Raises NotFound."""
    service, tilde, own = name.partition("~")
    for wanted in (name, f"{name}{IMPLIED_TAG}") if "\0" not in name else ():
        named = Q(name=wanted)
        if tilde:
            named |= Q(service__name=service, name=wanted.partition("~")[2])
        found = list(rows.filter(named)[: MAX_NAMED + 1])
        exact = [one for one in found if one.full_name == wanted]
        if exact or len(found) == 1:
            return (exact or found)[0]
        if found:
            raise NotFound(
                "Several services have a model of this name.", hint=_those("models", (one.full_name for one in found))
            )
    alike = rows.filter(name__icontains=own or name)[:MAX_NAMED] if "\0" not in name else ()
    raise NotFound("There is no such model.", hint=_those("models", (one.full_name for one in alike)))


def _those(what: str, names: Any) -> str:
    listed = list(names[:MAX_NAMED] if isinstance(names, QuerySet) else names)[:MAX_NAMED]
    return f"There are: {', '.join(listed)}." if listed else f"GET /llm/{what} lists those that you may use."


def _pinged(service: LLMService, *, for_staff: bool) -> dict[str, Any]:
    error = service.error or {}
    if service.is_up:
        message = f"It answered within {service.latency_ms} ms." if service.latency_ms is not None else "It answered."
    elif service.checked_at is None:
        message = "Nobody has looked at it yet."
    else:
        said = error.get("message") if for_staff else error.get("code")
        message = str(said or "It did not answer.")
    return {
        "status": "ok" if service.is_up else "error",
        "message": message,
        "state": service.health,
        "version": service.version,
        "latency_ms": service.latency_ms,
        "checked_at": service.checked_at,
    }
