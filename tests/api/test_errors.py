"""Whatever goes wrong is a problem document that says what to do."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.api.world import World

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"

UNKNOWN = [
    "/api/nothing/",
    "/api/credentials/a/b/c",
    "/api/credentials/%00/",
    "/api/tokens/../x",
    "/api/é",
]


def send(client: Client, body: bytes, content_type: str = "application/json"):
    return client.post("/api/tokens/", body, content_type=content_type)


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_an_unknown_path_is_a_problem(owner: Client, path: str, method: str) -> None:
    answer = getattr(owner, method)(path)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("pk", ["0", "99999999999999999999", "abc", "x" * 32, "1" * 32])
@pytest.mark.parametrize("kind", ["credentials", "models", "factories", "probes", "jobs", "members", "tenant-models"])
def test_an_id_of_nothing_is_not_found(owner: Client, kind: str, pk: str) -> None:
    answer = owner.get(f"/api/{kind}/{pk}/")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_a_method_that_is_not_there_names_those_that_are(owner: Client, world: World) -> None:
    for method, path in (("put", f"/api/credentials/{world.credential.pk}/"), ("delete", "/api/models/")):
        answer = getattr(owner, method)(path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "GET" in answer["Allow"]
        assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("content_type", ["text/plain", FORM, "multipart/form-data; boundary=x", ";"])
def test_only_json_is_understood(owner: Client, content_type: str) -> None:
    answer = send(owner, b"name=x", content_type)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


MALFORMED = [
    b"{", b"", b"null", b"[]", b'"x"', b"NaN", b'{"name": NaN}', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000, b"{}x",
    b'{"name": "\\ud800", "scopes": ["read"]}', b'{"name": "a\\u0000b", "scopes": ["read"]}', b"1" * 5_000,
    b'{"name": {"a": 1}, "scopes": "read"}', b'{"name": "x", "scopes": {"0": "read"}}', b'{"scopes": [["read"]]}',
    b'{"name": "x", "scopes": ["read"], "expires_at": "9999-12-31T23:59:59-23:00"}',
    b'{"name": "x", "scopes": ["read"], "expires_at": 1e400}', b'{"__proto__": 1}',
]  # fmt: skip


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_body_is_refused_and_changes_nothing(owner: Client, world: World, body: bytes) -> None:
    before = world.owned()
    answer = send(owner, body)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json"), answer.content
    assert world.owned() == before


def test_a_huge_body_is_refused(owner: Client, settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = send(owner, b'{"name": "' + b"x" * 2000 + b'"}')
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_unknown_fields_are_named_but_not_all_of_them(owner: Client) -> None:
    answer = owner.post("/api/tokens/", {f"f{n}": 1 for n in range(1000)}, content_type="application/json")
    assert answer.status_code == 400
    assert 0 < len(answer.json()["fields"]) <= 20


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/png;q=x", "*/*", ""])
def test_whatever_is_accepted_the_answer_is_json(owner: Client, accept: str) -> None:
    answer = owner.get("/api/me/?format=xml", headers={"Accept": accept})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


def test_a_path_may_lack_its_last_slash(owner: Client) -> None:
    assert owner.get("/api/tokens").status_code == 200
    made = owner.post("/api/tokens", {"name": "x", "scopes": ["read"]}, content_type="application/json")
    assert made.status_code == 201


def test_too_many_requests_are_told_when_to_come_back(owner: Client, settings) -> None:
    rates = {"caller": "3/min", "probe": "60/min"}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    answers = [owner.get("/api/me/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[-1]["Retry-After"]) > 0
    assert answers[-1].json()["code"] == "too_many_requests"


def test_a_fault_of_ours_is_a_problem_without_details(world: World, owner: Client, settings) -> None:
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"caller": "nonsense", "probe": "60/min"},
    }  # fmt: skip
    owner.raise_request_exception = False
    answer = owner.get("/api/me/")
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert "nonsense" not in answer.content.decode()
    assert answer["X-Request-Id"]
