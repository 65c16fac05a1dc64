"""RAGFlow's llm_app endpoints. One view set for all mounts; the mount chooses the envelope."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django.conf import settings
from django.http import QueryDict
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.viewsets import ViewSet

from core.drf import ProbeThrottle
from core.errors import InvalidInput, NotFound, Unauthenticated
from core.http import prefers_async
from core.principal import Principal
from tenants import access
from tenants.api.llm_app import bodies
from tenants.api.llm_app.envelopes import CLASSIC, Envelope
from tenants.models import Tenant
from tenants.services.llm_app import info, outcome, reads, writes


class AsTheEnvelopeSays(BaseContentNegotiation):
    def select_parser(self, request: Request, parsers: Any) -> Any:
        media_type = request.content_type or ""
        return next((parser for parser in parsers if media_type.startswith(parser.media_type)), parsers[-1])

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class EnvelopeViewSet(ViewSet):
    """What every mount has in common: reading a body, finding the tenant, answering."""

    envelope: Envelope = CLASSIC
    parser_classes = (MultiPartParser, bodies.BodyParser)
    content_negotiation_class = AsTheEnvelopeSays
    calls_upstream = frozenset({"set_api_key", "add_llm"})
    schema = None  # not REST: the page on these endpoints describes them

    def get_renderers(self) -> list[Any]:
        return [self.envelope.renderer()]

    def get_exception_handler(self) -> Any:
        return self.envelope.failure

    def get_authenticators(self) -> list[Any]:
        return [] if self.request.method == "OPTIONS" else super().get_authenticators()

    def get_permissions(self) -> list[Any]:
        return [] if self.request.method == "OPTIONS" else list(super().get_permissions())

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return self.envelope.success(None)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        if self.envelope.open_to_browsers:
            response["Access-Control-Allow-Origin"] = "*"
            if request.method == "OPTIONS":
                response["Access-Control-Allow-Methods"] = ", ".join(self.allowed_methods)
                response["Access-Control-Allow-Headers"] = request.headers.get("Access-Control-Request-Headers", "*")
        return super().finalize_response(request, response, *args, **kwargs)

    def get_throttles(self) -> list[BaseThrottle]:
        throttles = list(super().get_throttles())
        return [*throttles, ProbeThrottle()] if self.action in self.calls_upstream else throttles

    @property
    def principal(self) -> Principal:
        if not isinstance(self.request.auth, Principal):
            raise Unauthenticated("Nobody is logged in.")
        return self.request.auth

    def tenant(self, scope: str = "read") -> Tenant:
        try:
            return access.tenant(self.principal, scope=scope)
        except NotFound:
            raise NotFound("Tenant not found!") from None

    def body(self, *required: str) -> dict[str, Any]:
        """The request's body as an object that has the required names."""
        try:
            found: Any = self.request.data
        except ParseError as error:
            if not self.envelope.forgiving:
                raise InvalidInput("The body is not valid JSON.", code="malformed") from error
            found = {}
        if isinstance(found, QueryDict):
            found = found.dict()
        if not isinstance(found, dict):
            if not self.envelope.forgiving:
                raise InvalidInput("The body must be a JSON object.", code="malformed")
            found = {}
        bodies.require(found, *required)
        return cast(dict[str, Any], found)

    def tested(self, start: Callable[[], outcome.Submitted | None], *, verify: bool) -> Response:
        """Start a test and answer when it is over; at once if the client prefers to poll."""
        try:
            submitted = start()
            if submitted is None:
                return self.envelope.success(True)
            if prefers_async(self.request):
                return self.envelope.accepted(submitted.job)
            outcome.settle(submitted, wait_s=settings.PROBE_WAIT)
        except InvalidInput as error:
            if not verify:
                raise
            return self.envelope.success({"message": self.envelope.words.of(error), "success": False})
        return self.envelope.success({"message": "", "success": True} if verify else True)

    def nothing_here(self, request: Request, **_: Any) -> Response:
        return self.envelope.not_found(request.path)


class LLMAppViewSet(EnvelopeViewSet):
    def factories(self, request: Request) -> Response:
        self.principal.require("read")
        return self.envelope.success(reads.factories())

    def my_llms(self, request: Request) -> Response:
        detailed = request.query_params.get("include_details", "false").lower() == "true"
        return self.envelope.success(reads.my_llms(self.tenant(), include_details=detailed))

    def choices(self, request: Request) -> Response:
        kind = request.query_params.get("model_type", "")
        return self.envelope.success(reads.choices(self.tenant(), model_type=kind))

    def set_api_key(self, request: Request) -> Response:
        tenant = self.tenant("write")
        body = self.body()
        if "llm_factory" not in body:
            bodies.require(body, "llm_factory", "api_key")
        factory = bodies.FactoryBody.read(body)["llm_factory"]
        if not writes.carries_key(factory, body):
            bodies.require(body, "api_key")
        return self._set_api_key(tenant, body)

    def _set_api_key(self, tenant: Tenant, body: dict[str, Any]) -> Response:
        given = bodies.SetApiKeyBody.read(body)
        wanted = writes.KeyRequest(**given, body=body)
        start = partial(writes.set_api_key, wanted, tenant=tenant, actor=self.principal.actor)
        return self.tested(start, verify=wanted.verify)

    def add_llm(self, request: Request) -> Response:
        tenant = self.tenant("write")
        body = self.body("llm_factory")
        factory = bodies.FactoryBody.read(body)["llm_factory"]
        if not {"llm_name", "model_type"} & set(body) and writes.carries_key(factory, body):
            return self._set_api_key(tenant, body)
        bodies.require(body, "model_type", "llm_name")
        given = bodies.AddLLMBody.read(body)
        wanted = writes.ModelRequest(model_types=given.pop("model_type"), **given, body=body)
        start = partial(writes.add_llm, wanted, tenant=tenant, actor=self.principal.actor)
        return self.tested(start, verify=wanted.verify)

    def delete_llm(self, request: Request) -> Response:
        tenant = self.tenant("write")
        given = bodies.ModelBody.read(self.body("llm_factory", "llm_name"))
        writes.delete_llm(tenant=tenant, **given, actor=self.principal.actor)
        return self.envelope.success(True)

    def enable_llm(self, request: Request) -> Response:
        tenant = self.tenant("write")
        given = bodies.StatusBody.read(self.body("llm_factory", "llm_name"))
        writes.enable_llm(tenant=tenant, **given, actor=self.principal.actor)
        return self.envelope.success(True)

    def delete_factory(self, request: Request) -> Response:
        tenant = self.tenant("write")
        given = bodies.FactoryBody.read(self.body("llm_factory"))
        writes.delete_factory(tenant=tenant, **given, actor=self.principal.actor)
        return self.envelope.success(True)


class UserViewSet(EnvelopeViewSet):
    """The caller's tenant and its default models."""

    def tenant_info(self, request: Request) -> Response:
        tenant = self.tenant()
        about = {"tenant_id": tenant.pk, "name": tenant.name, "role": self.principal.role}
        return self.envelope.success({**about, **info.default_models(tenant), "parser_ids": tenant.parser_ids})

    def set_tenant_info(self, request: Request) -> Response:
        tenant = self.tenant("write")
        given = bodies.TenantInfoBody.read(self.body("tenant_id", "asr_id", "embd_id", "img2txt_id", "llm_id"))
        if given.pop("tenant_id") != tenant.pk:  # there are no tenants but one's own
            raise NotFound("Tenant not found!")
        info.set_tenant_info(tenant, **given, actor=self.principal.actor)
        return self.envelope.success(True)
