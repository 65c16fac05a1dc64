"""The base of all REST resources."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.urls import reverse
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.routers import SimpleRouter
from rest_framework.throttling import BaseThrottle
from rest_framework.viewsets import GenericViewSet

from core.drf import JSONAlways, ProbeThrottle, StrictJSONParser, refuse_unknown
from core.openapi import ResourceSchema
from core.principal import Principal

ID_PATTERN = "[0-9A-Za-z]{1,32}"


class Router(SimpleRouter):
    """Takes every path with and without its last slash, so that a write without it is not lost in a redirect."""

    include_format_suffixes = False

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"


def place(name: str, pk: str) -> str:
    """The path of one row, as `Location` names it."""
    return f"{reverse(name, args=[pk])}/"


class StrictViewSet(GenericViewSet[Any]):
    """Takes and answers JSON; a list refuses query parameters that it does not have.

    `list_query` are its parameters beside those of its pages and filters.
    """

    schema = ResourceSchema()
    parser_classes = (StrictJSONParser,)
    content_negotiation_class = JSONAlways
    list_query: ClassVar[tuple[str, ...]] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.action == "list":
            refuse_unknown(request, self.list_parameters())

    def list_parameters(self) -> set[str]:
        """The names of the query parameters that a list takes."""
        names = {*self.list_query, *self.page_parameters()}
        for backend in cast("list[Any]", self.filter_backends):
            if issubclass(backend, DjangoFilterBackend):
                chosen = backend().get_filterset_class(self)
                names.update(chosen.base_filters if chosen else ())
            else:
                names.update(one["name"] for one in backend().get_schema_operation_parameters(self))
        return names

    def page_parameters(self) -> set[str]:
        """The names of those that say which page it is."""
        return (
            {one["name"] for one in self.paginator.get_schema_operation_parameters(self)} if self.paginator else set()
        )


class Resource(StrictViewSet):
    """A view set over `rows()`: those that the caller may see."""

    lookup_value_regex = ID_PATTERN
    calls_upstream: frozenset[str] = frozenset()  # actions that count against the probe throttle

    @property
    def principal(self) -> Principal:
        return cast(Principal, self.request.auth)

    def rows(self) -> QuerySet[Any]:
        """What the caller may see; raises Forbidden or NotFound."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return cast("QuerySet[Any]", self.__class__.queryset)
        return self.rows()

    def get_object(self) -> Any:
        return get_object_or_404(self.get_queryset(), pk=self.kwargs["pk"])

    def get_throttles(self) -> list[BaseThrottle]:
        throttles = list(super().get_throttles())
        return [*throttles, ProbeThrottle()] if self.action in self.calls_upstream else throttles


class ReadOnlyResource(ListModelMixin, RetrieveModelMixin, Resource):
    """List and detail."""
