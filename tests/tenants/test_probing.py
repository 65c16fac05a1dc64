"""What is called, in which order, and what the answers mean."""

from __future__ import annotations

import socket

import pytest

from jobs.models import Job, JobState
from jobs.services import queue, runner
from providers.errors import Verdict
from tenants.models import Credential, CredentialState, Probe, TenantLLM
from tenants.services import credentials, probing
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import People
from tests.tenants.setting import ACTOR, WRONG_KEY, make_factory, offer, plan, save_credential, serve, submit

pytestmark = pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")


def test_usual_plan_lists_models_and_calls_the_cheapest_once(people: People, upstream: FakeUpstream) -> None:
    models = [plan("fake-chat", "chat"), plan("fake-embedding", "embedding"), plan("fake-rerank", "rerank")]
    job = submit(people.tenant, make_factory(), upstream.url, *models)
    assert job.result["ok"] and job.result["saved"]
    assert dict(upstream.calls) == {"/models": 1, "/embeddings": 1}
    assert TenantLLM.objects.filter(tenant=people.tenant).count() == 3


def test_wrong_key_costs_one_call_and_says_bad_key(people: People, upstream: FakeUpstream) -> None:
    models = [plan(f"model-{number}", "chat") for number in range(20)]
    job = submit(people.tenant, make_factory(), upstream.url, *models, values={"api_key": WRONG_KEY})
    assert upstream.total_calls == 1
    assert job.state == JobState.COMPLETED
    assert (job.result["ok"], job.result["saved"], job.result["verdict"]) == (False, False, "bad_key")
    assert job.result["failures"][0]["llm_name"] == "model-0"
    assert not Credential.objects.filter(tenant=people.tenant).exists()
    probe = Probe.objects.get(tenant=people.tenant)
    assert (probe.verdict, probe.http_status, probe.billed, probe.credential) == (Verdict.BAD_KEY, 401, False, None)
    assert probe.hint
    assert WRONG_KEY not in str(job.result) + probe.message + probe.hint


def test_every_type_of_a_single_model_is_called_once(people: People, upstream: FakeUpstream) -> None:
    job = submit(people.tenant, make_factory(), upstream.url, plan("fake-vision", "chat", "image2text"))
    assert job.result["ok"]
    assert upstream.calls["/chat/completions"] == 2
    assert {(probe["llm_name"], probe["model_type"]) for probe in job.result["probes"]} == {
        ("", ""), ("fake-vision", "chat"), ("fake-vision", "image2text"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("chat", "/chat/completions"),
        ("embedding", "/embeddings"),
        ("rerank", "/rerank"),
        ("image2text", "/chat/completions"),
        ("tts", "/audio/speech"),
        ("speech2text", "/audio/transcriptions"),
    ],
)
def test_each_model_type_has_its_own_call(people: People, upstream: FakeUpstream, kind: str, path: str) -> None:
    names = {"embedding": "fake-embedding", "rerank": "fake-rerank", "tts": "fake-tts", "speech2text": "fake-asr"}
    job = submit(people.tenant, make_factory(), upstream.url, plan(names.get(kind, "fake-vision"), kind))
    assert job.result["ok"], job.result
    assert upstream.calls[path] == 1


def test_model_that_is_not_to_be_had_does_not_condemn_the_key(people: People, upstream: FakeUpstream) -> None:
    gone = {
        "error": {"message": "The model does not exist", "type": "invalid_request_error", "code": "model_not_found"}
    }
    upstream.status("/chat/completions", 404, gone)
    job = submit(people.tenant, make_factory(), upstream.url, *(plan(f"old-{n}", "chat") for n in range(5)))
    assert job.result["ok"] and job.result["saved"]
    assert upstream.calls["/chat/completions"] == probing.MODELS_PER_TYPE
    verdicts = TenantLLM.objects.filter(tenant=people.tenant).values_list("verdict", flat=True)
    assert sorted(verdicts) == ["no_such_model"] * 2 + ["untested"] * 3


def test_open_model_list_does_not_prove_a_key(people: People, upstream: FakeUpstream) -> None:
    factory = make_factory(quirks={"version_path": "/v1", "public_model_list": True})
    upstream.status("/models", 200, {"object": "list", "data": [{"id": "fake-chat", "object": "model"}]})
    models = [plan("fake-chat", "chat"), plan("fake-embedding", "embedding")]
    job = submit(people.tenant, factory, upstream.url, *models, values={"api_key": WRONG_KEY})
    assert job.result["verdict"] == "bad_key"
    assert upstream.total_calls == 2


def test_vendor_without_a_model_list_is_called_directly(people: People, upstream: FakeUpstream) -> None:
    factory = make_factory(quirks={"version_path": "/v1", "no_model_list": True})
    job = submit(people.tenant, factory, upstream.url, plan("fake-embedding", "embedding"))
    assert job.result["ok"]
    assert dict(upstream.calls) == {"/embeddings": 1}


def test_missing_model_list_is_no_failure(people: People, upstream: FakeUpstream) -> None:
    upstream.status("/models", 404, {"detail": "Not Found"})
    assert submit(people.tenant, make_factory(), upstream.url, plan("fake-chat", "chat")).result["ok"]


def unused_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def verdict_of(people: People, base_url: str) -> tuple[str, str]:
    job = submit(people.tenant, make_factory(), base_url, plan("fake-chat", "chat"))
    assert not job.result["ok"]
    assert job.result["failures"][0]["message"]
    last = Probe.objects.filter(tenant=people.tenant).order_by("id").last()
    assert last is not None and last.hint
    return job.result["verdict"], last.step


def test_stopped_server_is_unreachable(people: People) -> None:
    assert verdict_of(people, f"http://127.0.0.1:{unused_port()}/v1") == ("unreachable", "connect")


def test_unknown_host_is_unreachable(people: People) -> None:
    assert verdict_of(people, "http://no-such-host.invalid/v1") == ("unreachable", "dns")


def test_hanging_server_times_out(people: People, upstream: FakeUpstream, settings: pytest.FixtureRequest) -> None:
    settings.PROBE_TIMEOUT_S = 0.5
    upstream.hang("/models")
    assert verdict_of(people, upstream.url) == ("timed_out", "headers")
    assert upstream.total_calls == 1


def test_web_page_is_a_bad_reply(people: People, upstream: FakeUpstream) -> None:
    upstream.html("/models")
    upstream.html("/chat/completions")
    assert verdict_of(people, upstream.url)[0] == "bad_reply"


def test_path_that_is_not_there_is_a_wrong_url(people: People, upstream: FakeUpstream) -> None:
    upstream.html("/models", status=404)
    upstream.html("/chat/completions", status=404)
    assert verdict_of(people, upstream.url)[0] == "wrong_url"


def test_private_address_is_blocked_unless_staff_approved_it(
    people: People, upstream: FakeUpstream, settings: pytest.FixtureRequest
) -> None:
    settings.ALLOWED_NETWORKS = []
    assert verdict_of(people, upstream.url)[0] == "blocked_address"
    assert upstream.connections == 0
    factory = make_factory("Approved", allowed_networks=["127.0.0.0/8"])
    assert submit(people.tenant, factory, upstream.url, plan("fake-chat", "chat")).result["ok"]


def test_empty_account_is_no_quota(people: People, upstream: FakeUpstream) -> None:
    broke = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    upstream.status("/chat/completions", 429, broke)
    assert verdict_of(people, upstream.url)[0] == "no_quota"


def test_rate_limit_is_its_own_verdict(people: People, upstream: FakeUpstream) -> None:
    upstream.rate_limited("/chat/completions")
    assert verdict_of(people, upstream.url)[0] == "rate_limited"


def test_forbidden_model_is_no_permission(people: People, upstream: FakeUpstream) -> None:
    upstream.status("/chat/completions", 403, {"error": {"message": "No access", "code": "permission_denied"}})
    assert verdict_of(people, upstream.url)[0] == "no_permission"


def test_dialect_that_is_not_installed_is_unsupported_without_a_call(people: People, upstream: FakeUpstream) -> None:
    job = submit(people.tenant, make_factory(dialect="martian"), upstream.url, plan("fake-chat", "chat"))
    assert job.result["verdict"] == "unsupported"
    assert upstream.total_calls == 0


def test_keyless_server_sees_no_authorization_header(people: People) -> None:
    with FakeUpstream(key=None) as open_server:
        factory = make_factory("Runtime", keyless=True)
        job = submit(people.tenant, factory, open_server.url, plan("fake-chat", "chat"), values={})
        assert job.result["ok"], job.result
        assert all("authorization" not in request.headers for request in open_server.requests)
    assert not Probe.objects.filter(billed=True).exists()


def test_saved_credential_is_tested_for_the_asked_pairs_only(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, fake_chat="chat", fake_embedding="embedding", fake_tts="tts")
    job = credentials.test(credential, actor=ACTOR, pairs=[("fake-tts", "tts")])
    job.refresh_from_db()
    assert job.result["ok"]
    assert dict(upstream.calls) == {"/models": 1, "/audio/speech": 1}
    assert TenantLLM.objects.get(llm_name="fake-tts").verdict == "ok"
    assert TenantLLM.objects.get(llm_name="fake-chat").verdict == "untested"


def test_bad_model_among_the_asked_leaves_the_credential_in_use(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, fake_chat="chat", fake_tts="tts")
    upstream.status("/audio/speech", 404, {"error": {"code": "model_not_found", "message": "no"}})
    credentials.test(credential, actor=ACTOR, pairs=[("fake-chat", "chat"), ("fake-tts", "tts")])
    assert TenantLLM.objects.get(llm_name="fake-tts").verdict == "no_such_model"
    assert TenantLLM.objects.get(llm_name="fake-chat").verdict == "ok"
    assert Credential.objects.usable().filter(pk=credential.pk).exists()


def test_job_that_runs_again_makes_no_call_twice(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, fake_chat="chat")
    job = credentials.test(credential, actor=ACTOR)
    before = dict(upstream.calls)
    Job.objects.filter(pk=job.pk).update(state=JobState.PENDING, checkpoint={}, result={}, finished_at=None)
    runner.run(job.pk)
    assert dict(upstream.calls) == before
    job.refresh_from_db()
    assert job.result["ok"]


def test_key_that_cannot_be_decrypted_is_said_and_nothing_is_sent(
    people: People, upstream: FakeUpstream, settings: pytest.FixtureRequest
) -> None:
    from cryptography.fernet import Fernet

    credential = save_credential(people.tenant, make_factory(), upstream)
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    job = credentials.test(credential, actor=ACTOR)
    job.refresh_from_db()
    assert "cannot be decrypted" in job.result["reason"]
    assert upstream.total_calls == 0
    credential.refresh_from_db()
    assert credential.state == CredentialState.QUARANTINED


def test_credential_deleted_meanwhile_ends_the_job_clearly(people: People) -> None:
    job = queue.enqueue("probe", params={"credential_id": "gone", "pairs": None}, actor=ACTOR)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "deleted" in job.error["message"]


def test_catalogue_price_decides_which_model_is_cheapest(people: People, upstream: FakeUpstream) -> None:
    factory = make_factory()
    dear, cheap = offer(factory, a_dear="chat", b_cheap="chat")
    dear.input_price, cheap.input_price = 10, 1
    dear.save()
    cheap.save()
    upstream.models = ["a-dear", "b-cheap"]
    plans = [plan(row.llm_name, "chat", llm_id=row.pk) for row in (dear, cheap)]
    submit(people.tenant, factory, upstream.url, *plans)
    called = [request.json["model"] for request in upstream.requests if request.method == "POST"]
    assert called == ["b-cheap"]


def test_key_reaches_only_the_upstream(people: People, upstream: FakeUpstream) -> None:
    job = submit(people.tenant, make_factory(), upstream.url, plan("fake-chat", "chat"))
    assert KEY not in str(job.params) + str(job.result) + str(list(Probe.objects.values()))
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in upstream.requests)
