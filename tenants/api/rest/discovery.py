"""What an upstream offers for a credential: ask for it, look at it, take some of it into use."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from core.drf import MAX_PAGE_SIZE, PAGE_SIZE, PROBLEM_JSON, StrictSerializer, refuse_unknown
from core.openapi import ProblemSerializer
from core.views import Resource
from jobs.api.serializers import JobSerializer
from jobs.models import JobState
from providers.discovery import Source
from providers.fields import TYPE_CHOICES
from providers.models import STATUS_CHOICES
from tenants import access
from tenants.api.rest.serializers import RejectedKeySerializer, TenantModelSerializer
from tenants.api.rest.waiting import PREFER, RUNNING, accepted, rejected, waited
from tenants.models import Credential
from tenants.services import adoption, discovery
from tenants.services.tenant_llms import MAX_NAME

STATES = [state.value for state in discovery.State]


class ChosenModel(StrictSerializer):
    llm_name = serializers.CharField(max_length=MAX_NAME)
    model_type = serializers.ChoiceField(
        TYPE_CHOICES, required=False, default="", help_text="All types that are listed, unless given."
    )


class AdoptedModels(StrictSerializer):
    models = serializers.ListField(child=ChosenModel(), min_length=1, max_length=2 * adoption.MAX_ADOPTED)
    test = serializers.BooleanField(default=True, help_text="Add only if they work. false: add untested, at once.")


class ListedQuery(serializers.Serializer):
    """How the list may be narrowed."""

    state = serializers.ChoiceField(STATES, required=False)
    type = serializers.ChoiceField(TYPE_CHOICES, required=False)
    search = serializers.CharField(required=False, allow_blank=True, max_length=MAX_NAME)


class UsedModelSerializer(serializers.Serializer):
    """The tenant's own model of this name."""

    id = serializers.CharField()
    model_types = serializers.ListField(child=serializers.ChoiceField(TYPE_CHOICES))
    status = serializers.ChoiceField(STATUS_CHOICES)


class ListedModelSerializer(serializers.Serializer):
    """A model as the upstream lists it. null: it does not say."""

    llm_name = serializers.CharField(help_text="As the tenant's models are called.")
    upstream_name = serializers.CharField(help_text="As the upstream calls it; empty for one that is gone.")
    state = serializers.ChoiceField(STATES)
    model_types = serializers.ListField(
        child=serializers.ChoiceField(TYPE_CHOICES), help_text="Empty: of no type that is used here."
    )
    typed_by = serializers.ChoiceField(
        [source.value for source in Source], allow_blank=True, help_text="Who says that it is of these types."
    )
    max_tokens = serializers.IntegerField(allow_null=True)
    tools = serializers.BooleanField(allow_null=True)
    thinking = serializers.BooleanField(allow_null=True)
    vision = serializers.BooleanField(allow_null=True)
    tenant_model = UsedModelSerializer(source="tenant_llm", allow_null=True)


class CountsSerializer(serializers.Serializer):
    """How many models are in which state, whatever the filters say."""

    new = serializers.IntegerField()
    present = serializers.IntegerField()
    differs = serializers.IntegerField()
    gone = serializers.IntegerField()


class ListingSerializer(serializers.Serializer):
    """The last list of the upstream's models against what the tenant uses now."""

    listed_at = serializers.DateTimeField(allow_null=True, help_text="null: they have not been listed yet.")
    job = serializers.CharField(allow_null=True, help_text="The id of the job that listed them.")
    complete = serializers.BooleanField(help_text="Whether the list was read to its end.")
    outdated = serializers.BooleanField(help_text="The credential has changed since: list again.")
    counts = CountsSerializer()
    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = ListedModelSerializer(many=True)


class AdoptionSerializer(serializers.Serializer):
    """The tenant's models that were asked for."""

    models = TenantModelSerializer(many=True)


def _parameter(name: str, kind: Any, description: str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, kind, description=description, **more)


FILTERS = [
    _parameter("state", str, "Only models in this state.", enum=STATES),
    _parameter("type", str, "Only models of this type.", enum=[kind for kind, _ in TYPE_CHOICES]),
    _parameter("search", str, "A part of the name."),
    _parameter("page", int, "The page."),
    _parameter("page_size", int, f"{PAGE_SIZE} unless told, at most {MAX_PAGE_SIZE}."),
]


class DiscoveryActions(Resource):
    """Actions on a credential."""

    @extend_schema(
        request=None,
        responses={202: OpenApiResponse(JobSerializer, "Under way: poll the job that Location names.")},
    )
    @action(detail=True, methods=["post"])
    def discover(self, request: Request, pk: str) -> Response:
        """List the upstream's models with this key, in the background. Asked twice, it is one job."""
        credential = access.credential(self.principal, pk, scope="write")
        return accepted(discovery.discover(credential, actor=self.principal.actor))

    @extend_schema(
        parameters=FILTERS,
        responses={
            200: ListingSerializer,
            (400, PROBLEM_JSON): OpenApiResponse(ProblemSerializer, "A filter is not valid."),
        },
    )
    @action(detail=True, methods=["get"])
    def models(self, request: Request, pk: str) -> Response:
        """The last list as a difference: new, present, differs (other types than here), gone (used, but not listed)."""
        credential = access.credential(self.principal, pk)
        query = ListedQuery(data=request.query_params)
        refuse_unknown(request, {*query.fields, *self.page_parameters()})
        query.is_valid(raise_exception=True)
        found = discovery.diff(credential)
        page = self.paginate_queryset(_narrowed(found.rows, **query.validated_data))
        body = self.get_paginated_response(ListedModelSerializer(page, many=True).data).data
        about = {"listed_at": found.listed_at, "job": found.job_id, "complete": found.complete}
        return Response({**about, "outdated": found.outdated, "counts": found.counts, **body})

    @extend_schema(
        request=AdoptedModels,
        responses={
            200: AdoptionSerializer,
            202: RUNNING,
            (422, PROBLEM_JSON): OpenApiResponse(RejectedKeySerializer, "They were tested and do not work."),
            (503, PROBLEM_JSON): OpenApiResponse(RejectedKeySerializer, "The test could not be made."),
        },
        parameters=[PREFER],
    )
    @action(detail=True, methods=["post"])
    def adopt(self, request: Request, pk: str) -> Response:
        """Use models of the last list, all or none; what is used already stays as it is. The same again is no error."""
        credential = access.credential(self.principal, pk, scope="write")
        given = AdoptedModels.read(request.data)
        pairs = [(chosen["llm_name"], chosen["model_type"]) for chosen in given["models"]]
        taken = adoption.adopt(credential, models=pairs, test=given["test"], actor=self.principal.actor)
        if taken.job is not None:
            job = waited(taken.job, request)
            if not job.is_finished:
                return accepted(job)
            if job.state != JobState.COMPLETED or not job.result.get("saved"):
                return rejected(job)
        return self._used(credential, taken.names)

    def _used(self, credential: Credential, names: list[str]) -> Response:
        rows = access.tenant_llms(self.principal).defer("credential__secret")
        used = rows.filter(credential=credential, llm_name__in=names).order_by("llm_name")
        return Response(AdoptionSerializer({"models": used}).data)


def _narrowed(rows: list[discovery.Row], *, state: str = "", type: str = "", search: str = "") -> list[discovery.Row]:
    return [
        row
        for row in rows
        if (not state or row.state == state)
        and (not type or type in row.model_types)
        and search.lower() in f"{row.llm_name} {row.upstream_name}".lower()
    ]
