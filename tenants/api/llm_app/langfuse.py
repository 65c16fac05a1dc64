"""The classic door to a tenant's Langfuse project. Unlike RAGFlow's it never says the keys again."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import InvalidInput, NotFound
from tenants import access
from tenants.api.llm_app.bodies import Text
from tenants.api.llm_app.envelopes import Code
from tenants.api.llm_app.views import EnvelopeViewSet
from tenants.models import LangfuseProject
from tenants.services import langfuse

NEEDED = ("secret_key", "public_key", "host")
NOTHING = "Have not record any Langfuse keys."


class LangfuseViewSet(EnvelopeViewSet):
    calls_upstream = frozenset({"save"})

    def show(self, request: Request) -> Response:
        row = self._row("read")
        return self._nothing() if row is None else self.envelope.success(_shown(row))

    def save(self, request: Request) -> Response:
        tenant = self.tenant("write")
        body = self.body()
        given = {name: body.get(name) for name in NEEDED}
        if not all(isinstance(value, str) and value.strip() for value in given.values()):
            raise InvalidInput("Missing required fields")
        content = body.get("content")
        if content is not None and not isinstance(content, bool):
            raise InvalidInput("content: This must be true or false.")
        try:
            row = langfuse.save(
                tenant=tenant,
                **{name: Text().run_validation(value) for name, value in given.items()},
                content=content,
                actor=self.principal.actor,
            )
        except langfuse.KeysRefused as error:
            raise InvalidInput("Invalid Langfuse keys", hint=str(error)) from None
        return self.envelope.success(_shown(row))

    def remove(self, request: Request) -> Response:
        row = self._row("write")
        if row is None:
            return self._nothing()
        langfuse.delete(row, actor=self.principal.actor)
        return self.envelope.success(True)

    def _row(self, scope: str) -> LangfuseProject | None:
        self.tenant(scope)
        try:
            return access.langfuse(self.principal, scope=scope)
        except NotFound:
            return None

    def _nothing(self) -> Response:
        return Response(self.envelope.body(Code.SUCCESS, NOTHING))


def _shown(row: LangfuseProject) -> dict[str, Any]:
    return {
        "tenant_id": row.tenant_id,
        "host": row.host,
        "project_id": row.project_id,
        "project_name": row.project_name,
        "content": row.content,
    }
