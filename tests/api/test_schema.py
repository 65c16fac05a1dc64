"""The OpenAPI document is complete and true: what it promises is asked for at random, and checked."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from django.urls import NoReverseMatch, reverse
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.test_tenancy import ENDPOINTS, PUBLIC
from tests.api.world import World
from tests.people import make_token

pytestmark = pytest.mark.django_db
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    return client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}).json()


def test_the_document_is_valid_and_made_without_warnings() -> None:
    text = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=text)
    assert "/api/credentials/{id}/test/" in text.getvalue()


def test_every_endpoint_is_in_the_document(document: dict[str, Any]) -> None:
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    for name, method in ENDPOINTS:
        try:
            path = reverse(name).rstrip("/") + "/"
        except NoReverseMatch:
            path = reverse(name, args=["1"]).replace("/1", "/{id}").rstrip("/") + "/"
        assert (path, method) in described


def test_operations_are_grouped_by_what_they_are_about(document: dict[str, Any]) -> None:
    tags = {path: operation["tags"] for path, methods in document["paths"].items() for operation in methods.values()}
    paths = ("/api/budgets/{id}/", "/api/jobs/", "/llm/services/{name}/ping/")
    assert [tags[path] for path in paths] == [["budgets"], ["jobs"], ["llm"]]


def test_every_operation_documents_its_errors_and_takes_ids_as_text(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        if not path.startswith("/api/") or path.startswith("/api/v1/"):
            continue
        for operation in methods.values():
            for status in ("401", "403", "404", "429"):
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
            for parameter in operation.get("parameters", []):
                assert parameter["in"] != "path" or parameter["schema"] == {"type": "string"}
            assert operation["security"] == [{"token": []}, {"session": []}]


def test_the_document_and_its_pages_are_public_and_load_nothing_from_elsewhere(client: Client) -> None:
    for name in PUBLIC:
        assert client.get(reverse(name)).status_code == 200
    page = client.get("/api/docs/").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "https://" not in page.replace("https://github.com", "").replace("https://www.w3.org", "")


# A member is refused most of what an owner may do: few examples show it.
@pytest.mark.parametrize(("role", "examples"), [("owner", 16), ("member", 5)])
def test_random_requests_are_answered_as_documented(world: World, role: str, examples: int, in_process: None) -> None:
    plain = make_token(world.tenant, user=getattr(world.people, role))
    schema = schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application())
    found = [item.ok() for item in schema.get_all_operations()]
    asked = [item for item in found if item.path.startswith("/api/") and not item.path.startswith("/api/v1/")]
    assert len(asked) == len(ENDPOINTS)
    known = {
        "credentials": world.credential.pk, "factories": world.factory.pk, "jobs": world.job.pk,
        "tokens": world.token.pk, "routes": world.route.pk,
        "members": world.membership.pk, "models": world.llm.pk, "probes": world.probe.pk, "tenants": world.tenant.pk,
        "tenant-models": world.tenant_llm.pk, "audit-events": world.event.pk, "usage": world.usage_record.pk,
        "rate-limits": world.rate_limit.pk, "budgets": world.budget.pk,
        "job_types": "probe", "job_groups": "credentials", "services": world.job.pk,
    }  # fmt: skip

    for operation in asked:

        @given(case=operation.as_strategy(), real=st.booleans())
        @settings(
            max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case: Any, real: bool) -> None:
            if real and "id" in (case.path_parameters or {}) and case.method != "DELETE":
                case.path_parameters["id"] = str(known[case.path.split("/")[2]])
            if real and isinstance(case.body, dict) and "factory" in case.body:
                case.body["factory"] = world.factory.name
            case.call_and_validate(headers={"Authorization": f"Bearer {plain}"}, checks=CHECKS)

        ask()


@pytest.fixture
def in_process(settings: Any) -> Iterator[None]:
    """The application is called in the test's own transaction, unthrottled, and does not wait for probes."""
    settings.PROBE_WAIT = 0
    rates = {"caller": "1000000/min", "probe": "1000000/min"}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
