"""The two wires, byte by byte where RAGFlow's clients need it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from providers.models import LLMFactory
from tests.people import People
from tests.tenants.llm_app_door import ALSO_CLASSIC, CLASSIC, READS, RETCODE, WRITES, Door, door, vendor

MOUNTS = pytest.mark.parametrize("mount", [CLASSIC, ALSO_CLASSIC, RETCODE])
CLASSIC_MOUNTS = pytest.mark.parametrize("mount", [CLASSIC, ALSO_CLASSIC])


@CLASSIC_MOUNTS
def test_classic_answers_are_sorted_compact_ascii_with_a_line_end(people: People, mount: str) -> None:
    vendor("文心", {"b": "chat", "a": "embedding"})
    here = door(people).through(mount)
    data = here.get("factories")
    raw = here.last.content
    assert raw == json.dumps(data, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert rb"\u6587" in raw
    assert raw.startswith(b'{"code":0,"data":[{"create_date":"')
    assert raw.endswith(b'"message":"success"}\n')
    assert here.last["Content-Type"] == "application/json"
    assert here.last["Access-Control-Allow-Origin"] == "*"


def test_classic_dates_are_http_dates_and_milliseconds(people: People) -> None:
    factory = vendor()
    LLMFactory.objects.filter(pk=factory.pk).update(created_at="2026-01-02T03:04:05.678Z")
    item = door(people).get("factories")["data"][0]
    assert item["create_date"] == "Fri, 02 Jan 2026 03:04:05 GMT"
    assert item["create_time"] == 1767323045678


def test_retcode_answers_are_as_the_seeds_show(people: People) -> None:
    vendor("文心", {"b": "chat"})
    here = door(people).through(RETCODE)
    answer = here.get("factories")
    assert (answer["retcode"], answer["retmsg"], list(answer)) == (0, "success", ["retcode", "retmsg", "data"])
    assert answer["data"][0]["name"] == "文心"
    assert answer["data"][0]["create_date"].endswith("Z")


@CLASSIC_MOUNTS
def test_nobody_gets_the_classic_401(db: None, mount: str) -> None:
    for token in ("", "lla_" + "x" * 43):
        here = Door(token, mount)
        here.get("my_llms")
        assert here.last.status_code == 401
        assert here.last.content == b'{"code":401,"data":null,"message":"<Unauthorized \'401: Unauthorized\'>"}\n'


def test_nobody_gets_401_with_a_retcode(db: None) -> None:
    here = Door("", RETCODE)
    assert here.post("add_llm", {}) == {"retcode": 401, "retmsg": "Unauthorized", "data": None}
    assert here.last.status_code == 401


@CLASSIC_MOUNTS
@pytest.mark.parametrize("path", ["nothing", "", "factories/more", "list_app"])
def test_unknown_path_gets_the_classic_404(db: None, mount: str, path: str) -> None:
    here = Door("", mount)
    for answer in (here.get(path), here.post(path, {})):
        assert answer == {"code": 404, "data": None, "error": "Not Found", "message": f"Not Found: {mount}/{path}"}
        assert here.last.status_code == 404


def test_unknown_path_gets_404_with_a_retcode(db: None) -> None:
    assert Door("", RETCODE).get("no/such") == {"retcode": 404, "retmsg": "Not Found: /llm/no/such", "data": None}
    assert Door("").get("/v1/user/no-such")["code"] == 404


@CLASSIC_MOUNTS
def test_wrong_method_gets_code_100(people: People, mount: str) -> None:
    here = door(people).through(mount)
    for answer in (here.post("factories", {}), here.get("add_llm")):
        expected = {"code": 100, "data": None, "message": "<MethodNotAllowed '405: Method Not Allowed'>"}
        assert (here.last.status_code, answer) == (200, expected)
    assert here.through(RETCODE).get("set_api_key")["retcode"] == 100


@MOUNTS
@pytest.mark.parametrize("path", [*READS])
def test_last_slash_is_tolerated(people: People, mount: str, path: str) -> None:
    here = door(people).through(mount)
    name, _, query = path.partition("?")
    assert here.get(f"{name}/?{query}") == here.get(path)
    assert here.last.status_code == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"", b"null", b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_malformed_body_counts_as_an_empty_one_in_the_classic_wire(people: People, body: bytes) -> None:
    answer = door(people).post("add_llm", raw=body)
    assert answer == {"code": 101, "data": None, "message": "required argument are missing: llm_factory; "}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "The body is not valid JSON."),
        (b"[]", "The body must be a JSON object."),
        (b"5", "The body must be a JSON object."),
        (b"{}", "Missing required parameter: llm_factory, api_key"),
        (b"", "Missing required parameter: llm_factory, api_key"),
    ],
)
def test_malformed_body_is_named_with_a_retcode(people: People, body: bytes, text: str) -> None:
    assert door(people).through(RETCODE).post("set_api_key", raw=body) == {"retcode": 1, "retmsg": text, "data": None}


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("set_api_key", "llm_factory,api_key"),
        ("add_llm", "llm_factory"),
        ("delete_llm", "llm_factory,llm_name"),
        ("enable_llm", "llm_factory,llm_name"),
        ("delete_factory", "llm_factory"),
        ("/v1/user/set_tenant_info", "tenant_id,asr_id,embd_id,img2txt_id,llm_id"),
    ],
)
def test_missing_arguments_are_listed_in_their_order(people: People, path: str, names: str) -> None:
    message = door(people).post(path, {})["message"]
    assert message.startswith(f"required argument are missing: {names}")
    assert message.endswith("; ")


def test_data_error_has_no_data_in_the_classic_wire(people: People) -> None:
    body = {"llm_factory": "Nope", "api_key": "k"}
    here = door(people)
    assert here.post("set_api_key", body) == {"code": 102, "message": "LLM factory Nope is not allowed"}
    seen = here.through(RETCODE).post("set_api_key", body)
    assert seen == {"retcode": 1, "retmsg": "LLM factory Nope is not allowed", "data": None}


def test_form_is_read_as_the_body(people: People) -> None:
    vendor()
    here = door(people)
    kinds = {"application/x-www-form-urlencoded": b"llm_factory=Fake"}
    kinds["multipart/form-data; boundary=B"] = (
        b'--B\r\nContent-Disposition: form-data; name="llm_factory"\r\n\r\nFake\r\n--B--\r\n'
    )
    for kind, raw in kinds.items():
        assert here.post("delete_factory", raw=raw, content_type=kind)["data"] is True


def test_browsers_of_any_origin_may_ask_with_a_token(db: None) -> None:
    asked = {"Origin": "https://ui.example", "Access-Control-Request-Headers": "authorization"}
    answer = Client().options(f"{CLASSIC}/add_llm", headers=asked)
    assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (200, "*")
    assert answer["Access-Control-Allow-Headers"] == "authorization"
    assert "Access-Control-Allow-Credentials" not in answer
    assert "Access-Control-Allow-Origin" not in Client().options(f"{RETCODE}/add_llm", headers=asked)


@MOUNTS
def test_token_works_bare_and_with_its_scheme(people: People, mount: str) -> None:
    here = door(people).through(mount)
    for header in (here.token, f"Bearer {here.token}"):
        assert Client().get(f"{mount}/my_llms", headers={"Authorization": header}).status_code == 200


def test_session_works_and_needs_its_csrf_token_to_write(people: People) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people.owner, backend="django.contrib.auth.backends.ModelBackend")
    here = Door(client=client)
    assert here.get("my_llms")["code"] == 0
    refused = here.post("delete_factory", WRITES["delete_factory"])
    assert refused["code"] == 108 and "CSRF" in refused["message"]


def test_body_that_is_too_large_is_refused(people: People) -> None:
    raw = json.dumps({"llm_factory": "x" * (1024 * 1024)}).encode()
    assert "larger than 1 MiB" in door(people).post("delete_factory", raw=raw)["message"]


@MOUNTS
def test_caller_who_asks_too_often_is_told_when_to_come_back(people: People, settings: Any, mount: str) -> None:
    rates = {"caller": "2/min", "probe": None}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    here = door(people).through(mount)
    answers = [here.get("my_llms") for _ in range(3)]
    assert answers[2].get("code", answers[2].get("retcode")) == 429
    assert here.last.status_code == 429 and int(here.last["Retry-After"]) >= 1
