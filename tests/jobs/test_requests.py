"""Jobs that people ask for: who may, what counts as asking twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, transaction

from core.audit import recorded
from core.errors import Conflict, Forbidden, InvalidInput, NotFound
from jobs.models import Job, JobRequest
from jobs.services import queue, requests
from jobs.services.types import Prepared
from tests.people import actor_of, make_user

pytestmark = pytest.mark.django_db


def prepare(params: Any, *, actor: Any, tenant_id: str, is_staff: bool) -> Prepared:
    """As an install would: a model's name in any case is the same model."""
    if params["model"] == "nothing":
        raise NotFound("There is no such model.")
    if params["model"] == "shared" and not is_staff:
        raise Forbidden("Others use it, too.")
    name = params["model"].lower()
    return Prepared({**params, "model": name}, dedupe_key=f"install:{name}")


PARAMS = {"properties": {"model": {"type": "string"}, "path": {"type": "string"}}, "required": ["model"]}


@pytest.fixture(autouse=True)
def install_types(settings: Any) -> None:
    entry = {"handler": "tests.jobs.handlers.add", "params": PARAMS, "queue": "models"}
    prepared = {**entry, "prepare": f"{__name__}.prepare"}
    settings.JOB_TYPES = {
        **settings.JOB_TYPES,
        "ops:install": {**prepared, "who": "managers", "aliases": ["install"]},
        "ops:load": {**entry, "who": "members"},
        "ops:sweep": {**entry, "who": "staff"},
        "ops:inside": entry,
    }


def submit(type: str = "install", model: str = "llama3", *, user: Any = None, **more: Any) -> requests.Submitted:
    asked = {"tenant_id": "t1", "role": "owner", "actor": actor_of(user or make_user()), **more}
    return requests.submit(type, params={"model": model}, **asked)


def test_a_request_makes_a_job_of_the_tenant_and_is_recorded() -> None:
    heard: list[Any] = []
    listen = lambda event, **_: heard.append(event)  # noqa: E731
    recorded.connect(listen)
    made = submit(model="LLama3")
    recorded.disconnect(listen)
    job = made.job
    assert (made.joined, job.type, job.tenant_id, job.queue) == (False, "ops:install", "t1", "models")
    assert job.params == {"model": "llama3"}
    assert [(event.action, event.tenant_id) for event in heard] == [("job.created", "t1")]


def test_the_second_request_for_the_same_thing_joins_the_first() -> None:
    first, second = submit(model="llama3"), submit(model="LLAMA3")
    assert (second.job, second.joined) == (first.job, True)
    assert submit(tenant_id="t2").job != first.job
    assert submit(model="qwen").job != first.job


def test_who_asks_for_the_same_thing_in_another_way_does_not_join() -> None:
    asked = {"tenant_id": "t1", "role": "owner", "actor": actor_of(make_user())}
    first = requests.submit("install", params={"model": "m", "path": "/a"}, **asked)
    assert requests.submit("install", params={"model": "M", "path": "/a"}, **asked).job == first.job
    with pytest.raises(Conflict) as caught:
        requests.submit("install", params={"model": "m", "path": "/b"}, idempotency_key="k", **asked)
    assert caught.value.code == "active_with_other_params"
    assert first.job.pk in caught.value.hint
    assert (Job.objects.count(), JobRequest.objects.count()) == (1, 0)


def test_what_prepare_refuses_makes_no_job() -> None:
    with pytest.raises(NotFound):
        submit(model="nothing")
    with pytest.raises(InvalidInput):
        requests.submit("install", params={}, actor=actor_of(make_user()), tenant_id="t1", role="owner")
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("type", "role", "is_staff", "may"),
    [
        ("ops:install", "owner", False, True),
        ("ops:install", "admin", False, True),
        ("ops:install", "member", False, False),
        ("ops:install", "", False, False),
        ("ops:install", "", True, True),
        ("ops:load", "member", False, True),
        ("ops:load", "", False, False),
        ("ops:sweep", "owner", False, False),
        ("ops:sweep", "", True, True),
        ("ops:inside", "owner", True, False),
    ],
)
def test_who_may_start_what(type: str, role: str, is_staff: bool, may: bool) -> None:
    if may:
        assert not submit(type, role=role, is_staff=is_staff).joined
        return
    with pytest.raises(Forbidden) as caught:
        submit(type, role=role, is_staff=is_staff)
    assert caught.value.hint
    assert not Job.objects.exists()


def test_a_job_for_staff_belongs_to_the_installation() -> None:
    assert submit("ops:sweep", is_staff=True).job.tenant_id == ""


def test_the_same_key_finds_the_same_job_even_when_it_is_over() -> None:
    user = make_user()
    first = submit(user=user, idempotency_key="k")
    queue.cancel(first.job, actor=actor_of(user))
    again = submit(user=user, idempotency_key="k")
    assert (again.job, again.joined) == (first.job, True)
    assert submit(user=user).job != first.job


def test_a_key_remembers_a_job_that_was_joined() -> None:
    user, first = make_user(), submit()
    assert submit(user=user, idempotency_key="k").job == first.job
    queue.cancel(first.job, actor=actor_of(user))
    assert submit(user=user, idempotency_key="k").job == first.job


def test_the_same_key_for_something_else_is_refused() -> None:
    user = make_user()
    first = submit(user=user, idempotency_key="k")
    with pytest.raises(Conflict) as caught:
        submit(model="qwen", user=user, idempotency_key="k")
    assert first.job.pk in caught.value.hint
    assert Job.objects.count() == 1


def test_a_key_is_the_users_own_in_each_tenant() -> None:
    user = make_user()
    first = submit(user=user, idempotency_key="k")
    assert submit(model="other", user=make_user(), idempotency_key="k").job != first.job
    assert submit(user=user, tenant_id="t2", idempotency_key="k").job != first.job


def test_a_key_is_forgotten_with_its_job() -> None:
    user = make_user()
    first = submit(user=user, idempotency_key="k")
    queue.delete(queue.cancel(first.job, actor=actor_of(user)), actor=actor_of(user))
    assert not JobRequest.objects.exists()
    assert submit(user=user, idempotency_key="k").job.pk != first.job.pk


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["k", ""])
def test_the_same_request_many_times_at_once_makes_one_job(key: str) -> None:
    user, barrier, made = make_user(), threading.Barrier(4), []

    def ask() -> None:
        try:
            barrier.wait()
            made.append(submit(user=user, idempotency_key=key).job.pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_being_joined_is_not_deleted_meanwhile() -> None:
    user = make_user()
    first = submit().job

    def forget() -> None:
        try:
            queue.delete(queue.cancel(first, actor=actor_of(user)), actor=actor_of(user))
        finally:
            connection.close()

    thread = threading.Thread(target=forget)
    with transaction.atomic():
        assert submit(user=user, idempotency_key="k").joined
        thread.start()
        thread.join(0.5)
    thread.join(30)
    assert not JobRequest.objects.exists() and not Job.objects.exists()
