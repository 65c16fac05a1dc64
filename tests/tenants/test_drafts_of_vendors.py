"""Keys of vendors with a wire format of their own are tested as any other key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from providers.models import LLM, LLMFactory
from tenants.models import Credential, TenantLLM
from tests.aimock import Aimock
from tests.fakes.upstream import FakeUpstream
from tests.people import People
from tests.tenants.setting import WRONG_KEY, plan, submit

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")]
SHIPPED = [
    ("Anthropic", "claude-sonnet-4-6"),
    ("Gemini", "gemini-2.5-flash"),
    ("Gemini", "gemini-embedding-001"),
]
INVALID = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
REFUSED: list[tuple[str, str, int, dict[str, Any]]] = [
    (
        "Anthropic",
        "x-api-key",
        401,
        {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
    ),
    (
        "Gemini",
        "x-goog-api-key",
        400,
        {"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT", "details": [INVALID]}},
    ),
]


def shipped(name: str) -> LLMFactory:
    """A factory as the catalogue that comes with us has it."""
    file = Path(settings.BASE_DIR) / "fixtures" / "catalog" / f"{name.lower()}.json"
    call_command("loaddata", str(file), verbosity=0)
    return LLMFactory.objects.get_by_natural_key(name)


@pytest.mark.parametrize(("name", "model"), SHIPPED)
def test_a_key_that_works_is_saved(people: People, aimock: Aimock, name: str, model: str) -> None:
    factory = shipped(name)
    kinds = LLM.objects.get(factory=factory, llm_name=model).model_types
    aimock.forget()
    job = submit(
        people.tenant,
        factory,
        aimock.base_url.removesuffix("/v1"),
        plan(model, *kinds),
        values={"api_key": aimock.api_key},
    )
    assert (job.result["ok"], job.result["verdict"]) == (True, "ok"), job.result
    assert Credential.objects.get(tenant=people.tenant).verdict == "ok"
    assert TenantLLM.objects.get(llm_name=model).verdict == "ok"


@pytest.mark.parametrize(("name", "header", "status", "body"), REFUSED)
def test_a_wrong_key_costs_one_call(
    people: People, upstream: FakeUpstream, name: str, header: str, status: int, body: dict[str, Any]
) -> None:
    factory = shipped(name)
    root = factory.quirks["version_path"].removeprefix("/v1")
    upstream.status(f"{root}/models", status, body)
    model = plan(next(model for owner, model in SHIPPED if owner == name), "chat")
    job = submit(people.tenant, factory, upstream.root, model, values={"api_key": WRONG_KEY})
    assert (job.result["ok"], job.result["saved"], job.result["verdict"]) == (False, False, "bad_key")
    assert upstream.total_calls == 1
    (request,) = upstream.requests
    assert request.headers[header] == WRONG_KEY
    assert "authorization" not in request.headers
    assert WRONG_KEY not in request.path + request.query
    assert WRONG_KEY not in str(job.result)
