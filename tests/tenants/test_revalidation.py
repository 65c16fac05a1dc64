"""Keys are tested again from time to time; bad ones are taken out of use and come back by themselves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.clock import now
from jobs.models import Job
from tenants.models import Credential, CredentialState, Probe
from tenants.services import credentials, revalidation
from tests.fakes.upstream import FakeUpstream
from tests.people import People
from tests.tenants.setting import ACTOR, make_factory, save_credential, serve

pytestmark = pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")


def proven_credential(people: People, upstream: FakeUpstream) -> Credential:
    credential = save_credential(people.tenant, make_factory(), upstream)
    serve(credential, fake_chat="chat")
    credentials.test(credential, actor=ACTOR)
    credential.refresh_from_db()
    assert credential.state == CredentialState.OK
    return credential


def check_again(credential: Credential) -> Credential:
    Credential.objects.filter(pk=credential.pk).update(next_check_at=now() - timedelta(seconds=1))
    assert revalidation.enqueue_due() == 1
    credential.refresh_from_db()
    return credential


def test_only_what_is_due_is_tested(people: People, upstream: FakeUpstream) -> None:
    credential = proven_credential(people, upstream)
    before = upstream.total_calls
    assert revalidation.enqueue_due() == 0
    Credential.objects.update(status="0", next_check_at=now() - timedelta(days=1))
    assert revalidation.enqueue_due() == 0
    assert upstream.total_calls == before
    assert credential.next_check_at is not None and credential.next_check_at > now() + timedelta(hours=23)


def test_revoked_key_is_quarantined_with_the_reason_and_recovers_by_itself(
    people: People, upstream: FakeUpstream
) -> None:
    credential, good = proven_credential(people, upstream), upstream.key
    upstream.key = "sk-rotated-elsewhere-000000"
    credential = check_again(credential)
    assert (credential.state, credential.verdict, credential.failures) == ("quarantined", "bad_key", 1)
    assert credential.reason
    assert not Credential.objects.usable().exists()
    assert credential.next_check_at is not None
    assert credential.next_check_at - now() < timedelta(minutes=16)
    upstream.key = good
    credential = check_again(credential)
    assert (credential.state, credential.verdict, credential.reason, credential.failures) == ("ok", "ok", "", 0)
    assert Credential.objects.usable().exists()


def test_passing_trouble_is_tolerated_twice(people: People, upstream: FakeUpstream) -> None:
    credential = proven_credential(people, upstream)
    upstream.hang_up("/models")
    states = [check_again(credential).state for _ in range(3)]
    assert states == ["failing", "failing", "quarantined"]


def test_waiting_grows_with_each_failure(people: People, upstream: FakeUpstream) -> None:
    credential = proven_credential(people, upstream)
    upstream.hang_up("/models")
    waits = []
    for _ in range(3):
        found = check_again(credential)
        assert found.next_check_at is not None and found.checked_at is not None
        waits.append(round((found.next_check_at - found.checked_at).total_seconds() / 60))
    assert waits == [15, 30, 60]


def test_spent_budget_leaves_only_free_calls(
    people: People, upstream: FakeUpstream, settings: pytest.FixtureRequest
) -> None:
    credential = proven_credential(people, upstream)
    settings.PROBE_DAILY_BUDGET = Probe.objects.filter(billed=True).count()
    assert revalidation.billed_calls_left() == 0
    upstream.calls.clear()
    assert check_again(credential).state == CredentialState.OK
    assert dict(upstream.calls) == {"/models": 1}


def test_free_call_that_proves_nothing_changes_nothing(
    people: People, upstream: FakeUpstream, settings: pytest.FixtureRequest
) -> None:
    credential = proven_credential(people, upstream)
    credential.factory.quirks = {"version_path": "/v1", "public_model_list": True}
    credential.factory.save()
    Credential.objects.update(state=CredentialState.QUARANTINED, verdict="bad_key", reason="refused", failures=2)
    settings.PROBE_DAILY_BUDGET = 0
    found = check_again(credential)
    assert (found.state, found.verdict, found.failures) == ("quarantined", "bad_key", 2)
    assert found.next_check_at is not None and found.next_check_at > now()


def test_two_schedulers_test_a_key_once(people: People, upstream: FakeUpstream) -> None:
    credential = proven_credential(people, upstream)
    Job.objects.all().delete()
    Credential.objects.filter(pk=credential.pk).update(next_check_at=now() - timedelta(seconds=1))
    assert [revalidation.enqueue_due(), revalidation.enqueue_due()] == [1, 0]
    assert Job.objects.count() == 1


def test_old_probes_are_deleted_and_recent_ones_kept(
    people: People, upstream: FakeUpstream, settings: pytest.FixtureRequest
) -> None:
    proven_credential(people, upstream)
    recent = set(Probe.objects.values_list("pk", flat=True))
    assert revalidation.prune_probes() == 0
    old = Probe.objects.order_by("pk").first()
    assert old is not None
    Probe.objects.filter(pk=old.pk).update(created_at=now() - timedelta(days=91))
    assert revalidation.prune_probes() == 1
    assert set(Probe.objects.values_list("pk", flat=True)) == recent - {old.pk}
