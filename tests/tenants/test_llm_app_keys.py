"""A key for a whole factory: tested, then saved for every model of its catalogue."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from jobs.models import Job
from providers.models import LLM
from tenants.models import Credential, CredentialState, Probe, TenantLLM
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import People
from tests.tenants.llm_app_door import CLASSIC, RETCODE, WRONG_KEY, Door, door, vendor

CATALOGUE = {"fake-chat": "chat", "fake-embedding": "embedding", "fake-tts": "tts", "fake-vision": "chat,image2text"}
at_once = pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")


@pytest.fixture
def owner(people: People, upstream: FakeUpstream) -> Door:
    vendor(models=CATALOGUE, base_url=upstream.url)
    return door(people)


def key(api_key: Any = KEY, **more: Any) -> dict[str, Any]:
    return {"llm_factory": "Fake", "api_key": api_key, **more}


def saved() -> list[tuple[str, str, str]]:
    rows = TenantLLM.objects.saved().select_related("credential").order_by("llm_name", "id")
    return [(row.llm_name, row.credential.label, row.status) for row in rows]


@at_once
@pytest.mark.parametrize("mount", [CLASSIC, RETCODE])
def test_working_key_is_saved_for_the_whole_catalogue(owner: Door, upstream: FakeUpstream, mount: str) -> None:
    LLM.objects.create(
        factory_id=LLM.objects.values_list("factory", flat=True)[0], llm_name="off", model_types=["chat"], status="0"
    )
    assert owner.through(mount).post("set_api_key", key())["data"] is True
    assert saved() == [(name, "default", "1") for name in sorted(CATALOGUE)]
    credential = Credential.objects.get()
    assert (credential.state, credential.secret_last4, credential.base_url) == (CredentialState.OK, KEY[-4:], "")
    assert upstream.total_calls == 2


@at_once
def test_wrong_key_costs_one_call_and_changes_nothing(owner: Door, upstream: FakeUpstream) -> None:
    answer = owner.post("set_api_key", key(WRONG_KEY))
    assert (owner.last.status_code, answer["code"], "data" in answer) == (200, 102, False)
    assert answer["message"].startswith("\nFail to access ")
    assert " using this api key. " in answer["message"]
    assert upstream.total_calls == 1
    assert WRONG_KEY not in owner.last.content.decode()
    assert not Credential.objects.exists()
    assert Probe.objects.get().verdict == "bad_key"


@at_once
def test_wrong_key_reads_as_the_seeds_have_it(people: People, upstream: FakeUpstream) -> None:
    vendor(models={"fake-chat": "chat"}, base_url=upstream.url)
    answer = door(people).through(RETCODE).post("set_api_key", key(WRONG_KEY))
    assert (answer["retcode"], answer["data"]) == (1, None)
    assert answer["retmsg"].startswith("Fail to access model(fake-chat) using this api key.")


@at_once
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("chat", "\nFail to access model(Fake/gone) using this api key."),
        ("rerank", "\nFail to access model(Fake/gone) using this api key."),
        ("embedding", "\nFail to access embedding model(gone) using this api key."),
    ],
)
def test_each_type_has_its_literal_message(people: People, upstream: FakeUpstream, kind: str, text: str) -> None:
    upstream.status("/models", 404, {})
    vendor(models={"gone": kind}, base_url=upstream.url)
    assert door(people).post("set_api_key", key())["message"].startswith(text)


@at_once
def test_new_key_keeps_counters_and_switches(owner: Door, people: People) -> None:
    owner.post("set_api_key", key())
    TenantLLM.objects.filter(llm_name="fake-chat").update(used_tokens=77, status="0")
    credential = Credential.objects.get().pk
    LLM.objects.create(
        factory_id=LLM.objects.values_list("factory", flat=True)[0], llm_name="fake-rerank", model_types=["rerank"]
    )
    assert owner.post("set_api_key", key())["data"] is True
    row = TenantLLM.objects.get(llm_name="fake-chat")
    assert (row.used_tokens, row.status, row.credential_id) == (77, "0", credential)
    assert len(saved()) == 5


@at_once
def test_wrong_new_key_keeps_the_saved_one(owner: Door) -> None:
    owner.post("set_api_key", key())
    before = Credential.objects.values().get()
    assert owner.post("set_api_key", key(WRONG_KEY))["code"] == 102
    assert Credential.objects.values().get() == before


@at_once
def test_blank_key_keeps_the_saved_one(owner: Door) -> None:
    assert "api_key: This field is required." in owner.post("set_api_key", key(""))["message"]
    owner.post("set_api_key", key())
    assert owner.post("set_api_key", key(""))["data"] is True
    assert Credential.objects.get().secret_last4 == KEY[-4:]


@at_once
def test_saved_key_does_not_follow_to_another_host(owner: Door, upstream: FakeUpstream) -> None:
    owner.post("set_api_key", key())
    calls = upstream.total_calls
    answer = owner.post("set_api_key", key("", base_url="http://localhost:1/v1"))
    assert answer["code"] == 102 and "not sent to another server" in answer["message"]
    assert upstream.total_calls == calls


@at_once
def test_base_url_of_the_request_is_where_it_is_tested(owner: Door) -> None:
    with FakeUpstream(key="sk-other-0123456789") as other:
        assert owner.post("set_api_key", key("sk-other-0123456789", base_url=other.url))["data"] is True
        assert Credential.objects.get().base_url == other.url
        assert other.total_calls


@at_once
def test_verify_tells_and_saves_nothing(owner: Door) -> None:
    assert owner.post("set_api_key", key(verify=True)) == {
        "code": 0,
        "data": {"message": "", "success": True},
        "message": "success",
    }
    answer = owner.post("set_api_key", key(WRONG_KEY, verify=True))
    assert (answer["code"], answer["data"]["success"]) == (0, False)
    assert answer["data"]["message"].startswith("\nFail to access ")
    assert not Credential.objects.exists()


def test_without_a_test_it_is_saved_at_once_and_shows_as_untested(owner: Door, upstream: FakeUpstream) -> None:
    assert owner.post("set_api_key", key("any", test=False))["data"] is True
    assert upstream.total_calls == 0
    groups = owner.get("my_llms?include_details=true")["data"]
    assert {item["verdict"] for item in groups["Fake"]["llm"]} == {"untested"}
    assert Credential.objects.get().state == CredentialState.UNTESTED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("mount", "code"), [(CLASSIC, "code"), (RETCODE, "retcode")])
def test_test_that_takes_too_long_goes_on_under_code_106(owner: Door, settings: Any, mount: str, code: str) -> None:
    settings.PROBE_WAIT = 0.1
    here = owner.through(mount)
    answer = here.post("set_api_key", key())
    job = Job.objects.get()
    assert (here.last.status_code, answer[code], answer["data"]["job_id"]) == (200, 106, job.pk)
    assert answer["data"]["url"] == f"/api/jobs/{job.pk}/"
    polled = Client().get(answer["data"]["url"], headers={"Authorization": f"Bearer {here.token}"})
    assert polled.json()["state"] == "pending"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("prefer", ["respond-async", "wait=5, respond-async", "Respond-Async; wait=5"])
def test_client_that_prefers_to_poll_gets_202_at_once(owner: Door, prefer: str) -> None:
    answer = owner.post("set_api_key", key(), Prefer=prefer)
    job = Job.objects.get()
    assert owner.last.status_code == 202
    assert answer["data"] == {"job_id": job.pk, "state": "pending", "url": f"/api/jobs/{job.pk}/"}
    assert owner.last["Preference-Applied"] == "respond-async"


@at_once
def test_hidden_sibling_lends_its_models_and_its_address(people: People, upstream: FakeUpstream) -> None:
    vendor("SILICONFLOW", {"fake-chat": "chat"}, base_url="https://api.siliconflow.example/v1")
    vendor("siliconflow_intl", {"fake-chat": "chat", "fake-tts": "tts"}, base_url=upstream.url, hidden=True)
    wanted = {"llm_factory": "SILICONFLOW", "api_key": KEY, "source_fid": "siliconflow_intl"}
    assert door(people).post("set_api_key", wanted)["data"] is True
    credential = Credential.objects.select_related("factory").get()
    assert (credential.factory.name, credential.base_url) == ("SILICONFLOW", upstream.url)
    rows = {row.llm_name: row.llm for row in TenantLLM.objects.select_related("llm__factory")}
    assert rows["fake-tts"] is None
    assert rows["fake-chat"].factory.name == "SILICONFLOW"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"llm_factory": "Empty", "api_key": "k"}, "No models configured for Empty (source: Empty)."),
        (
            {"llm_factory": "Empty", "api_key": "k", "source_fid": "Nope"},
            "No models configured for Empty (source: Nope).",
        ),
        ({"llm_factory": "Hidden", "api_key": "k"}, "LLM factory Hidden is not allowed"),
        ({"llm_factory": "Off", "api_key": "k"}, "LLM factory Off is not allowed"),
    ],
)
def test_factory_that_cannot_be_keyed_is_named(people: People, body: dict[str, Any], message: str) -> None:
    vendor("Empty", base_url="https://e.example")
    vendor("Hidden", {"m": "chat"}, hidden=True)
    vendor("Off", {"m": "chat"}, status="0")
    here = door(people)
    assert here.post("set_api_key", body) == {"code": 102, "message": message}
    assert here.post("set_api_key", {**body, "verify": True})["data"] == {"message": message, "success": False}


def test_only_allowed_factories_can_be_keyed(owner: Door, settings: Any) -> None:
    settings.ALLOWED_FACTORIES = ["Other"]
    assert owner.post("set_api_key", key())["message"] == "LLM factory Fake is not allowed"
    assert owner.get("factories")["data"] == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("chat", "Chat model from Odd is not supported yet."),
        ("embedding", "Embedding model from Odd is not supported yet."),
        ("rerank", "Re-rank model from Odd is not supported yet."),
    ],
)
def test_wire_format_that_is_not_installed_is_named(people: People, kind: str, message: str) -> None:
    vendor("Odd", {"m": kind}, dialect="no-such-dialect", base_url="https://odd.example")
    here = door(people)
    assert here.post("set_api_key", {"llm_factory": "Odd", "api_key": "k"})["message"] == message
    assert here.through(RETCODE).post("set_api_key", {"llm_factory": "Odd", "api_key": "k"})["retmsg"] == message


@at_once
def test_fields_of_their_own_will_do_for_a_key(people: People, upstream: FakeUpstream) -> None:
    fields = [
        {"name": "fish_ak", "label": "Key", "secret": True, "required": True},
        {"name": "fish_ref", "label": "Voice", "secret": False, "required": False},
    ]
    vendor("Fish", {"fake-tts": "tts"}, base_url=upstream.url, credential_fields=fields)
    here = door(people)
    assert here.post("set_api_key", {"llm_factory": "Fish", "fish_ak": KEY, "fish_ref": "v"})["data"] is True
    assert Credential.objects.get().fields == {"fish_ref": "v"}
    assert here.post("add_llm", {"llm_factory": "Fish", "fish_ak": KEY, "fish_ref": "w"})["data"] is True
    assert Credential.objects.get().fields == {"fish_ref": "w"}
    message = here.post("set_api_key", {"llm_factory": "Fish"})["message"]
    assert message == "required argument are missing: api_key; "


@at_once
@pytest.mark.parametrize(
    ("misbehave", "verdict"),
    [
        (lambda fake: fake.html("/models"), None),
        (lambda fake: fake.status("/models", 403, {"error": {"message": "no"}}), None),
        (lambda fake: fake.hang_up("/models"), "unreachable"),
    ],
)
def test_upstream_trouble_is_never_a_401_or_a_crash(
    owner: Door, upstream: FakeUpstream, misbehave: Any, verdict: str | None
) -> None:
    misbehave(upstream)
    for path in ("/chat/completions", "/embeddings", "/audio/speech"):
        upstream.status(path, 401, {"error": {"message": "Unauthorized"}})
    answer = owner.post("set_api_key", key())
    assert (owner.last.status_code, answer["code"]) == (200, 102)
    assert verdict is None or Probe.objects.order_by("-id").values_list("verdict", flat=True)[0] == verdict
