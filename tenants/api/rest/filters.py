"""By what lists can be narrowed."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import rest_framework as filters

from core.drf import TimelineFilter
from providers.fields import TYPE_CHOICES
from providers.models import STATUS_CHOICES
from tenants.models import ApiToken, CredentialState, Role, TenantLLM
from tenants.models.credential import VERDICT_CHOICES

SAVED_STATES = [choice for choice in CredentialState.choices if choice[0] != CredentialState.DRAFT]


class MemberFilter(filters.FilterSet):
    role = filters.ChoiceFilter(choices=Role.choices)
    username = filters.CharFilter(field_name="user__username")


class TokenFilter(filters.FilterSet):
    revoked = filters.BooleanFilter(method="is_revoked")

    def is_revoked(self, rows: QuerySet[ApiToken], name: str, value: bool) -> QuerySet[ApiToken]:
        return rows.filter(revoked_at__isnull=not value)


class CredentialFilter(filters.FilterSet):
    factory = filters.CharFilter(field_name="factory__name", help_text="The factory's exact name.")
    state = filters.ChoiceFilter(choices=SAVED_STATES)
    verdict = filters.ChoiceFilter(choices=VERDICT_CHOICES)
    status = filters.ChoiceFilter(choices=STATUS_CHOICES)


class TenantModelFilter(filters.FilterSet):
    factory = filters.CharFilter(field_name="factory__name", help_text="The factory's exact name.")
    credential = filters.CharFilter(field_name="credential_id", help_text="The credential's id.")
    type = filters.ChoiceFilter(choices=TYPE_CHOICES, method="of_type")
    llm_name = filters.CharFilter(help_text="The exact name.")
    verdict = filters.ChoiceFilter(choices=VERDICT_CHOICES)
    status = filters.ChoiceFilter(choices=STATUS_CHOICES)

    def of_type(self, rows: QuerySet[TenantLLM], name: str, value: str) -> QuerySet[TenantLLM]:
        return rows.filter(model_types__contains=value)


class ProbeFilter(TimelineFilter):
    credential = filters.CharFilter(field_name="credential_id", help_text="The credential's id.")
    job = filters.CharFilter(field_name="job_id", help_text="The job's id.")
    factory = filters.CharFilter(field_name="factory__name", help_text="The factory's exact name.")
    llm_name = filters.CharFilter(help_text="The exact name.")
    model_type = filters.ChoiceFilter(choices=TYPE_CHOICES)
    verdict = filters.ChoiceFilter(choices=VERDICT_CHOICES)


class AuditFilter(TimelineFilter):
    action = filters.CharFilter(help_text="For instance credential.created.")
    actor = filters.CharFilter(help_text="The exact name.")
