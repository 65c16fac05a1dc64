"""`/jobs` as programs use it; who may see and do what is in tests/api/test_tenancy.py as well."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from core.audit import SYSTEM
from core.clock import now
from jobs.models import Job, JobState
from jobs.services import queue
from tests.api.world import bearer, session
from tests.people import People, make_token, make_user

pytestmark = pytest.mark.django_db

PARAMS = {
    "properties": {"service_name": {"type": "string", "default": "ollama"}, "model_name": {"type": "string"}},
    "required": ["model_name"],
}


@pytest.fixture(autouse=True)
def ops(settings: Any) -> None:
    entry = {"handler": "tests.jobs.handlers.add", "params": PARAMS, "queue": "models", "who": "managers"}
    settings.JOB_TYPES = {
        **settings.JOB_TYPES,
        "ops:install": {**entry, "aliases": ["install"], "description": "Install a model."},
        "ops:pull": {**entry, "suspendable": True},
        "ops:sweep": {**entry, "who": "staff"},
    }


@pytest.fixture
def owner(people: People) -> Client:
    return bearer(make_token(people.tenant, user=people.owner))


@pytest.fixture
def staff() -> Client:
    user = make_user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_job", "change_job"]))
    return session(User.objects.get(pk=user.pk))


def ask(client: Client, type: str = "install", root: str = "/jobs", **more: Any) -> Any:
    body = {"type": type, "params": {"model_name": "llama3"}, **more}
    return client.post(root, body, content_type="application/json")


def post(client: Client, path: str, body: Any = None, **more: Any) -> Any:
    return client.post(path, body or {}, content_type="application/json", **more)


@pytest.mark.parametrize("root", ["/jobs", "/jobs/", "/api/jobs", "/api/jobs/"])
def test_a_job_is_asked_for_and_found_where_its_location_says(owner: Client, root: str) -> None:
    made = ask(owner, root=root)
    assert made.status_code == 202
    body = made.json()
    assert made["Location"] == f"{root.rstrip('/')}/{body['id']}/"
    assert (body["type"], body["group"], body["queue"], body["state"]) == ("ops:install", "ops", "models", "pending")
    assert (body["joined"], body["params"]) == (False, {"model_name": "llama3", "service_name": "ollama"})
    found = owner.get(made["Location"]).json()
    assert found == {name: value for name, value in body.items() if name != "joined"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "type"),
        ({"type": "paint", "params": {}}, "type"),
        ({"type": "", "params": {}}, "type"),
        ({"type": ["install"], "params": {}}, "type"),
        ({"type": "install"}, "params.model_name"),
        ({"type": "install", "params": {"model_name": "x", "force": True}}, "params.force"),
        ({"type": "install", "params": "x"}, "params"),
        ({"type": "install", "params": {"model_name": "x"}, "queue": "default"}, "queue"),
        ({"type": "install", "params": {"model_name": "x"}, "idempotency_key": "a b"}, "idempotency_key"),
        ({"type": "install", "params": {"model_name": "x"}, "idempotency_key": "k" * 129}, "idempotency_key"),
    ],
)
def test_a_request_that_makes_no_sense_is_told_where_and_changes_nothing(
    owner: Client, body: dict[str, Any], field: str
) -> None:
    answer = post(owner, "/jobs", body)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert list(answer.json()["fields"]) == [field]
    assert not Job.objects.exists()


def test_an_idempotency_key_may_come_in_the_body_or_the_header(owner: Client) -> None:
    first = ask(owner, idempotency_key="k-1").json()
    body = {"type": "ops:install", "params": {"model_name": "llama3"}}
    again = post(owner, "/jobs", body, headers={"Idempotency-Key": "k-1"})
    assert (again.status_code, again.json()["id"], again.json()["joined"]) == (200, first["id"], True)
    other = post(owner, "/jobs", {**body, "params": {"model_name": "qwen"}}, headers={"Idempotency-Key": "k-1"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_used")
    both = post(owner, "/jobs", {**body, "idempotency_key": "k-2"}, headers={"Idempotency-Key": "k-1"})
    assert both.status_code == 400
    assert post(owner, "/jobs", body, headers={"Idempotency-Key": "a b"}).status_code == 400
    assert Job.objects.count() == 1


def test_owner_member_and_outsider(people: People, owner: Client) -> None:
    job = ask(owner).json()["id"]
    member, outsider = session(people.member), session(people.outsider)
    assert member.get(f"/jobs/{job}").status_code == 200
    assert ask(member).status_code == 403
    assert post(member, f"/jobs/{job}/cancel").status_code == 403
    assert member.delete(f"/jobs/{job}").status_code == 403
    assert outsider.get("/jobs").json()["count"] == 0
    for answer in (
        outsider.get(f"/jobs/{job}"),
        post(outsider, f"/jobs/{job}/cancel"),
        outsider.delete(f"/jobs/{job}"),
    ):
        assert answer.status_code == 404
    assert Client().get("/jobs").status_code == 401
    assert ask(owner, "ops:sweep").status_code == 403


def test_staff_see_all_and_start_what_is_theirs(people: People, owner: Client, staff: Client) -> None:
    job = ask(owner).json()["id"]
    swept = ask(staff, "ops:sweep")
    assert (swept.status_code, swept.json()["tenant"]) == (202, "")
    assert staff.get("/jobs").json()["count"] == 2
    assert [row["id"] for row in staff.get(f"/jobs?tenant={people.tenant.pk}").json()["results"]] == [job]
    assert post(staff, f"/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert owner.get(f"/jobs/{swept.json()['id']}").status_code == 404


def test_staff_without_the_permission_are_nobody_special(owner: Client) -> None:
    job = ask(owner).json()["id"]
    plain = session(make_user(is_staff=True))
    assert plain.get(f"/jobs/{job}").status_code == 404
    assert ask(plain, "ops:sweep").status_code == 403


def test_whoever_started_a_job_of_the_installation_sees_it_but_their_token_does_not(people: People) -> None:
    job = Job.objects.create(type="ops:sweep", created_by=people.owner)
    assert session(people.owner).get(f"/jobs/{job.pk}").status_code == 200
    assert session(people.member).get(f"/jobs/{job.pk}").status_code == 404
    assert bearer(make_token(people.tenant, user=people.owner)).get(f"/jobs/{job.pk}").status_code == 404


@pytest.mark.parametrize(("verb", "state"), [("retry", JobState.FAILED), ("resume", JobState.SUSPENDED)])
def test_who_may_not_ask_for_a_job_may_not_start_it_again(
    people: People, owner: Client, staff: Client, verb: str, state: str
) -> None:
    """Staff may do what the owners of the tenant that the job belongs to may not."""
    job = queue.enqueue("ops:sweep", params={"model_name": "x"}, actor=SYSTEM, tenant_id=people.tenant.pk)
    Job.objects.filter(pk=job.pk).update(state=state)
    assert owner.get(f"/jobs/{job.pk}").status_code == 200
    assert post(owner, f"/jobs/{job.pk}/{verb}").status_code == 403
    assert Job.objects.get(pk=job.pk).state == state
    assert post(staff, f"/jobs/{job.pk}/{verb}").json()["state"] == "pending"


def test_jobs_are_filtered_ordered_and_counted(people: People, owner: Client) -> None:
    def job(type: str, state: str, service: str = "ollama") -> str:
        params = {"service_name": service}
        return Job.objects.create(type=type, state=state, tenant_id=people.tenant.pk, params=params, queue="models").pk

    one = job("ops:install", "completed")
    two = job("ops:pull", "failed", "lm-studio")
    three = job("probe", "running")

    def found(query: str) -> list[str]:
        answer = owner.get(f"/jobs?{query}").json()
        assert answer["count"] >= len(answer["results"])
        return [row["id"] for row in answer["results"]]

    assert found("") == [three, two, one]
    assert found("order=created_at") == [one, two, three]
    assert found("state=completed,failed") == found("status=failed,completed") == [two, one]
    assert found("state=completed&state=failed") == [two, one]
    assert found("type=install") == found("type=ops:install") == [one]
    assert found("type=install,credentials:probe") == [three, one]
    assert found("type=nothing") == []
    assert found("group=ops") == [two, one]
    assert found("service=lm-studio") == [two]
    assert found("active=true") == [three]
    assert found("tenant=other") == []
    page = owner.get("/jobs?page_size=2").json()
    assert (page["count"], len(page["results"])) == (3, 2)
    assert owner.get("/jobs?state=waiting").json()["fields"]["state"][0].startswith("“waiting” is no state.")
    assert owner.get("/jobs?order=lease").status_code == 400


def test_a_job_is_suspended_resumed_cancelled_retried_and_deleted(owner: Client) -> None:
    path = f"/jobs/{ask(owner, 'ops:pull').json()['id']}"
    assert post(owner, f"{path}/resume").status_code == 409
    assert post(owner, f"{path}/suspend").json()["state"] == "suspended"
    assert post(owner, f"{path}/suspend").json()["state"] == "suspended"
    assert owner.delete(path).status_code == 409
    assert post(owner, f"{path}/resume").json()["state"] == "pending"
    assert post(owner, f"{path}/retry").status_code == 409
    assert post(owner, f"{path}/cancel").json()["state"] == "cancelled"
    refused = post(owner, f"{path}/suspend")
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
    assert refused.json()["hint"]
    assert post(owner, f"{path}/retry").json()["state"] == "pending"
    post(owner, f"{path}/cancel")
    assert owner.delete(path).status_code == 204
    assert owner.get(path).status_code == 404
    assert not Job.objects.exists()


def test_a_type_that_cannot_be_suspended_says_what_to_do_instead(owner: Client) -> None:
    answer = post(owner, f"/jobs/{ask(owner).json()['id']}/suspend")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_suspendable")
    assert "Cancel" in answer.json()["hint"]


def test_progress_is_shown_with_bytes_rate_and_time_left(people: People, owner: Client) -> None:
    detail = {"done_bytes": 5, "total_bytes": 10, "rate_bytes_per_s": 1, "eta_s": 5, "step": "layer"}
    job = Job.objects.create(type="ops:pull", tenant_id=people.tenant.pk, progress=50, progress_detail=detail)
    assert owner.get(f"/jobs/{job.pk}").json()["progress_detail"] == detail


def test_types_say_what_they_want_and_whether_one_may(people: People, owner: Client, staff: Client) -> None:
    shown = owner.get("/job_types/install").json()
    assert shown == owner.get("/job_types/ops:install/").json() == owner.get("/api/job_types/ops:install/").json()
    assert shown["params_schema"] == {"type": "object", "additionalProperties": False, **PARAMS}
    assert (shown["who"], shown["may_start"], shown["description"]) == ("managers", True, "Install a model.")
    assert session(people.member).get("/job_types/install").json()["may_start"] is False
    listed = {row["id"]: row["may_start"] for row in staff.get("/job_types?page_size=100").json()["results"]}
    assert (listed["probe"], listed["ops:sweep"], listed["ops:install"]) == (False, True, True)
    assert owner.get("/job_types/nothing").status_code == 404
    assert owner.get("/job_groups/ops").json() == {
        "id": "ops", "description": "", "types": ["ops:install", "ops:pull", "ops:sweep"],
    }  # fmt: skip
    assert "credentials" in [row["id"] for row in owner.get("/job_groups").json()["results"]]
    assert Client().get("/job_types").status_code == 401


def test_a_path_below_jobs_that_nobody_serves_is_a_problem_document(owner: Client) -> None:
    job = ask(owner).json()["id"]
    for path in ("/jobs/x/y/z", f"/jobs/{job}/paint", "/job_types/a/b"):
        answer = owner.get(path)
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert owner.put("/jobs", {}, content_type="application/json").status_code == 405


def test_a_running_job_is_only_asked_to_stop(people: People, owner: Client) -> None:
    job = queue.enqueue("ops:pull", params={"model_name": "x"}, actor=SYSTEM, tenant_id=people.tenant.pk)
    Job.objects.update(state=JobState.RUNNING, lease="x", heartbeat_at=now())
    asked = post(owner, f"/jobs/{job.pk}/suspend").json()
    assert (asked["state"], asked["suspend_requested_at"] is not None) == ("running", True)
    early = post(owner, f"/jobs/{job.pk}/resume")
    assert (early.status_code, "in a moment" in early.json()["hint"]) == (409, True)
    asked = post(owner, f"/jobs/{job.pk}/cancel").json()
    assert (asked["state"], asked["cancel_requested_at"] is not None) == ("running", True)
    assert post(owner, f"/jobs/{job.pk}/suspend").status_code == 409
