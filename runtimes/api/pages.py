"""Pages and orders of `/llm/services` and `/llm/models`: true totals, and an empty page beyond the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import F, QuerySet
from django_filters import rest_framework as filters
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from core.drf import PAGE_SIZE

MAX_PAGE_SIZE = 1000
MAX_PAGE = 2**31 - 1
_COUNTS = {"page": (1, MAX_PAGE), "page_size": (PAGE_SIZE, MAX_PAGE_SIZE)}


class NamedPages(BasePagination):
    """`{page_number, page_size, order, total, <view.listed_as>: […]}`. A page past the last one is empty."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.number, self.size = _count(request, "page"), _count(request, "page_size")
        self.name, self.order = view.listed_as, request.query_params.get("order") or view.usual_order
        self.total = queryset.count()
        start = (self.number - 1) * self.size
        return list(queryset[start : start + self.size]) if start < self.total else []

    def get_paginated_response(self, data: Any) -> Response:
        about = {"page_number": self.number, "page_size": self.size, "order": self.order, "total": self.total}
        return Response({**about, self.name: data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        whole = {"type": "integer"}
        properties = {"page_number": whole, "page_size": whole, "order": {"type": "string"}, "total": whole}
        named = "models" if schema.get("items", {}).get("$ref", "").endswith("/ServedModel") else "services"
        return {"type": "object", "required": [*properties, named], "properties": {**properties, named: schema}}

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": {"type": "integer", "minimum": 1, "maximum": most, "default": usual},
            }
            for name, (usual, most) in _COUNTS.items()
        ]


class Order(filters.OrderingFilter):
    """`order=-size,name`. `columns` says by what each name orders; what is unknown comes last, equals by `name`."""

    def __init__(self, columns: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        self.columns = columns
        super().__init__(fields=[(name, name) for name in columns], **kwargs)

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        wanted: list[Any] = []
        for one in value or ():
            for column in self.columns[one.removeprefix("-")]:
                column_of = F(column)
                down = one.startswith("-")
                wanted.append(column_of.desc(nulls_last=True) if down else column_of.asc(nulls_last=True))
        return qs.order_by(*wanted, *self.columns["name"], "pk")


def _count(request: Request, name: str) -> int:
    usual, most = _COUNTS[name]
    text = request.query_params.get(name, "")
    if not text:
        return usual
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= most:
        raise ValidationError({name: [f"A whole number from 1 to {most}."]})
    return int(text)
