"""Which paths there are, and what the others answer."""

from __future__ import annotations

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_a_browser_is_sent_to_the_admin_and_a_program_told_the_doors(client: Client) -> None:
    answer = client.get("/", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert client.get("/").json()["docs"] == "/api/docs/"


@pytest.mark.parametrize("method", ["get", "post", "patch", "delete"])
@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/api/nothing", {"type", "title", "status", "detail", "code", "hint"}),
        ("/v1/nothing", {"error"}),
        ("/llm/nothing", {"retcode", "retmsg", "data"}),
        ("/v1/llm/nothing", {"code", "data", "error", "message"}),
        ("/api/v1/llm/nothing", {"code", "data", "error", "message"}),
        ("/api/v1/nothing", {"code", "data", "error", "message"}),
        ("/v1/user/nothing", {"code", "data", "error", "message"}),
    ],
)
def test_an_unknown_path_answers_in_the_form_of_its_door(path: str, keys: set[str], method: str) -> None:
    answer = getattr(Client(enforce_csrf_checks=True), method)(path)
    assert answer.status_code == 404
    assert set(answer.json()) == keys


def test_any_other_path_is_a_page(client: Client) -> None:
    answer = client.get("/nothing")
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_health_is_asked_without_a_slash(client: Client) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code in (200, 503)
