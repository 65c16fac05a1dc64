"""Which paths there are, and what the others answer."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.people import make_user

pytestmark = pytest.mark.django_db


def test_a_browser_is_sent_to_the_admin_and_a_program_told_the_doors(client: Client) -> None:
    answer = client.get("/", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    doors = client.get("/").json()
    assert (doors["docs"], doors["models"]) == ("/api/docs/", "/v1/models")
    assert client.get(doors["api"])["Location"] == doors["docs"]


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


HTML, PROBLEM = "text/html; charset=utf-8", "application/problem+json"


def test_any_other_path_is_a_page_for_people_and_a_problem_for_programs(client: Client) -> None:
    answer = client.get("/nothing", headers={"Accept": "text/html,*/*"})
    assert (answer.status_code, answer["Content-Type"]) == (404, HTML)
    assert "There is nothing here" in answer.content.decode() and 'href="/admin/"' in answer.content.decode()
    answer = client.get("/nothing")
    assert (answer.status_code, answer["Content-Type"]) == (404, PROBLEM)


@pytest.mark.parametrize("path", ["/chat/completions", "/embeddings", "/models", "/audio/speech"])
def test_a_client_whose_base_url_lacks_v1_is_told(path: str) -> None:
    answer = Client(enforce_csrf_checks=True).post(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"].endswith("ends in /v1 here.")


def test_a_host_that_is_not_ours_is_refused_in_words(client: Client) -> None:
    strange = {"Host": "elsewhere.example"}
    answer = client.get("/api/credentials/", headers=strange)
    assert (answer.status_code, answer["Content-Type"]) == (400, PROBLEM)
    assert "ALLOWED_HOSTS" in answer.json()["hint"]
    page = client.get("/admin/login/", headers=strange)
    assert (page.status_code, page["Content-Type"]) == (400, HTML)
    assert "ALLOWED_HOSTS" in page.content.decode() and "elsewhere" not in page.content.decode()
    assert client.post("/v1/llm/set_api_key", headers=strange).json()["code"] == 400
    assert client.post("/v1/nothing", headers=strange).json()["error"]["type"] == "invalid_request_error"


def test_staff_without_the_right_are_told_whom_to_ask(client: Client) -> None:
    client.force_login(make_user("nobody", is_staff=True), backend="django.contrib.auth.backends.ModelBackend")
    page = client.get("/admin/jobs/job/")
    assert page.status_code == 403
    assert "no right to this page" in page.content.decode()


def test_a_name_that_is_locked_out_is_told_for_how_long(client: Client, settings: Any) -> None:
    settings.AXES_ENABLED, settings.AXES_FAILURE_LIMIT = True, 2
    make_user("root", is_staff=True)
    for status in (200, 429, 429):
        answer = client.post("/admin/login/", {"username": "root", "password": "wrong"})
        assert answer.status_code == status
    assert "a quarter of an hour" in answer.content.decode()


def test_health_is_asked_without_a_slash(client: Client) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code in (200, 503)
