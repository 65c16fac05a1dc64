"""Owners of waiting jobs take turns: who asks for much delays himself."""

from __future__ import annotations

from collections import Counter

import pytest
from django.contrib.auth import get_user_model

from core.audit import SYSTEM, Actor
from core.clock import now
from jobs.models import Job, JobState
from jobs.services import queue, runner
from jobs.services.turns import next_in_turn

A, B, C = "a" * 32, "b" * 32, "c" * 32


def waits(tenant_id: str, count: int = 1, *, actor: Actor = SYSTEM, **more: int) -> list[Job]:
    return [
        queue.enqueue("add", params={"numbers": []}, actor=actor, tenant_id=tenant_id, **more) for _ in range(count)
    ]


def begun(count: int, *, limit_s: int = 600) -> list[str]:
    """Whose jobs are done by so many messages of the queue, in their order."""
    anything = waits("")[0]
    Job.objects.filter(pk=anything.pk).update(state=JobState.CANCELLED)
    for _ in range(count):
        runner.serve(anything.pk, limit_s=limit_s)
    done = Job.objects.filter(state=JobState.COMPLETED).order_by("started_at")
    return list(done.values_list("tenant_id", flat=True))


@pytest.mark.django_db(transaction=True)
def test_jobs_of_one_owner_are_begun_in_their_order() -> None:
    jobs = waits(A, 6)
    assert begun(6) == [A] * 6
    assert list(Job.objects.filter(tenant_id=A).order_by("started_at")) == jobs


@pytest.mark.django_db(transaction=True)
def test_who_asks_for_much_keeps_nobody_else_waiting() -> None:
    waits(A, 6)
    waits(B, 2)
    waits(C, 1)
    assert begun(9) == [A, B, C, A, B, A, A, A, A]


@pytest.mark.django_db(transaction=True)
def test_who_comes_later_is_next_and_makes_up_for_nothing() -> None:
    waits(A, 6)
    assert begun(3) == [A, A, A]
    waits(B, 3)
    assert begun(6)[3:] == [B, A, B, A, B, A]


@pytest.mark.django_db
def test_a_slot_goes_to_whoever_has_the_fewest() -> None:
    running = [*waits(A), *waits(B, 2), *waits(C, 2)]
    for job in running:
        Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING, started_at=now())
    Job.objects.filter(pk=running[0].pk).update(started_at=now())  # the latest turn, and yet the next
    wanted = [jobs[0] for jobs in (waits(C), waits(B), waits(A))]
    assert next_in_turn(Job.objects.due(now()), queue="default") == wanted[2]


@pytest.mark.django_db
def test_a_slot_of_another_queue_does_not_count() -> None:
    (elsewhere,) = waits(A)
    Job.objects.filter(pk=elsewhere.pk).update(state=JobState.RUNNING, started_at=now(), queue="models")
    (first,) = waits(A)
    waits(B)
    assert next_in_turn(Job.objects.due(now()).filter(queue="default"), queue="default") == first


@pytest.mark.django_db(transaction=True)
def test_jobs_of_the_installation_belong_to_whoever_asked_for_them() -> None:
    people = [get_user_model().objects.create_user(name) for name in ("ann", "ben")]
    ann, ben = (Actor(user_id=person.pk, label=person.username) for person in people)
    waits("", 3, actor=ann)
    waits("", 2)
    waits("", 1, actor=ben)
    waits(A, 1, actor=ann)
    begun(7)
    done = Job.objects.filter(state=JobState.COMPLETED).order_by("started_at")
    names = [job.tenant_id or str(job.created_by or "") for job in done.select_related("created_by")]
    assert names == ["ann", "", "ben", A, "ann", "", "ann"]


@pytest.mark.django_db(transaction=True)
def test_members_of_a_tenant_share_its_turns() -> None:
    people = [get_user_model().objects.create_user(name) for name in ("ann", "ben")]
    for person in people:
        waits(A, 2, actor=Actor(user_id=person.pk, label=person.username))
    waits(B, 1)
    assert begun(5) == [A, B, A, A, A]


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_a_message_has_no_time_for_goes_to_the_next() -> None:
    waits(A, 2, timeout_s=3600)
    waits(B, 2, timeout_s=60)
    assert begun(2, limit_s=60) == [B, B]
    assert Counter(Job.objects.filter(state=JobState.PENDING).values_list("tenant_id", flat=True)) == {A: 2}
