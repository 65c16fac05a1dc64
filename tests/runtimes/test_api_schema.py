"""What the OpenAPI document promises of `/llm/services` and `/llm/models` is asked for at random, and holds."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runtimes.models import LLMService, ServiceModel
from tests.api.test_schema import CHECKS, in_process  # noqa: F401  (a fixture)
from tests.people import People, make_token

pytestmark = pytest.mark.django_db
OPERATIONS = 8


def test_random_questions_are_answered_as_documented(people: People, in_process: None) -> None:  # noqa: F811
    service = LLMService.objects.create(name="mock", type="mock", is_enabled=True, short_timeout_s=1)
    ServiceModel.objects.create(service=service, name="a/b:c", model_types=["chat"], type="llm", state="loaded")
    plain = make_token(people.tenant, user=people.member)
    schema = schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application())
    asked = [item.ok() for item in schema.get_all_operations()]
    asked = [item for item in asked if item.path.startswith(("/llm/services", "/llm/models"))]
    assert len(asked) == OPERATIONS

    for operation in asked:

        @given(case=operation.as_strategy(), real=st.booleans())
        @settings(
            max_examples=25, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case: Any, real: bool) -> None:
            known = {"name": "mock" if "services" in case.path else "mock~a/b:c", "model": "a/b:c"}
            if real:
                case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
            case.call_and_validate(headers={"Authorization": f"Bearer {plain}"}, checks=CHECKS)

        ask()
