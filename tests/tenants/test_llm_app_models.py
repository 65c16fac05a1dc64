"""One model at a time: added, edited, switched, deleted; and which credential it goes through."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.models import AuditEvent, Credential, Probe, TenantLLM
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import People
from tests.tenants.llm_app_door import CLASSIC, RETCODE, WRONG_KEY, Door, door, server, vendor

pytestmark = pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")


@pytest.fixture
def owner(people: People) -> Door:
    server()
    return door(people)


def model(upstream: FakeUpstream | None, name: str = "fake-chat", **more: Any) -> dict[str, Any]:
    base = {"api_base": upstream.url} if upstream else {}
    kind = {"fake-embedding": "embedding", "fake-rerank": "rerank"}.get(name, "chat")
    return {"llm_factory": "Server", "llm_name": name, "model_type": kind, "api_key": KEY, **base, **more}


def rows() -> list[tuple[str, str, str]]:
    found = TenantLLM.objects.saved().select_related("credential").order_by("id")
    return [(row.llm_name, row.credential.label, row.credential.base_url) for row in found]


@pytest.mark.parametrize("mount", [CLASSIC, RETCODE])
def test_model_is_tested_under_its_own_name_and_stored_with_the_suffix(
    owner: Door, upstream: FakeUpstream, mount: str
) -> None:
    assert owner.through(mount).post("add_llm", model(upstream))["data"] is True
    assert rows() == [("fake-chat___VLLM", "default", upstream.url)]
    sent = [request.json["model"] for request in upstream.requests if request.body]
    assert sent == ["fake-chat"]
    row = TenantLLM.objects.get()
    assert (row.max_tokens, row.is_tools, row.verdict) == (8192, None, "ok")


def test_keyless_server_gets_no_key_and_no_placeholder(owner: Door) -> None:
    with FakeUpstream(key=None) as upstream:
        for absent in ({"api_key": "x"}, {"api_key": ""}, {"api_key": None}):
            assert owner.post("add_llm", {**model(upstream), **absent})["data"] is True
        assert not any("authorization" in request.headers for request in upstream.requests)
    assert Credential.objects.get().secret is None


def test_failing_model_has_the_literal_message_and_is_not_saved(owner: Door, upstream: FakeUpstream) -> None:
    answer = owner.post("add_llm", model(upstream, "gone"))
    assert answer["message"].startswith("\nFail to access model(Server/gone). ")
    wrong = owner.through(RETCODE).post("add_llm", model(upstream, api_key=WRONG_KEY))
    assert wrong["retmsg"].startswith("Fail to access model(fake-chat) using this api key. ")
    embedding = owner.post("add_llm", model(upstream, "gone", model_type="embedding"))
    assert embedding["message"].startswith("\nFail to access embedding model(gone). ")
    assert not Credential.objects.exists()
    assert WRONG_KEY not in str(list(Probe.objects.values()))


def test_editing_without_a_key_keeps_the_saved_one(owner: Door, upstream: FakeUpstream) -> None:
    owner.post("add_llm", model(upstream))
    edit = model(upstream, max_tokens=4096, is_tools=True)
    for absent in ("absent", ""):
        edit.pop("api_key", None)
        if absent == "":
            edit["api_key"] = ""
        assert owner.post("add_llm", edit)["data"] is True
    row = TenantLLM.objects.get()
    assert (row.max_tokens, row.is_tools, row.credential.secret_last4) == (4096, True, KEY[-4:])
    del edit["api_base"]
    assert owner.post("add_llm", edit)["data"] is True
    assert rows() == [("fake-chat___VLLM", "default", upstream.url)]


def test_saved_key_is_never_sent_to_another_host(owner: Door, upstream: FakeUpstream) -> None:
    owner.post("add_llm", model(upstream))
    with FakeUpstream() as other:
        for names in (["fake-chat"], ["fake-chat", "fake-embedding"]):
            for name in names:
                owner.post("add_llm", model(upstream, name))
            moved = model(other)
            del moved["api_key"]
            answer = owner.post("add_llm", moved)
            assert answer["code"] == 102 and "not sent to another server" in answer["message"]
        assert other.total_calls == 0
        assert owner.post("add_llm", model(other))["data"] is True


def test_models_of_one_server_share_its_credential(owner: Door, upstream: FakeUpstream) -> None:
    owner.post("add_llm", model(upstream))
    again = model(upstream, "fake-embedding")
    del again["api_key"]
    assert owner.post("add_llm", again)["data"] is True
    assert owner.post("add_llm", model(upstream, "fake-rerank", api_base=upstream.url + "/"))["data"] is True
    assert Credential.objects.count() == 1


def test_another_server_gets_a_credential_named_after_it(owner: Door, upstream: FakeUpstream) -> None:
    owner.post("add_llm", model(upstream))
    with FakeUpstream() as other:
        assert owner.post("add_llm", model(other, "fake-embedding"))["data"] is True
        assert rows()[1] == ("fake-embedding___VLLM", f"127.0.0.1:{other.port}", other.url)


def test_same_model_moves_with_its_counter_when_it_is_given_another_server(owner: Door, upstream: FakeUpstream) -> None:
    for name in ("fake-chat", "fake-embedding"):
        owner.post("add_llm", model(upstream, name))
    TenantLLM.objects.filter(llm_name="fake-chat___VLLM").update(used_tokens=5, status="0")
    with FakeUpstream() as other:
        assert owner.post("add_llm", model(other))["data"] is True
        row = TenantLLM.objects.get(llm_name="fake-chat___VLLM")
        assert (row.used_tokens, row.status, row.credential.base_url) == (5, "0", other.url)
        assert TenantLLM.objects.get(llm_name="fake-embedding___VLLM").credential.base_url == upstream.url
        assert owner.post("add_llm", model(upstream))["data"] is True
    assert Credential.objects.count() == 1
    assert TenantLLM.objects.get(llm_name="fake-chat___VLLM").used_tokens == 5


def test_model_alone_on_its_credential_takes_it_along(owner: Door, upstream: FakeUpstream) -> None:
    owner.post("add_llm", model(upstream))
    before = Credential.objects.get().pk
    with FakeUpstream(key="sk-second-0123456789") as other:
        assert owner.post("add_llm", model(other, api_key="sk-second-0123456789"))["data"] is True
        credential = Credential.objects.get()
        assert (credential.pk, credential.base_url, credential.secret_last4) == (before, other.url, "6789")


def test_two_servers_with_the_same_model_name_both_work_as_instances(owner: Door, upstream: FakeUpstream) -> None:
    with FakeUpstream() as other:
        assert owner.post("add_llm", model(upstream, instance="east"))["data"] is True
        assert owner.post("add_llm", model(other, instance="west"))["data"] is True
        stored = "fake-chat___VLLM"
        assert rows() == [(stored, "east", upstream.url), (stored, "west", other.url)]
        edit = model(other, max_tokens=99)
        del edit["api_key"]
        assert owner.post("add_llm", edit)["data"] is True
        assert [row.max_tokens for row in TenantLLM.objects.order_by("id")] == [8192, 99]
    items = owner.get("my_llms?include_details=true")["data"]["Server"]["llm"]
    assert [item["instance"] for item in items] == ["east", "west"]
    owner.post("enable_llm", {"llm_factory": "Server", "llm_name": stored, "status": 0, "instance": "west"})
    assert [row.status for row in TenantLLM.objects.order_by("id")] == ["1", "0"]
    owner.post("delete_llm", {"llm_factory": "Server", "llm_name": stored, "instance": "east"})
    assert rows() == [(stored, "west", other.url)]


def test_several_types_are_tested_and_listed_one_by_one(owner: Door, upstream: FakeUpstream) -> None:
    wanted = model(upstream, "fake-vision", model_type=["chat", "image2text"])
    assert owner.post("add_llm", wanted)["data"] is True
    assert upstream.calls["/chat/completions"] == 2
    assert [item["type"] for item in owner.get("my_llms")["data"]["Server"]["llm"]] == ["chat", "image2text"]


def test_verify_and_untested_saving_work_for_one_model(owner: Door, upstream: FakeUpstream) -> None:
    assert owner.post("add_llm", model(upstream, verify=True))["data"] == {"message": "", "success": True}
    failed = owner.post("add_llm", model(upstream, "gone", verify=True))["data"]
    assert failed["success"] is False and "gone" in failed["message"]
    assert not Credential.objects.exists()
    calls = upstream.total_calls
    for name in ("a", "b", "a"):
        assert owner.post("add_llm", model(upstream, name, test=False))["data"] is True
    assert upstream.total_calls == calls
    assert [row[0] for row in rows()] == ["a___VLLM", "b___VLLM"]
    assert Credential.objects.count() == 1


@pytest.mark.parametrize(("given", "kept"), [(0, 8192), (None, 8192), ("", None), ("4096", 4096), (4096.0, 4096)])
def test_max_tokens_is_a_whole_number_or_the_default(
    owner: Door, upstream: FakeUpstream, given: Any, kept: int | None
) -> None:
    answer = owner.post("add_llm", model(upstream, max_tokens=given, test=False))
    if kept is None:
        assert answer["code"] == 102
    else:
        assert TenantLLM.objects.get().max_tokens == kept


def test_stored_name_is_not_suffixed_twice(owner: Door, upstream: FakeUpstream) -> None:
    owner.post("add_llm", model(upstream))
    assert owner.post("add_llm", model(upstream, "fake-chat___VLLM"))["data"] is True
    assert len(rows()) == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("rerank", "RE-rank model from Odd is not supported yet."),
        ("image2text", "Image to text model from Odd is not supported yet."),
        ("tts", "TTS model from Odd is not supported yet."),
        ("ocr", "OCR model from Odd is not supported yet."),
        ("speech2text", "Speech model from Odd is not supported yet."),
    ],
)
def test_type_without_a_wire_format_is_named(people: People, kind: str, message: str) -> None:
    vendor("Odd", dialect="no-such-dialect", base_url="https://odd.example")
    body = {"llm_factory": "Odd", "llm_name": "m", "model_type": kind, "api_key": "k"}
    here = door(people)
    assert here.post("add_llm", body) == {"code": 102, "message": message}
    assert here.post("add_llm", {**body, "verify": True})["data"] == {"message": message, "success": False}


def test_field_with_a_default_need_not_be_given(people: People, upstream: FakeUpstream) -> None:
    region = {"name": "region", "label": "Region", "secret": False, "required": True, "default": "eu-1"}
    secret = {"name": "ak", "label": "Key", "secret": True, "required": True}
    vendor("Cloud", base_url=upstream.url, credential_fields=[secret, region])
    body = {"llm_factory": "Cloud", "llm_name": "fake-chat", "model_type": "chat", "ak": KEY}
    assert door(people).post("add_llm", body)["data"] is True
    assert Credential.objects.get().fields == {"region": "eu-1"}


def test_fields_that_differ_keep_credentials_apart(people: People, upstream: FakeUpstream) -> None:
    fields = [
        {"name": "ark_api_key", "label": "Key", "secret": True, "required": True},
        {"name": "endpoint_id", "label": "Endpoint", "secret": False, "required": True},
    ]
    quirks = {"version_path": "/v1", "model_field": "endpoint_id"}
    vendor("Ark", base_url=upstream.url, credential_fields=fields, quirks=quirks)
    here = door(people)
    for name, endpoint in (("one", "fake-chat"), ("two", "fake-vision")):
        body = {"llm_factory": "Ark", "llm_name": name, "model_type": "chat", "ark_api_key": KEY}
        assert here.post("add_llm", {**body, "endpoint_id": endpoint})["data"] is True
    assert [request.json["model"] for request in upstream.requests if request.body] == ["fake-chat", "fake-vision"]
    assert Credential.objects.count() == 2
    missing = here.post("add_llm", {"llm_factory": "Ark", "llm_name": "3", "model_type": "chat", "ark_api_key": KEY})
    assert missing == {"code": 102, "message": "Ark needs more than this. endpoint_id: This field is required."}


def test_deleting_takes_the_credential_of_the_last_model(owner: Door, upstream: FakeUpstream) -> None:
    for name in ("fake-chat", "fake-embedding"):
        owner.post("add_llm", model(upstream, name))
    assert owner.post("delete_llm", {"llm_factory": "Server", "llm_name": "fake-chat___VLLM"})["data"] is True
    assert Credential.objects.count() == 1
    assert owner.post("delete_llm", {"llm_factory": "Server", "llm_name": "fake-embedding"})["data"] is True
    assert not Credential.objects.exists()
    actions = list(AuditEvent.objects.values_list("action", flat=True))
    assert "credential.deleted" in actions and "model.deleted" in actions


@pytest.mark.parametrize("path", ["delete_llm", "enable_llm", "delete_factory"])
def test_nothing_to_change_is_true_as_well(owner: Door, path: str) -> None:
    for factory in ("Server", "No such"):
        assert owner.post(path, {"llm_factory": factory, "llm_name": "none"}) == {
            "code": 0,
            "data": True,
            "message": "success",
        }


@pytest.mark.parametrize("status", [0, "0", 1, "1"])
def test_status_is_a_number_or_a_text(owner: Door, upstream: FakeUpstream, status: Any) -> None:
    owner.post("add_llm", model(upstream, test=False))
    wanted = {"llm_factory": "Server", "llm_name": "fake-chat___VLLM", "status": status}
    assert owner.post("enable_llm", wanted)["data"] is True
    assert TenantLLM.objects.get().status == str(status)
    del wanted["status"]
    owner.post("enable_llm", wanted)
    assert TenantLLM.objects.get().status == "1"


def test_deleting_a_factory_removes_its_keys_and_models(owner: Door, upstream: FakeUpstream) -> None:
    server("Other")
    owner.post("add_llm", model(upstream))
    owner.post("add_llm", {**model(upstream), "llm_factory": "Other"})
    assert owner.post("delete_factory", {"llm_factory": "Server"})["data"] is True
    assert [credential.factory.name for credential in Credential.objects.all()] == ["Other"]
    assert TenantLLM.objects.count() == 1
