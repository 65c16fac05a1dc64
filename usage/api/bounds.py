"""A tenant's limits and budgets, each with how it stands now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.drf import StrictSerializer
from core.errors import InvalidInput
from core.ids import ID_LENGTH
from core.views import ReadOnlyResource, place
from providers.models import STATUS_CHOICES, LLMFactory
from tenants import access as tenants_access
from usage import access
from usage.admission import MAX_AMOUNT
from usage.api.serializers import MoneyField
from usage.models import Budget, BudgetPeriod, RateLimit
from usage.models.limits import AMOUNTS, MODEL_LENGTH
from usage.models.records import FACTORY_LENGTH
from usage.services import budgets, limits, standing

WHOM = "The id of the token that is bounded; null: the whole tenant."
CEILING = "A ceiling of the installation's staff, which the tenant cannot change."

# --- What is shown --------------------------------------------------------------------------------------------------


class UsedSerializer(serializers.Serializer):
    """Requests and tokens of the last minute, and calls that run now; null: no such limit, or nobody can say."""

    def get_fields(self) -> dict[str, serializers.Field]:
        return {name: serializers.IntegerField(allow_null=True) for name in AMOUNTS}


class RateLimitSerializer(serializers.ModelSerializer):
    token = serializers.CharField(source="token_id", allow_null=True, help_text=WHOM)
    model = serializers.CharField(help_text="name@factory or service~model; empty: all models together.")
    set_by_staff = serializers.BooleanField(help_text=CEILING)
    used = serializers.SerializerMethodField()

    class Meta:
        model = RateLimit
        fields = ("id", "token", "model", *AMOUNTS, "used", "set_by_staff", "status", "created_at", "updated_at")
        read_only_fields = fields

    @extend_schema_field(UsedSerializer)
    def get_used(self, row: RateLimit) -> dict[str, int | None]:
        used = self.context["standing"][row.pk].used
        return {name: used.get(name) for name in AMOUNTS}


class BudgetStandingSerializer(serializers.Serializer):
    """USD in the running period."""

    spent = MoneyField()
    reserved = MoneyField(allow_null=True, help_text="Set aside for running calls; null: nobody can say.")
    left = MoneyField()
    starts_at = serializers.DateTimeField()
    resets_at = serializers.DateTimeField()


class BudgetSerializer(serializers.ModelSerializer):
    token = serializers.CharField(source="token_id", allow_null=True, help_text=WHOM)
    factory = serializers.CharField(
        source="factory.name", default=None, allow_null=True, help_text="The factory that is bounded; null: all."
    )
    amount = MoneyField(help_text="USD")
    period = serializers.ChoiceField(BudgetPeriod.choices)
    set_by_staff = serializers.BooleanField(help_text=CEILING)
    standing = serializers.SerializerMethodField()

    class Meta:
        model = Budget
        fields = (
            "id", "token", "factory", "amount", "period", "blocks", "allow_unpriced", "standing", "set_by_staff",
            "status", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(BudgetStandingSerializer)
    def get_standing(self, row: Budget) -> dict[str, Any]:
        return BudgetStandingSerializer(self.context["standing"][row.pk]).data


# --- What writes may carry ------------------------------------------------------------------------------------------


class RateLimitChange(StrictSerializer):
    requests_per_minute = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_AMOUNT, allow_null=True, help_text="null: no limit."
    )
    tokens_per_minute = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_AMOUNT, allow_null=True, help_text="In and out; null: no limit."
    )
    parallel = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_AMOUNT, allow_null=True, help_text="Calls at a time; null: no limit."
    )
    status = serializers.ChoiceField(STATUS_CHOICES, required=False)


class NewRateLimit(RateLimitChange):
    token = serializers.CharField(required=False, allow_null=True, max_length=ID_LENGTH, help_text=WHOM)
    model = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MODEL_LENGTH,
        help_text="One that the tenant may call, as name@factory or service~model.",
    )

    def get_fields(self) -> dict[str, serializers.Field]:
        return {name: field for name, field in super().get_fields().items() if name != "status"}


class BudgetChange(StrictSerializer):
    amount = MoneyField(required=False, help_text="USD, more than 0.")
    blocks = serializers.BooleanField(required=False, help_text="Refuse calls beyond it; false: only watch it.")
    allow_unpriced = serializers.BooleanField(
        required=False, help_text="Let models be called that have no price; they count as nothing."
    )
    status = serializers.ChoiceField(STATUS_CHOICES, required=False)


class NewBudget(BudgetChange):
    token = serializers.CharField(required=False, allow_null=True, max_length=ID_LENGTH, help_text=WHOM)
    factory = serializers.CharField(
        required=False,
        allow_null=True,
        max_length=FACTORY_LENGTH,
        help_text="The factory's name; not together with a token.",
    )
    period = serializers.ChoiceField(BudgetPeriod.choices, default=BudgetPeriod.MONTH.value, help_text="UTC.")

    def get_fields(self) -> dict[str, serializers.Field]:
        fields = {name: field for name, field in super().get_fields().items() if name != "status"}
        fields["amount"].required = True
        return fields


class BoundFilter(filters.FilterSet):
    token = filters.CharFilter(field_name="token_id", help_text="The token's id.")
    status = filters.ChoiceFilter(choices=STATUS_CHOICES)
    set_by_staff = filters.BooleanFilter()


class RateLimitFilter(BoundFilter):
    model = filters.CharFilter(help_text="name@factory or service~model.")


class BudgetFilter(BoundFilter):
    factory = filters.CharFilter(field_name="factory__name", help_text="The factory's exact name.")
    period = filters.ChoiceFilter(choices=BudgetPeriod.choices)


# --- The resources --------------------------------------------------------------------------------------------------


class _Standing(ReadOnlyResource):
    """Looks up how all rows of an answer stand at once."""

    standing: Mapping[str, Any] = {}

    def stand(self, rows: Sequence[Any]) -> Mapping[str, Any]:
        raise NotImplementedError

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        self.standing = self.stand(page or [])
        return page

    def get_object(self) -> Any:
        row = super().get_object()
        self.standing = self.stand([row])
        return row

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "standing": self.standing}

    def shown(self, row: Any, **options: Any) -> Response:
        self.standing = self.stand([row])
        return Response(self.get_serializer(row).data, **options)


class RateLimitViewSet(_Standing):
    """How much the tenant, a token or a model may be called; a call is bound by all that apply."""

    queryset = RateLimit.objects.none()
    serializer_class = RateLimitSerializer
    filterset_class = RateLimitFilter
    search_fields = ("model", "token__name")
    ordering_fields = ("created_at", "updated_at", "model", *AMOUNTS)

    def rows(self) -> QuerySet[RateLimit]:
        return access.rate_limits(self.principal)

    def stand(self, rows: Sequence[RateLimit]) -> Mapping[str, Any]:
        return standing.of_limits(rows)

    @extend_schema(request=NewRateLimit, responses={201: RateLimitSerializer})
    def create(self, request: Request) -> Response:
        """A new limit: of the tenant, a token, a model, or a token's use of a model. At least one number is needed."""
        tenant = tenants_access.tenant(self.principal, scope="write")
        given = NewRateLimit.read(request.data)
        given["token"] = _token(self, given)
        row = limits.create(tenant=tenant, actor=self.principal.actor, **given)
        return self.shown(row, status=201, headers={"Location": place("rate-limit-detail", row.pk)})

    @extend_schema(request=RateLimitChange, responses=RateLimitSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is given; null lifts a limit."""
        row = access.rate_limit(self.principal, pk, scope="write")
        given: Any = RateLimitChange.read(request.data)
        return self.shown(limits.update(row, actor=self.principal.actor, **given))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Lift a limit for good."""
        limits.delete(access.rate_limit(self.principal, pk, scope="write"), actor=self.principal.actor)
        return Response(status=204)


class BudgetViewSet(_Standing):
    """What calls may cost in a day or month (UTC): of the tenant, a token, or to a factory."""

    queryset = Budget.objects.none()
    serializer_class = BudgetSerializer
    filterset_class = BudgetFilter
    search_fields = ("token__name", "factory__name")
    ordering_fields = ("created_at", "updated_at", "amount", "period")

    def rows(self) -> QuerySet[Budget]:
        return access.budgets(self.principal)

    def stand(self, rows: Sequence[Budget]) -> Mapping[str, Any]:
        return standing.of_budgets(rows)

    @extend_schema(request=NewBudget, responses={201: BudgetSerializer})
    def create(self, request: Request) -> Response:
        """A new budget; one of each scope and period."""
        tenant = tenants_access.tenant(self.principal, scope="write")
        given = NewBudget.read(request.data)
        given["token"], given["factory"] = _token(self, given), _factory(given.get("factory"))
        row = budgets.create(tenant=tenant, actor=self.principal.actor, **given)
        return self.shown(row, status=201, headers={"Location": place("budget-detail", row.pk)})

    @extend_schema(request=BudgetChange, responses=BudgetSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is given."""
        row = access.budget(self.principal, pk, scope="write")
        given: Any = BudgetChange.read(request.data)
        return self.shown(budgets.update(row, actor=self.principal.actor, **given))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a budget. What was spent stays in the books."""
        budgets.delete(access.budget(self.principal, pk, scope="write"), actor=self.principal.actor)
        return Response(status=204)


def _token(view: ReadOnlyResource, given: Mapping[str, Any]) -> Any:
    """The token that a body names; raises NotFound."""
    pk = given.get("token")
    return None if pk is None else tenants_access.token(view.principal, pk, scope="write")


def _factory(name: str | None) -> LLMFactory | None:
    if name is None:
        return None
    factory = LLMFactory.objects.filter(name=name).first()
    if factory is None:
        raise InvalidInput(f"There is no factory “{name}”.", fields={"factory": ["One of /api/factories/."]})
    return factory
