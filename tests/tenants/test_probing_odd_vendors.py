"""What a test makes of vendors whose answers differ from call to call."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.clock import now
from core.errors import InvalidInput
from jobs.models import Job
from tenants.models import Credential, CredentialState, TenantLLM
from tenants.services import credentials, probing, revalidation
from tests.fakes.upstream import FakeUpstream
from tests.people import People
from tests.tenants.setting import ACTOR, make_factory, plan, save_credential, serve, submit

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")]

GONE = {"error": {"code": "model_not_found", "message": "The model does not exist"}}
BROKE = {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}


def serving(people: People, upstream: FakeUpstream, **types_by_name: str) -> Credential:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, **types_by_name)
    return credential


def every_model(credential: Credential) -> Job:
    return asked(credential, *probing.pairs_of(credential))


def asked(credential: Credential, *pairs: tuple[str, str]) -> Job:
    job = credentials.test(credential, actor=ACTOR, pairs=pairs)
    job.refresh_from_db()
    credential.refresh_from_db()
    return job


def verdicts_of_models() -> dict[str, str]:
    return dict(TenantLLM.objects.values_list("llm_name", "verdict"))


def test_limited_model_list_does_not_hide_that_the_key_works(people: People, upstream: FakeUpstream) -> None:
    upstream.rate_limited("/models")
    job = submit(people.tenant, make_factory(), upstream.url, plan("fake-chat", "chat"))
    assert job.result["ok"] and job.result["saved"]


def test_forbidden_or_empty_model_list_is_no_failure(people: People, upstream: FakeUpstream) -> None:
    upstream.status("/models", 403, {"error": {"message": "Not for this key"}})
    assert submit(people.tenant, make_factory("One"), upstream.url, plan("fake-chat", "chat")).result["ok"]
    upstream.status("/models", 200, {"object": "list", "data": []})
    assert submit(people.tenant, make_factory("Two"), upstream.url, plan("fake-chat", "chat")).result["ok"]


def test_restricted_key_that_may_not_list_models_is_no_wrong_key(people: People, upstream: FakeUpstream) -> None:
    said = "You have insufficient permissions for this operation. Missing scopes: api.model.read."
    upstream.status("/models", 401, {"error": {"message": said, "type": "invalid_request_error", "code": None}})
    assert submit(people.tenant, make_factory(), upstream.url, plan("fake-chat", "chat")).result["ok"]


def test_rate_limit_never_takes_a_key_out_of_use(people: People, upstream: FakeUpstream) -> None:
    credential = serving(people, upstream, fake_chat="chat")
    upstream.rate_limited("/models")
    upstream.rate_limited("/chat/completions")
    for _ in range(4):
        credentials.test(credential, actor=ACTOR)
    credential.refresh_from_db()
    assert (credential.state, credential.verdict, credential.failures) == ("failing", "rate_limited", 4)


def test_rate_limit_of_one_model_leaves_the_others_to_be_tested(people: People, upstream: FakeUpstream) -> None:
    credential = serving(people, upstream, fake_embedding="embedding", fake_chat="chat", fake_tts="tts")
    upstream.rate_limited("/chat/completions")
    job = every_model(credential)
    assert verdicts_of_models() == {"fake-embedding": "ok", "fake-chat": "rate_limited", "fake-tts": "ok"}
    assert not job.result["ok"]
    assert (credential.state, credential.verdict, credential.failures) == (CredentialState.OK, "ok", 0)
    assert "limit" in credential.reason


def test_vendor_that_limits_everything_is_not_asked_for_long(people: People, upstream: FakeUpstream) -> None:
    credential = serving(people, upstream, **{f"chat_{number}": "chat" for number in range(12)})
    upstream.rate_limited("/chat/completions")
    job = every_model(credential)
    assert upstream.calls["/chat/completions"] == probing.PATIENCE
    assert job.result["verdict"] == "rate_limited"


@pytest.mark.parametrize(
    ("status", "data", "verdict"),
    [(404, None, "wrong_url"), (402, BROKE, "no_quota"), (401, None, "bad_key"), (403, None, "no_permission")],
)
def test_refusal_of_one_model_does_not_condemn_a_key_that_others_accept(
    people: People, upstream: FakeUpstream, status: int, data: object, verdict: str
) -> None:
    credential = serving(people, upstream, fake_chat="chat", fake_tts="tts")
    upstream.status("/audio/speech", status, data)
    job = every_model(credential)
    assert job.result["verdict"] == verdict
    assert verdicts_of_models() == {"fake-chat": "ok", "fake-tts": verdict}
    assert credential.state == CredentialState.OK


def test_slow_model_does_not_keep_the_others_from_being_tested(
    people: People, upstream: FakeUpstream, settings: pytest.FixtureRequest
) -> None:
    settings.PROBE_TIMEOUT_S = 0.5
    credential = serving(people, upstream, fake_embedding="embedding", fake_chat="chat")
    upstream.hang("/embeddings")
    every_model(credential)
    assert verdicts_of_models() == {"fake-embedding": "timed_out", "fake-chat": "ok"}
    assert credential.state == CredentialState.OK


def test_asking_for_one_missing_model_again_and_again_does_not_quarantine_the_rest(
    people: People, upstream: FakeUpstream
) -> None:
    credential = serving(people, upstream, fake_chat="chat", fake_tts="tts")
    credentials.test(credential, actor=ACTOR)
    upstream.status("/audio/speech", 404, GONE)
    for _ in range(3):
        asked(credential, ("fake-tts", "tts"))
    assert (credential.state, credential.failures) == (CredentialState.OK, 0)
    assert verdicts_of_models()["fake-tts"] == "no_such_model"
    assert credential.next_check_at is not None and credential.next_check_at > now() + timedelta(hours=23)


def test_pair_that_the_credential_does_not_serve_is_refused(people: People, upstream: FakeUpstream) -> None:
    credential = serving(people, upstream, fake_chat="chat")
    for pair in (("fake-tts", "tts"), ("fake-chat", "tts")):
        with pytest.raises(InvalidInput, match="not used"):
            asked(credential, ("fake-chat", "chat"), pair)
    assert upstream.total_calls == 0


def test_free_call_does_not_fill_an_empty_account(
    people: People, upstream: FakeUpstream, settings: pytest.FixtureRequest
) -> None:
    credential = serving(people, upstream, fake_chat="chat")
    upstream.status("/chat/completions", 402, BROKE)
    credentials.test(credential, actor=ACTOR)
    settings.PROBE_DAILY_BUDGET = 0
    Credential.objects.update(next_check_at=now() - timedelta(seconds=1))
    assert revalidation.enqueue_due() == 1
    credential.refresh_from_db()
    assert (credential.state, credential.verdict) == (CredentialState.QUARANTINED, "no_quota")


def test_keys_of_disabled_tenants_and_factories_are_left_alone(people: People, upstream: FakeUpstream) -> None:
    credential = serving(people, upstream, fake_chat="chat")
    Credential.objects.update(next_check_at=now() - timedelta(seconds=1))
    for row in (credential.tenant, credential.factory):
        row.status = "0"
        row.save()
        assert revalidation.enqueue_due() == 0
        row.status = "1"
        row.save()
    assert revalidation.enqueue_due() == 1


def test_slow_vendor_gets_the_time_that_its_quirks_ask_for(people: People, upstream: FakeUpstream) -> None:
    factory = make_factory(quirks={"version_path": "/v1", "probe": {"timeout_s": 120}})
    job = submit(people.tenant, factory, upstream.url, plan("fake-vision", "chat", "image2text"))
    assert job.timeout_s >= 3 * 120
