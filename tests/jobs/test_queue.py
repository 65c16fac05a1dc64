from __future__ import annotations

import threading
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
from django.db import connection

from core.audit import SYSTEM, recorded
from core.clock import now
from core.errors import Conflict, InvalidInput, NotFound
from jobs.models import Job, JobState
from jobs.services import broker, queue
from tests.people import actor_of, make_user


def enqueue(type: str = "add", **more: Any) -> Job:
    return queue.enqueue(type, **{"params": {"numbers": [1, 2]}, "actor": SYSTEM, **more})


@pytest.mark.django_db
def test_a_job_is_pending_and_remembers_who_asked() -> None:
    user = make_user()
    job = enqueue(actor=actor_of(user), tenant_id="t1", timeout_s=30)
    assert (job.state, job.created_by_id, job.tenant_id, job.timeout_s) == (JobState.PENDING, user.pk, "t1", 30)


@pytest.mark.django_db
def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput) as caught:
        enqueue("paint")
    assert "add" in caught.value.hint
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_the_same_key_joins_the_active_job_of_the_same_tenant_only() -> None:
    first = enqueue(dedupe_key="k", tenant_id="a")
    assert enqueue(dedupe_key="k", tenant_id="a") == first
    assert enqueue(dedupe_key="k", tenant_id="b") != first
    assert enqueue(tenant_id="a") != enqueue(tenant_id="a")


@pytest.mark.django_db
def test_a_finished_job_is_not_joined() -> None:
    first = enqueue(dedupe_key="k")
    queue.cancel(first, actor=SYSTEM)
    assert enqueue(dedupe_key="k") != first


@pytest.mark.django_db(transaction=True)
def test_two_enqueues_at_the_same_instant_make_one_job() -> None:
    barrier, made = threading.Barrier(4), []

    def ask() -> None:
        barrier.wait()
        made.append(enqueue(dedupe_key="k").pk)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_only_the_id_goes_to_the_broker_and_only_after_the_commit(drained: Any) -> None:
    job = enqueue(params={"numbers": [41]})
    [message] = drained()
    assert message["args"] == [job.pk]
    assert message["kwargs"] == {}
    assert message["timelimit"] == [630, 600]


@pytest.mark.django_db(transaction=True)
def test_a_job_for_later_is_not_sent_yet() -> None:
    enqueue(run_after=now() + timedelta(minutes=5))
    assert broker.depth() == 0


@pytest.mark.django_db
def test_cancelling_a_pending_job_ends_it_at_once_and_is_recorded() -> None:
    heard = []

    def listen(event: Any, **_: Any) -> None:
        heard.append(event)

    recorded.connect(listen)
    try:
        job = queue.cancel(enqueue(tenant_id="t"), actor=SYSTEM)
        queue.cancel(job, actor=SYSTEM)
    finally:
        recorded.disconnect(listen)
    assert (job.state, job.is_finished) == (JobState.CANCELLED, True)
    assert [(event.action, event.tenant_id) for event in heard] == [("job.cancelled", "t")]


@pytest.mark.django_db
def test_cancelling_a_running_job_asks_its_worker() -> None:
    job = enqueue()
    Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING, lease="x")
    job = queue.cancel(job, actor=SYSTEM)
    assert job.state == JobState.RUNNING
    assert job.cancel_requested_at is not None


@pytest.mark.django_db
def test_a_failed_job_can_be_retried_from_its_checkpoint() -> None:
    job = enqueue()
    Job.objects.filter(pk=job.pk).update(
        state=JobState.FAILED, attempts=3, error={"code": "x"}, checkpoint={"at": 7}, finished_at=now()
    )
    again = queue.retry(job, actor=SYSTEM)
    assert (again.pk, again.state, again.attempts, again.error) == (job.pk, JobState.PENDING, 0, {})
    assert again.checkpoint == {"at": 7}
    assert again.finished_at is None


@pytest.mark.django_db
@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.COMPLETED])
def test_a_job_that_did_not_fail_cannot_be_retried(state: JobState) -> None:
    job = enqueue()
    Job.objects.filter(pk=job.pk).update(state=state)
    with pytest.raises(Conflict):
        queue.retry(job, actor=SYSTEM)


@pytest.mark.django_db
def test_retrying_joins_a_twin_that_was_started_meanwhile() -> None:
    old = queue.cancel(enqueue(dedupe_key="k"), actor=SYSTEM)
    new = enqueue(dedupe_key="k")
    assert queue.retry(old, actor=SYSTEM) == new


@pytest.mark.django_db
def test_waiting_returns_the_job_in_whatever_state_when_time_is_over() -> None:
    job, started = enqueue(), monotonic()
    assert queue.wait(job.pk, timeout_s=0.2).state == JobState.PENDING
    assert 0.2 <= monotonic() - started < 2


@pytest.mark.django_db
def test_waiting_for_no_job_at_all_is_an_error() -> None:
    with pytest.raises(NotFound):
        queue.wait("0" * 32, timeout_s=1)


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_as_soon_as_the_job_does() -> None:
    job = enqueue()

    def finish() -> None:
        queue.cancel(job, actor=SYSTEM)
        connection.close()

    timer = threading.Timer(0.3, finish)
    timer.start()
    started = monotonic()
    assert queue.wait(job.pk, timeout_s=10).state == JobState.CANCELLED
    assert monotonic() - started < 3
    timer.join()


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_does_not_lose_the_job(broken_broker: None) -> None:
    started = monotonic()
    job = enqueue()
    assert monotonic() - started < 5
    assert Job.objects.get(pk=job.pk).state == JobState.PENDING
