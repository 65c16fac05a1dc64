"""The base of all REST resources."""

from __future__ import annotations

from typing import Any, cast

from django.db.models import QuerySet
from django.urls import reverse
from rest_framework.generics import get_object_or_404
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.routers import SimpleRouter
from rest_framework.throttling import BaseThrottle
from rest_framework.viewsets import GenericViewSet

from core.drf import JSONAlways, ProbeThrottle, StrictJSONParser
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


class Resource(GenericViewSet[Any]):
    """A view set over `rows()`: those that the caller may see."""

    schema = ResourceSchema()
    parser_classes = (StrictJSONParser,)
    content_negotiation_class = JSONAlways
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
