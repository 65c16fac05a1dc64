"""A tenant's Langfuse project: its keys are tried before they are saved, and never shown again.

API: https://api.reference.langfuse.com — basic authentication, public key as the name, secret key as the password.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from core import audit, netguard
from core.audit import Actor
from core.errors import InvalidInput
from core.origins import origin_of
from core.redact import redact
from core.secrets import seal
from providers import upstream
from providers.base_urls import clean_base_url
from providers.errors import UpstreamError
from providers.upstream import Policy
from providers.wire import UpstreamRequest
from tenants.models import LangfuseProject, Tenant
from tenants.services import routing

MAX_HOST, MAX_KEY = 255, 256
_MAX_BYTES = 1024 * 1024


class KeysRefused(InvalidInput):
    """Langfuse did not take the keys, or nothing at that address is Langfuse."""

    default_code = "langfuse_keys_refused"


@dataclass(frozen=True, slots=True)
class Project:
    id: str
    name: str


@sensitive_variables()
def save(
    *, tenant: Tenant, host: str, public_key: str, secret_key: str, content: bool | None = None, actor: Actor
) -> LangfuseProject:
    """Try the keys and keep them in the place of earlier ones; `content` None leaves that as it was, at first off.

    Raises InvalidInput, KeysRefused among it, and changes nothing then.
    """
    try:
        host = clean_base_url(host)
    except ValueError as error:
        raise InvalidInput(f"host: {error}.") from None
    if len(host) > MAX_HOST:
        raise InvalidInput(f"host: longer than {MAX_HOST} characters.")
    for name, key in (("public_key", public_key), ("secret_key", secret_key)):
        if not key or len(key) > MAX_KEY or not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidInput(f"{name}: a key has 1 to {MAX_KEY} letters, digits and signs, and no space.")
    if ":" in public_key:
        raise InvalidInput("public_key: a public key has no colon.")
    project = _project(host, public_key, secret_key)
    with transaction.atomic():
        Tenant.objects.select_for_update().filter(pk=tenant.pk).values_list("pk").first()
        row = LangfuseProject.objects.filter(tenant=tenant).first() or LangfuseProject(tenant=tenant)
        row.host, row.project_id, row.project_name = host, project.id[:100], project.name[:200]
        row.secret = seal(f"{public_key}:{secret_key}", owner=row.owner, origin=origin_of(host))
        row.content = row.content if content is None else content
        row.save()
        audit.record(
            "langfuse.saved", actor=actor, tenant_id=tenant.pk, target=str(row), host=host, content=row.content
        )
        routing.bump(tenant.pk)
    return row


@transaction.atomic
def set_content(row: LangfuseProject, *, content: bool, actor: Actor) -> LangfuseProject:
    """Send what was asked and answered from now on, or no more."""
    if row.content != content:
        row.content = content
        row.save(update_fields=["content", "updated_at"])
        audit.record("langfuse.updated", actor=actor, tenant_id=row.tenant_id, target=str(row), content=content)
        routing.bump(row.tenant_id)
    return row


@transaction.atomic
def delete(row: LangfuseProject, *, actor: Actor) -> None:
    """Send no more traces, and forget the keys."""
    audit.record("langfuse.deleted", actor=actor, tenant_id=row.tenant_id, target=str(row), host=row.host)
    routing.bump(row.tenant_id)
    row.delete()


def policy() -> Policy:
    """How far a call to a tenant's Langfuse may go: public addresses, and what staff approved for everything."""
    return Policy(
        allowed_networks=netguard.parse_networks(settings.ALLOWED_NETWORKS),
        connect_timeout_s=settings.PROBE_CONNECT_TIMEOUT_S,
        total_timeout_s=settings.PROBE_TIMEOUT_S,
        max_body_bytes=_MAX_BYTES,
    )


def authorization(keys: str) -> str:
    """The header of that name for `public:secret`."""
    return f"Basic {b64encode(keys.encode()).decode()}"


@sensitive_variables()
def _project(host: str, public_key: str, secret_key: str) -> Project:
    """The project that the keys belong to: GET /api/public/projects."""
    keys = f"{public_key}:{secret_key}"
    headers = {"Authorization": authorization(keys), "Accept": "application/json"}
    request = UpstreamRequest("GET", f"{host}/api/public/projects", headers)
    try:
        answer = asyncio.run(upstream.send(request, policy()))
    except UpstreamError as error:
        told = error.without(frozenset({keys, public_key, secret_key}))
        raise KeysRefused(f"Langfuse cannot be asked: {told}") from None
    if answer.status in (401, 403):
        raise KeysRefused("Langfuse does not know these keys.", hint="Copy both anew from the project's settings.")
    found = _first(answer.body, frozenset({keys, public_key, secret_key})) if answer.status == 200 else None
    if found is None:
        raise KeysRefused(
            f"What answers at this host is not Langfuse (status {answer.status}).",
            hint="Enter the address that you open Langfuse with, such as https://cloud.langfuse.com.",
        )
    return found


def _first(body: bytes, secrets: frozenset[str]) -> Project | None:
    """Whatever answers, its words are shown to people: printable, and without the keys."""
    try:
        data: Any = orjson.loads(body)["data"][0]
        words = [redact(str(data[name]), secrets=secrets) for name in ("id", "name")]
        return Project(*("".join(letter if letter.isprintable() else "?" for letter in word) for word in words))
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return None
