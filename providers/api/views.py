"""The catalogue, for reading: factories and models that are enabled and not internal."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import rest_framework as filters

from core.views import ReadOnlyResource
from providers.api.serializers import FactorySerializer, ModelSerializer
from providers.fields import TYPE_CHOICES
from providers.models import LLM, STATUS_CHOICES, LLMFactory, LLMQuerySet


class FactoryFilter(filters.FilterSet):
    name = filters.CharFilter(help_text="The exact name.")
    tag = filters.CharFilter(field_name="tags", lookup_expr="icontains")
    type = filters.ChoiceFilter(choices=TYPE_CHOICES, method="with_type", help_text="Offers a model of this type.")
    status = filters.ChoiceFilter(choices=STATUS_CHOICES)
    keyless = filters.BooleanFilter()
    self_deployed = filters.BooleanFilter()

    def with_type(self, rows: QuerySet[LLMFactory], name: str, value: str) -> QuerySet[LLMFactory]:
        return rows.filter(pk__in=LLM.objects.valid().of_type(value).values("factory"))


class ModelFilter(filters.FilterSet):
    type = filters.ChoiceFilter(choices=TYPE_CHOICES, method="of_type")
    factory = filters.CharFilter(field_name="factory__name", help_text="The factory's exact name.")
    status = filters.ChoiceFilter(choices=STATUS_CHOICES)
    priced = filters.BooleanFilter(method="is_priced")
    is_tools = filters.BooleanFilter()
    min_tokens = filters.NumberFilter(field_name="max_tokens", lookup_expr="gte", min_value=0, max_value=2**31 - 1)

    def of_type(self, rows: LLMQuerySet, name: str, value: str) -> QuerySet[LLM]:
        return rows.of_type(value)

    def is_priced(self, rows: QuerySet[LLM], name: str, value: bool) -> QuerySet[LLM]:
        return rows.exclude(price_source="") if value else rows.filter(price_source="")


class FactoryViewSet(ReadOnlyResource):
    """Vendors and runtimes, and what they ask of a credential."""

    queryset = LLMFactory.objects.none()
    serializer_class = FactorySerializer
    filterset_class = FactoryFilter
    search_fields = ("name", "tags")
    ordering_fields = ("name", "rank")

    def rows(self) -> QuerySet[LLMFactory]:
        return LLMFactory.objects.offered()


class ModelViewSet(ReadOnlyResource):
    """The models that factories offer."""

    queryset = LLM.objects.none()
    serializer_class = ModelSerializer
    filterset_class = ModelFilter
    search_fields = ("llm_name", "factory__name", "tags")
    ordering_fields = ("llm_name", "factory__name", "max_tokens", "input_price", "output_price")
    ordering = ("factory__name", "llm_name")

    def rows(self) -> QuerySet[LLM]:
        return LLM.objects.valid().filter(factory__in=LLMFactory.objects.offered()).select_related("factory")
