"""Listing an upstream's models with the tenant's own key, and what that is against what the tenant has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.errors import InvalidInput
from core.secrets import SecretError
from jobs.models import Job, JobState
from jobs.services import queue, runner
from providers.models import LLM, LLMFactory
from providers.wire import Operation
from tenants.models import AuditEvent, Credential, ModelListing
from tenants.services import credentials, discovery
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import People
from tests.tenants.setting import ACTOR, WRONG_KEY, make_factory, offer, save_credential, serve
from tests.tenants.test_probing_races import meanwhile

pytestmark = pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")


def listed(credential: Credential) -> Job:
    """The finished job."""
    job = discovery.discover(credential, actor=ACTOR)
    job.refresh_from_db()
    return job


def states(credential: Credential) -> dict[str, str]:
    return {row.llm_name: row.state.value for row in discovery.diff(credential).rows}


def types(credential: Credential) -> dict[str, tuple[str, str]]:
    return {row.llm_name: (",".join(row.model_types), row.typed_by) for row in discovery.diff(credential).rows}


def tell(upstream: FakeUpstream, *entries: dict[str, Any], path: str = "/models") -> None:
    """What the upstream lists from now on."""
    upstream.status(path, 200, {"object": "list", "data": list(entries)})


def test_models_are_listed_with_the_tenants_key_and_typed(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    assert discovery.diff(credential).rows == []
    job = listed(credential)
    assert (job.state, job.type, job.tenant_id) == (JobState.COMPLETED, "discover", people.tenant.pk)
    assert job.result == {
        "credential_id": credential.pk, "models": 6, "complete": True,
        "counts": {"new": 6, "present": 0, "differs": 0, "gone": 0},
    }  # fmt: skip
    assert upstream.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert types(credential) == {
        "fake-chat": ("chat", "name"), "fake-vision": ("chat,image2text", "name"),
        "fake-embedding": ("embedding", "name"), "fake-rerank": ("rerank", "name"), "fake-asr": ("speech2text", "name"),
        "fake-tts": ("tts", "name"),
    }  # fmt: skip
    assert AuditEvent.objects.get(action="credential.listed").target == str(credential)


def test_the_difference_is_that_of_now(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, fake_chat="chat", fake_old="chat")
    tell(upstream, {"id": "fake-chat", "type": "chat"}, {"id": "fake-embedding", "type": "embedding"})
    listed(credential)
    assert states(credential) == {"fake-chat": "present", "fake-embedding": "new", "fake-old": "gone"}
    serve(credential, fake_embedding="rerank")
    assert states(credential)["fake-embedding"] == "differs"
    assert discovery.diff(credential).counts == {"new": 0, "present": 1, "differs": 1, "gone": 1}
    credential.tenant_llms.filter(llm_name="fake-old").delete()
    assert "fake-old" not in states(credential)


def test_a_guess_is_no_difference_and_neither_is_what_was_left_open(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, fake_embedding="chat", a="chat,image2text", b="chat", c="image2text")
    tell(
        upstream,
        {"id": "fake-embedding"},  # looks like an embedding, but nobody says so
        {"id": "a", "type": "chat"},  # says nothing about pictures
        {"id": "b", "type": "chat", "supports_vision": True},
        {"id": "c", "type": "chat"},
    )
    listed(credential)
    assert states(credential) == {"fake-embedding": "present", "a": "present", "b": "differs", "c": "present"}


def test_the_catalogue_knows_better_than_a_name_but_not_better_than_the_upstream(
    people: People, upstream: FakeUpstream
) -> None:
    factory = make_factory()
    offer(factory, fake_chat="embedding", fake_tts="chat,image2text")
    LLM.objects.filter(llm_name="fake-chat").update(max_tokens=512)
    credential = save_credential(people.tenant, factory, upstream)
    tell(upstream, {"id": "fake-chat"}, {"id": "fake-tts", "type": "audio"})
    listed(credential)
    assert types(credential) == {"fake-chat": ("embedding", "catalogue"), "fake-tts": ("tts", "upstream")}
    assert discovery.diff(credential).rows[0].max_tokens == 512


def test_what_a_factory_with_one_type_lists_is_of_it(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(tags="SPEECH2TEXT"), upstream)
    tell(upstream, {"id": "paraformer"}, {"id": "anything"})
    listed(credential)
    assert types(credential) == {"paraformer": ("speech2text", "factory"), "anything": ("speech2text", "factory")}


def test_models_that_were_shut_down_or_cannot_be_kept_are_left_out(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    tell(upstream, {"id": "on"}, {"id": "off", "status": "Shutdown"}, {"id": "x" * 161}, {"id": "line\nbreak"})
    listed(credential)
    assert list(types(credential)) == ["on"]


def test_names_are_ours_where_the_upstream_has_others(people: People, upstream: FakeUpstream) -> None:
    quirks = {"version_path": "/v1", "strip_suffix": "___", "name_map": {"Ours": "theirs-1"}}
    factory = make_factory(quirks=quirks, name_suffix="___Fake")
    credential = save_credential(people.tenant, factory, upstream)
    serve(credential, fake_chat___Fake="chat")
    credential.tenant_llms.update(llm_name="fake-chat___Fake")
    tell(upstream, {"id": "fake-chat"}, {"id": "theirs-1"}, {"id": "llama:latest", "aliases": ["llama-3"]})
    listed(credential)
    assert states(credential) == {
        "fake-chat___Fake": "present", "Ours___Fake": "new", "llama:latest___Fake": "new",
    }  # fmt: skip


def test_an_alias_is_the_same_model_unless_it_is_listed_itself(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, llama="chat", large="chat")
    tell(upstream, {"id": "llama:latest"}, {"id": "large-2411", "aliases": ["large"]}, {"id": "large"})
    listed(credential)
    rows = discovery.diff(credential).rows
    assert [(row.upstream_name, row.llm_name, row.state.value) for row in rows] == [
        ("llama:latest", "llama", "present"), ("large-2411", "large-2411", "new"), ("large", "large", "present"),
    ]  # fmt: skip


def test_a_richer_list_is_asked_first_and_its_absence_is_no_failure(people: People, upstream: FakeUpstream) -> None:
    places = [{"path": "/api/v0/models", "root": True}, {"path": "/models/capabilities"}]
    factory = make_factory(quirks={"version_path": "/v1", "listings": places})
    credential = save_credential(people.tenant, factory, upstream)
    listed(credential)
    assert list(upstream.calls) == ["/api/v0/models", "/models/capabilities", "/models"]
    tell(upstream, {"id": "vl", "type": "vlm"}, path="/api/v0/models")
    listed(credential)
    assert types(credential) == {"vl": ("chat,image2text", "upstream")}


def test_a_keyless_server_needs_only_its_address(people: People) -> None:
    with FakeUpstream(key=None) as upstream:
        factory = make_factory(keyless=True, signer="none")
        credential = save_credential(people.tenant, factory, upstream, values={})
        assert listed(credential).state == JobState.COMPLETED
        assert "authorization" not in upstream.requests[0].headers
        assert len(discovery.diff(credential).rows) == 6


def test_a_list_on_another_host_of_the_vendor_gets_the_key_that_was_sealed_for_it(people: People) -> None:
    quirks = {
        "base_url": "https://runtime.{region}.vendor.example",
        "base_urls": {"models": "https://list.{region}.vendor.example"},
    }
    fields = [{"name": "api_key", "secret": True, "required": True}, {"name": "region", "required": True}]
    factory = make_factory(quirks=quirks, base_url="https://runtime.x.vendor.example", credential_fields=fields)
    given = {"api_key": KEY, "region": "eu-west-1"}
    credential = credentials.create(tenant=people.tenant, factory=factory, values=given, actor=ACTOR)
    target = credentials.target_for(credential, llm_name="")
    assert target.url_for(Operation.MODELS, "/models") == "https://list.eu-west-1.vendor.example/models"
    assert target.url_for(Operation.CHAT, "/chat") == "https://runtime.eu-west-1.vendor.example/chat"
    for host in ("list", "runtime"):
        assert target.credential.reveal(origin=f"https://{host}.eu-west-1.vendor.example:443") == KEY
    with pytest.raises(SecretError):
        target.credential.reveal(origin="https://list.us-east-1.vendor.example:443")
    with pytest.raises(InvalidInput):
        credentials.create(
            tenant=people.tenant, factory=factory, values={**given, "region": "evil.example/"}, actor=ACTOR
        )


@pytest.mark.parametrize(
    ("misbehave", "code"),
    [
        (lambda upstream: upstream.html("/models"), "bad_reply"),
        (lambda upstream: upstream.rate_limited("/models"), "rate_limited"),
        (lambda upstream: upstream.hang_up("/models"), "unreachable"),
        (lambda upstream: upstream.status("/models", 404, {"detail": "Not Found"}), "wrong_url"),
        (lambda upstream: upstream.status("/models", 200, {"error": {"message": "no"}}), "bad_reply"),
    ],
)
def test_what_an_upstream_does_wrong_is_said_and_the_last_list_stays(
    people: People, upstream: FakeUpstream, misbehave: Any, code: str
) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    listed(credential)
    misbehave(upstream)
    job = listed(credential)
    assert job.state == JobState.FAILED
    assert job.error["code"] == code
    assert job.error["hint"]
    assert len(discovery.diff(credential).rows) == 6


def test_a_wrong_key_is_told_and_never_shown(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream, values={"api_key": WRONG_KEY})
    job = listed(credential)
    assert (job.state, job.error["code"]) == (JobState.FAILED, "bad_key")
    assert WRONG_KEY not in json.dumps([job.error, job.params, job.result])
    assert not ModelListing.objects.exists()


def test_a_slow_upstream_is_given_up(people: People, upstream: FakeUpstream, settings: Any) -> None:
    settings.PROBE_TIMEOUT_S = 0.3
    credential = save_credential(people.tenant, make_factory(), upstream)
    upstream.hang("/models")
    assert listed(credential).error["code"] == "timed_out"


def test_an_upstream_that_echoes_the_key_in_its_list_does_not_get_it_stored(
    people: People, upstream: FakeUpstream
) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    tell(upstream, {"id": "fake-chat", "description": KEY, "owned_by": KEY})
    listed(credential)
    assert KEY not in json.dumps(ModelListing.objects.get().entries)


def test_an_edit_of_the_credential_makes_its_list_outdated(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, fake_old="chat")
    listed(credential)
    changed = credentials.update(credential, values={"api_key": "sk-another-0123456789"}, actor=ACTOR)
    found = discovery.diff(changed)
    assert found.outdated
    assert "gone" not in {row.state.value for row in found.rows}


def test_an_edit_while_the_models_are_listed_keeps_the_list_from_being_saved(
    people: People, upstream: FakeUpstream
) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)

    def edit() -> None:
        credentials.update(credential, label="other", base_url=upstream.root, actor=ACTOR)

    with meanwhile(upstream, "/models", edit):
        job = listed(credential)
    assert job.error["code"] == "conflict"
    assert not ModelListing.objects.exists()


def test_a_deleted_credential_ends_the_job(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    job = queue.enqueue("discover", params={"credential_id": "0" * 32}, tenant_id=people.tenant.pk, actor=ACTOR)
    job.refresh_from_db()
    assert job.error["code"] == "not_found"
    listed(credential)
    credentials.delete(credential, actor=ACTOR)
    assert not ModelListing.objects.exists()


@pytest.mark.parametrize(
    "row", [{"quirks": {"no_model_list": True}}, {"dialect": "deepgram"}, {"dialect": "not-installed"}]
)
def test_a_factory_without_a_list_is_refused_at_once(people: People, row: dict[str, Any]) -> None:
    factory = LLMFactory.objects.create(name="Silent", base_url="https://silent.example/v1", **row)
    credential = save_credential(people.tenant, factory, None)
    with pytest.raises(InvalidInput) as caught:
        discovery.discover(credential, actor=ACTOR)
    assert caught.value.code == "no_model_list"
    assert not Job.objects.filter(type="discover").exists()


def test_a_job_that_was_done_before_its_worker_died_is_not_done_again(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    job = listed(credential)
    Job.objects.filter(pk=job.pk).update(state=JobState.PENDING, lease="", finished_at=None, result={})
    runner.run(job.pk)
    job.refresh_from_db()
    assert job.result["models"] == 6
    assert upstream.total_calls == 1
