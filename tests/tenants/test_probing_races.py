"""What is changed, deleted or taken over while a test is under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from core.ids import new_id
from core.origins import origin_of
from jobs.models import Job, JobState
from tenants.models import Credential, CredentialState, TenantLLM
from tenants.services import credentials
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import People
from tests.tenants.setting import ACTOR, WRONG_KEY, make_factory, plan, save_credential, serve, submit

pytestmark = pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")

NEWER_KEY = "sk-newer-0123456789abcdef"


@contextmanager
def meanwhile(upstream: FakeUpstream, path: str, act: Callable[[], object]) -> Iterator[None]:
    """Something happens, once, while the upstream is answering a call to this path."""

    def handle(handler: object) -> None:
        upstream.well(path)
        try:
            act()
        finally:
            connection.close()
        handler.answer()  # type: ignore[attr-defined]

    upstream._behaviours[path] = handle  # type: ignore[assignment]
    yield


def key_of(credential: Credential) -> str:
    opened = credential.open_secret()
    assert opened is not None
    return opened.reveal(origin=origin_of(credential.effective_base_url))


def test_verdict_on_the_old_key_is_not_written_on_the_new_one(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream, values={"api_key": WRONG_KEY})
    serve(credential, fake_chat="chat")

    def enter_the_right_key() -> None:
        credentials.update(credential, actor=ACTOR, values={"api_key": KEY})

    with meanwhile(upstream, "/models", enter_the_right_key):
        job = credentials.test(credential, actor=ACTOR)
    job.refresh_from_db()
    credential.refresh_from_db()
    assert job.result["verdict"] == "bad_key"
    assert (credential.state, credential.verdict) == (CredentialState.UNTESTED, "untested")


def test_test_of_a_new_key_does_not_join_the_test_of_the_old_one(people: People, upstream: FakeUpstream) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream, values={"api_key": WRONG_KEY})
    jobs: list[Job] = []

    def enter_and_test_another() -> None:
        changed = credentials.update(credential, actor=ACTOR, values={"api_key": KEY})
        jobs.append(credentials.test(changed, actor=ACTOR))

    with meanwhile(upstream, "/models", enter_and_test_another):
        first = credentials.test(credential, actor=ACTOR)
    assert jobs[0].pk != first.pk
    credential.refresh_from_db()
    assert (credential.state, credential.verdict) == (CredentialState.OK, "ok")


@pytest.mark.parametrize("path", ["/models", "/chat/completions"])
def test_credential_deleted_during_its_test_ends_the_job_clearly(
    people: People, upstream: FakeUpstream, path: str
) -> None:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, fake_chat="chat")
    with meanwhile(upstream, path, lambda: credentials.delete(credential, actor=ACTOR)):
        job = credentials.test(credential, actor=ACTOR)
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "not_found")
    assert not Credential.objects.exists()


def test_replaced_credential_deleted_during_the_test_stays_deleted(people: People, upstream: FakeUpstream) -> None:
    old = save_credential(people.tenant, make_factory(), upstream)
    with meanwhile(upstream, "/chat/completions", lambda: credentials.delete(old, actor=ACTOR)):
        job = submit(people.tenant, old.factory, None, plan("fake-chat", "chat"), replaces=old)
    assert (job.state, job.error["code"]) == (JobState.FAILED, "not_found")
    assert not Credential.objects.exists()


def test_model_added_during_a_change_of_key_does_not_bring_the_old_key_back(
    people: People, upstream: FakeUpstream
) -> None:
    old = save_credential(people.tenant, make_factory(), upstream)

    def enter_a_newer_key() -> None:
        credentials.update(old, actor=ACTOR, values={"api_key": NEWER_KEY})

    with meanwhile(upstream, "/chat/completions", enter_a_newer_key):
        job = submit(people.tenant, old.factory, None, plan("fake-chat", "chat"), replaces=old, values={})
    assert job.result["saved"]
    old.refresh_from_db()
    assert key_of(old) == NEWER_KEY
    assert (old.state, old.verdict) == (CredentialState.UNTESTED, "untested")
    assert TenantLLM.objects.get().credential_id == old.pk


def test_two_different_changes_at_once_do_not_overwrite_each_other(people: People, upstream: FakeUpstream) -> None:
    old = save_credential(people.tenant, make_factory(), upstream, values={"api_key": WRONG_KEY})

    def enter_a_newer_key() -> None:
        credentials.update(old, actor=ACTOR, values={"api_key": NEWER_KEY})

    with meanwhile(upstream, "/chat/completions", enter_a_newer_key):
        job = submit(people.tenant, old.factory, None, plan("fake-chat", "chat"), replaces=old)
    assert (job.state, job.error["code"]) == (JobState.FAILED, "conflict")
    old.refresh_from_db()
    assert key_of(old) == NEWER_KEY
    assert not Credential.objects.filter(state=CredentialState.DRAFT).exists()


def test_name_that_is_taken_meanwhile_is_not_given_another_key(people: People, upstream: FakeUpstream) -> None:
    factory = make_factory()

    def take_the_name() -> None:
        save_credential(people.tenant, factory, upstream, values={"api_key": NEWER_KEY}, label="main")

    with meanwhile(upstream, "/chat/completions", take_the_name):
        job = submit(people.tenant, factory, upstream.url, plan("fake-chat", "chat"), label="main")
    assert (job.state, job.error["code"]) == (JobState.FAILED, "conflict")
    assert key_of(Credential.objects.get()) == NEWER_KEY


def test_worker_that_lost_its_job_saves_nothing(people: People, upstream: FakeUpstream) -> None:
    def somebody_else_takes_over() -> None:
        Job.objects.update(lease=new_id())

    with meanwhile(upstream, "/chat/completions", somebody_else_takes_over):
        job = submit(people.tenant, make_factory(), upstream.url, plan("fake-chat", "chat"))
    assert job.state == JobState.RUNNING
    assert not Credential.objects.saved().exists()
    assert Credential.objects.filter(state=CredentialState.DRAFT).count() == 1


def test_factory_that_moves_during_the_test_does_not_get_the_key(people: People, upstream: FakeUpstream) -> None:
    factory = make_factory(base_url=upstream.url)
    old = save_credential(people.tenant, factory, None)
    with FakeUpstream() as thief:

        def move() -> None:
            factory.base_url = thief.url
            factory.save()

        with meanwhile(upstream, "/chat/completions", move):
            job = submit(people.tenant, factory, None, plan("fake-chat", "chat"), replaces=old)
        assert (job.state, job.error["code"]) == (JobState.FAILED, "secret_misdirected")
        old.refresh_from_db()
        opened = old.open_secret()
        assert opened is not None and opened.origin == origin_of(upstream.url)
