"""Whatever is wrong with a request is told in the envelope and changes nothing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from jobs.models import Job
from tenants.models import Credential, TenantLLM
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import People
from tests.tenants.llm_app_door import CLASSIC, RETCODE, Door, door, server, vendor

BASE = "http://127.0.0.1:9/v1"
ADD = {"llm_factory": "Server", "llm_name": "m", "model_type": "chat", "api_base": BASE, "api_key": "k"}
SET = {"llm_factory": "Fake", "api_key": "k"}
TOO_LONG_KEY = "k" * (16 * 1024 + 1)
NAMES: list[Any] = [None, 5, 5.5, True, [], ["Fake"], {}, "", "  ", "x" * 200, "a\x00b", "a\nb", "\ud800", "No such"]
WRONG = [
    *(("set_api_key", {**SET, "llm_factory": value}) for value in NAMES),
    *(("add_llm", {**ADD, "llm_factory": value}) for value in NAMES),
    *(("add_llm", {**ADD, "llm_name": value}) for value in NAMES[:-1]),
    *(("add_llm", {**ADD, "model_type": value}) for value in [*NAMES, "Chat", "chat,tts", [None], [[]], ["chat", 5]]),
    *(("delete_llm", {"llm_factory": "Fake", "llm_name": value}) for value in NAMES[:-1]),
    *(("delete_factory", {"llm_factory": value}) for value in NAMES[:-1]),
    *(
        ("enable_llm", {"llm_factory": "Server", "llm_name": "here___VLLM", "status": value})
        for value in (2, "2", "on", "", True, False, [], {}, "\x00", 1.0, "01")
    ),
    *(
        ("add_llm", {**ADD, "max_tokens": value})
        for value in (-1, True, False, "many", [], {}, 1.5, 1e300, 10**30, "-5", "9" * 40)
    ),
    *(
        ("add_llm", {**ADD, "api_base": value})
        for value in (
            5, [], "ftp://h/v1", "localhost:1/v1", "http://", "http://u:p@h/v1", "http://h/v1?key=1", "http://h/../v1",
            "http://h/" + "x" * 300, "http://a\x00b/", "",
        )
    ),
    *(("add_llm", {**ADD, "api_key": value}) for value in (5, True, ["k"], {"no": "k"}, TOO_LONG_KEY, "a\x00b")),
    ("add_llm", {**ADD, "api_key": "a\nb"}),
    *(("set_api_key", {**SET, "api_key": value}) for value in (5, True, ["k"], {"no": 1}, TOO_LONG_KEY, "a\x00b", "")),
    *(("set_api_key", {**SET, "base_url": value}) for value in (5, ["u"], "nonsense", "http://h/" + "x" * 300)),
    *(("set_api_key", {**SET, "verify": value}) for value in ("maybe", [], 7)),
    *(("set_api_key", {**SET, "source_fid": value}) for value in (5, "No such", "\x00")),
    *(("add_llm", {**ADD, "instance": value}) for value in (5, "x" * 101, "\x00", ["a"])),
    *(("add_llm", {**ADD, "is_tools": value}) for value in ("perhaps", [], 7)),
    ("add_llm", {**ADD, "test": "perhaps"}),
]  # fmt: skip


@pytest.fixture
def owner(people: People) -> Door:
    vendor(models={"m": "chat"}, base_url="https://fake.example/v1")
    server()
    here = door(people)
    here.post("add_llm", {**ADD, "llm_name": "here", "api_base": "http://127.0.0.1:7/v1", "test": False})
    return here


def everything() -> list[object]:
    return [list(kind.objects.order_by("pk").values()) for kind in (Credential, TenantLLM, Job)]


@pytest.mark.django_db
@pytest.mark.parametrize("mount", [CLASSIC, RETCODE])
def test_wrong_input_is_refused_with_a_reason_and_changes_nothing(owner: Door, settings: Any, mount: str) -> None:
    rates = {"caller": None, "probe": None}  # this is about what is asked, not about how often
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    here, before = owner.through(mount), everything()
    for path, body in WRONG:
        answer = here.post(path, body)
        told = {**answer, "body": str(body)[:200], "path": path}
        assert here.last.status_code == 200, told
        assert answer.get("code", 102) == 102 and answer.get("retcode", 1) == 1, told
        assert answer.get("message") or answer.get("retmsg"), told
        assert everything() == before, told


@pytest.mark.django_db
@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["max_tokens", "llm_name", "anything"])
def test_numbers_that_are_none_are_refused(owner: Door, constant: str, name: str) -> None:
    before = everything()
    raw = b'{"llm_factory": "Server", "llm_name": "m", "model_type": "chat", "%s": %s}' % (
        name.encode(),
        constant.encode(),
    )
    assert owner.post("add_llm", raw=raw) == {"code": 102, "message": f"{constant} is not a number in JSON."}
    assert owner.post("add_llm", raw=raw.replace(constant.encode(), b"1e999"))["code"] == 102
    assert everything() == before


@pytest.mark.django_db
def test_missing_second_arguments_are_named(owner: Door) -> None:
    body = {"llm_factory": "Server"}
    assert owner.post("add_llm", body)["message"] == "required argument are missing: model_type,llm_name; "
    seen = owner.through(RETCODE).post("add_llm", {**body, "llm_name": "m"})
    assert seen["retmsg"] == "Missing required parameter: model_type"
    assert owner.post("set_api_key", {"llm_factory": "Fake"})["message"] == "required argument are missing: api_key; "


@pytest.mark.django_db
def test_server_without_an_address_is_refused(owner: Door) -> None:
    body = {name: value for name, value in ADD.items() if name != "api_base"}
    assert "needs a base URL" in owner.post("add_llm", {**body, "instance": "new"})["message"]


@pytest.mark.django_db
def test_unknown_type_is_named(owner: Door) -> None:
    assert owner.post("add_llm", {**ADD, "model_type": "vision"})["message"].startswith("Unknown model type: vision")


@pytest.mark.django_db
def test_refused_key_is_not_repeated(owner: Door) -> None:
    for value in ("sk-secret\nline", {"no": "sk-secret"}, ["sk-secret"]):
        owner.post("add_llm", {**ADD, "api_key": value})
        assert "sk-secret" not in owner.last.content.decode()


@pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")
@pytest.mark.parametrize("tested", [True, False])
@pytest.mark.parametrize("path", ["set_api_key", "add_llm"])
def test_equal_writes_at_the_same_time_end_as_one(
    people: People, upstream: FakeUpstream, path: str, tested: bool
) -> None:
    vendor(models={"fake-chat": "chat", "fake-embedding": "embedding"}, base_url=upstream.url)
    body = {"llm_factory": "Fake", "api_key": KEY, "test": tested}
    if path == "add_llm":
        body |= {"llm_name": "fake-chat", "model_type": "chat"}
    token, answers, gate = door(people).token, [], threading.Barrier(4)

    def write() -> None:
        here = Door(token)
        gate.wait(10)
        answers.append(here.post(path, body))
        connection.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer["code"] for answer in answers] == [0] * 4, answers
    assert Credential.objects.count() == 1
    assert TenantLLM.objects.count() == (2 if path == "set_api_key" else 1)
