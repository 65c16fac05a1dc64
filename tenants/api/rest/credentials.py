"""Credentials, and the models that a tenant uses through them."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from core.drf import PROBLEM_JSON
from core.errors import Conflict, InvalidInput
from core.views import ReadOnlyResource, place
from jobs.api.serializers import JobSerializer
from jobs.models import JobState
from providers.models import LLMFactory
from tenants import access
from tenants.api.rest import bodies
from tenants.api.rest.discovery import DiscoveryActions
from tenants.api.rest.filters import CredentialFilter, TenantModelFilter
from tenants.api.rest.serializers import CredentialSerializer, RejectedKeySerializer, TenantModelSerializer
from tenants.api.rest.waiting import PREFER, RUNNING, accepted, rejected, waited
from tenants.models import Credential, TenantLLM
from tenants.services import credentials, drafts, plans, tenant_llms


class CredentialViewSet(DiscoveryActions, ReadOnlyResource):
    """The tenant's keys: what is known of them, never the keys themselves."""

    queryset = Credential.objects.none()
    serializer_class = CredentialSerializer
    filterset_class = CredentialFilter
    search_fields = ("label", "factory__name", "base_url")
    ordering_fields = ("created_at", "updated_at", "checked_at", "label", "factory__name")
    calls_upstream = frozenset({"create", "test", "discover", "adopt"})

    def rows(self) -> QuerySet[Credential]:
        return access.credentials(self.principal).defer("secret")

    @extend_schema(
        request=bodies.NewCredential,
        responses={
            201: CredentialSerializer,
            202: RUNNING,
            (422, PROBLEM_JSON): OpenApiResponse(RejectedKeySerializer, "The key was tested and does not work."),
            (503, PROBLEM_JSON): OpenApiResponse(RejectedKeySerializer, "The test could not be made."),
        },
        parameters=[PREFER],
    )
    def create(self, request: Request) -> Response:
        """Test a key and save it if it works; with `"test": false` save it untested."""
        tenant = access.tenant(self.principal, scope="write")
        given = bodies.NewCredential.read(request.data)
        factory = _factory(given["factory"])
        wanted = {
            "tenant": tenant,
            "factory": factory,
            "values": given["values"],
            "base_url": given["base_url"],
            "label": given["label"],
            "models": plans.of_names(factory, given["models"]) if "models" in given else plans.whole_catalogue(factory),
            "actor": self.principal.actor,
        }
        if not given["test"]:
            return self._created(drafts.save_untested(**wanted).pk)
        if given["label"] and self.rows().filter(factory=factory, label=given["label"].strip()).exists():
            raise Conflict(f"There is a credential “{given['label']}” for {factory.name} already.")
        job = waited(drafts.submit(**wanted), request)
        if not job.is_finished:
            return accepted(job)
        if job.state == JobState.COMPLETED and job.result.get("saved"):
            return self._created(job.result["credential_id"])
        return rejected(job)

    def _created(self, pk: str) -> Response:
        row = access.credential(self.principal, pk)
        headers = {"Location": place("credential-detail", pk)}
        return Response(CredentialSerializer(row).data, status=201, headers=headers)

    @extend_schema(request=bodies.CredentialChange, responses=CredentialSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is given. A secret that is left out or blank stays; a new host needs the key again."""
        credential = access.credential(self.principal, pk, scope="write")
        given = bodies.CredentialChange.read(request.data)
        changed = credentials.update(credential, actor=self.principal.actor, **given)
        return Response(CredentialSerializer(changed).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a key and the models used through it."""
        credentials.delete(access.credential(self.principal, pk, scope="write"), actor=self.principal.actor)
        return Response(status=204)

    @extend_schema(
        request=bodies.CredentialTest,
        responses={200: OpenApiResponse(JobSerializer, "Tested: see `result`."), 202: RUNNING},
        parameters=[PREFER],
    )
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Test a saved key now."""
        credential = access.credential(self.principal, pk, scope="write")
        given = bodies.CredentialTest.read(request.data)
        pairs = [(pair["llm_name"], pair["model_type"]) for pair in given.get("models", [])]
        job = waited(credentials.test(credential, actor=self.principal.actor, pairs=pairs or None), request)
        return Response(JobSerializer(job).data) if job.is_finished else accepted(job)


class TenantModelViewSet(ReadOnlyResource):
    """The models that the tenant may use, each through one credential."""

    queryset = TenantLLM.objects.none()
    serializer_class = TenantModelSerializer
    filterset_class = TenantModelFilter
    search_fields = ("llm_name", "factory__name")
    ordering_fields = ("llm_name", "factory__name", "created_at", "checked_at", "used_tokens", "max_tokens")

    def rows(self) -> QuerySet[TenantLLM]:
        return access.tenant_llms(self.principal).defer("credential__secret")

    @extend_schema(request=bodies.NewTenantModel, responses={201: TenantModelSerializer})
    def create(self, request: Request) -> Response:
        """Let the tenant use one more model through a credential, untested."""
        self.principal.require("write")
        given = bodies.NewTenantModel.read(request.data)
        credential = access.credential(self.principal, given.pop("credential"), scope="write")
        row = tenant_llms.add(credential=credential, actor=self.principal.actor, **given)
        return Response(TenantModelSerializer(row).data, status=201)

    @extend_schema(request=bodies.TenantModelChange, responses=TenantModelSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change types or limits, enable or disable."""
        row = access.tenant_llm(self.principal, pk, scope="write")
        given = bodies.TenantModelChange.read(request.data)
        changed = tenant_llms.update(row, actor=self.principal.actor, **given)
        return Response(TenantModelSerializer(changed).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Take the model away. Its credential stays."""
        tenant_llms.delete([access.tenant_llm(self.principal, pk, scope="write")], actor=self.principal.actor)
        return Response(status=204)


def _factory(name: str) -> LLMFactory:
    factory = LLMFactory.objects.offered().filter(name=name).first()
    if factory is None:
        raise InvalidInput(f"There is no factory “{name}”.", fields={"factory": ["One of /api/factories/."]})
    return factory
