"""A key is saved only if it works, and takes the place of the old one only then."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection

from core.clock import now
from core.errors import InvalidInput
from core.origins import origin_of
from jobs.models import Job
from tenants.models import AuditEvent, Credential, CredentialState, Probe, TenantLLM
from tenants.services import drafts
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import People
from tests.tenants.setting import ACTOR, WRONG_KEY, make_factory, plan, save_credential, serve, submit

pytestmark = pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")


def key_of(credential: Credential) -> str:
    opened = credential.open_secret()
    assert opened is not None
    return opened.reveal(origin=origin_of(credential.effective_base_url))


def test_working_draft_becomes_the_credential(people: People, upstream: FakeUpstream) -> None:
    job = submit(people.tenant, make_factory(), upstream.url, plan("fake-chat", "chat", max_tokens=4096), label="main")
    credential = Credential.objects.get(tenant=people.tenant)
    assert (credential.label, credential.state, credential.verdict) == ("main", CredentialState.OK, "ok")
    assert credential.pk == job.result["credential_id"]
    assert key_of(credential) == KEY
    assert credential.next_check_at is not None
    row = TenantLLM.objects.get(credential=credential)
    assert (row.llm_name, row.max_tokens, row.verdict) == ("fake-chat", 4096, "ok")
    assert AuditEvent.objects.filter(tenant_id=people.tenant.pk, action="credential.created").exists()


def test_failing_replacement_leaves_the_old_key_as_it_was(people: People, upstream: FakeUpstream) -> None:
    old = save_credential(people.tenant, make_factory(), upstream)
    job = submit(
        people.tenant, old.factory, None, plan("fake-chat", "chat"), replaces=old, values={"api_key": WRONG_KEY}
    )
    assert job.result["verdict"] == "bad_key"
    old.refresh_from_db()
    assert key_of(old) == KEY
    assert Credential.objects.count() == 1


def test_working_replacement_takes_the_place_and_keeps_counters_and_switches(
    people: People, upstream: FakeUpstream
) -> None:
    old = save_credential(people.tenant, make_factory(), upstream, values={"api_key": WRONG_KEY})
    serve(old, fake_chat="chat")
    TenantLLM.objects.update(used_tokens=77, status="0")
    submit(people.tenant, old.factory, None, plan("fake-chat", "chat"), plan("fake-tts", "tts"), replaces=old)
    old.refresh_from_db()
    assert key_of(old) == KEY
    kept = TenantLLM.objects.get(llm_name="fake-chat")
    assert (kept.used_tokens, kept.status, kept.credential_id) == (77, "0", old.pk)
    assert TenantLLM.objects.filter(credential=old).count() == 2
    assert Credential.objects.count() == 1
    assert set(Probe.objects.values_list("credential_id", flat=True)) == {old.pk}


def test_blank_key_keeps_the_saved_one(people: People, upstream: FakeUpstream) -> None:
    old = save_credential(people.tenant, make_factory(), upstream)
    job = submit(people.tenant, old.factory, None, plan("fake-chat", "chat"), replaces=old, values={"api_key": ""})
    assert job.result["ok"]
    old.refresh_from_db()
    assert key_of(old) == KEY


def test_saved_key_never_follows_to_another_server(people: People, upstream: FakeUpstream) -> None:
    old = save_credential(people.tenant, make_factory(), upstream)
    with FakeUpstream() as thief:
        with pytest.raises(InvalidInput, match="another server"):
            submit(people.tenant, old.factory, thief.url, plan("fake-chat", "chat"), replaces=old, values={})
        assert thief.total_calls == 0
    assert Credential.objects.count() == 1 and not Job.objects.exists()


def test_verifying_saves_nothing(people: People, upstream: FakeUpstream) -> None:
    job = submit(people.tenant, make_factory(), upstream.url, plan("fake-chat", "chat"), save=False)
    assert (job.result["ok"], job.result["saved"], job.result["credential_id"]) == (True, False, None)
    assert not Credential.objects.exists() and not TenantLLM.objects.exists()


def test_invalid_input_stores_nothing(people: People) -> None:
    factory = make_factory(base_url_required=True)
    for values, base_url, model in [
        ({}, "http://127.0.0.1:1/v1", plan("m", "chat")),
        ({"api_key": 5}, "http://127.0.0.1:1/v1", plan("m", "chat")),
        ({"api_key": "k" * 20_000}, "http://127.0.0.1:1/v1", plan("m", "chat")),
        ({"api_key": "a\nb"}, "http://127.0.0.1:1/v1", plan("m", "chat")),
        ({"api_key": "k", "other": "x"}, "http://127.0.0.1:1/v1", plan("m", "chat")),
        ({"api_key": "k"}, "", plan("m", "chat")),
        ({"api_key": "k"}, "ftp://127.0.0.1/", plan("m", "chat")),
        ({"api_key": "k"}, "http://user:pass@127.0.0.1/", plan("m", "chat")),
        ({"api_key": "k"}, "http://127.0.0.1:1/v1", plan("", "chat")),
        ({"api_key": "k"}, "http://127.0.0.1:1/v1", plan("m")),
        ({"api_key": "k"}, "http://127.0.0.1:1/v1", plan("m", "telepathy")),
        ({"api_key": "k"}, "http://127.0.0.1:1/v1", plan("m", "chat", max_tokens=0)),
    ]:
        with pytest.raises(InvalidInput) as caught:
            submit(people.tenant, factory, base_url, model, values=values)
        assert caught.value.fields, (values, base_url, model)
    assert not Credential.objects.exists() and not Job.objects.exists()


def test_two_identical_submissions_at_once_save_one_credential(people: People, upstream: FakeUpstream) -> None:
    factory, start = make_factory(), threading.Barrier(2)
    results: list[bool] = []

    def write() -> None:
        start.wait()
        try:
            job = submit(people.tenant, factory, upstream.url, plan("fake-chat", "chat"), label="default")
            results.append(job.result["ok"])
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [True, True]
    assert Credential.objects.saved().count() == 1
    assert not Credential.objects.filter(state=CredentialState.DRAFT).exists()
    assert TenantLLM.objects.count() == 1


def test_abandoned_drafts_are_deleted_with_their_secrets(people: People) -> None:
    factory = make_factory()
    draft = Credential(tenant=people.tenant, factory=factory, state=CredentialState.DRAFT)
    draft.save()
    assert drafts.discard_abandoned() == 0
    Credential.objects.update(created_at=now() - timedelta(hours=2))
    alive = Job.objects.create(type="probe", params={"credential_id": draft.pk}, tenant_id=people.tenant.pk)
    assert drafts.discard_abandoned() == 0
    Job.objects.filter(pk=alive.pk).update(state="failed")
    assert drafts.discard_abandoned() == 1
    assert not Credential.objects.exists()


def test_untested_saving_shows_as_untested_and_calls_nobody(people: People, upstream: FakeUpstream) -> None:
    saved = drafts.save_untested(
        tenant=people.tenant,
        factory=make_factory(),
        values={"api_key": KEY},
        base_url=upstream.url,
        models=[plan("fake-chat", "chat")],
        actor=ACTOR,
    )
    assert (saved.state, saved.verdict, saved.label) == (CredentialState.UNTESTED, "untested", "default")
    assert upstream.total_calls == 0
    assert TenantLLM.objects.get().verdict == "untested"
