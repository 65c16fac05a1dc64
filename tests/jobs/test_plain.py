"""What is kept with a job: bounded, storable, no secret."""

from __future__ import annotations

from typing import Any

import pytest

from core.audit import SYSTEM
from core.errors import InvalidInput
from jobs.models import Job, JobState
from jobs.services import queue, requests, runner
from jobs.services.plain import MAX_DEPTH, MAX_PARAMS_BYTES, storable
from tests.api.world import bearer
from tests.people import People, make_token

pytestmark = pytest.mark.django_db
PREFIX = f"{__name__}."


def say_odd_things(ctx: Any) -> dict[str, Any]:
    ctx.progress(10, "half a \ud83d pair \x00 and NUL", step="\x00step \udc00")
    ctx.save_checkpoint({"a\x00": ["\ud83d"]})
    return {"a\x00b": "c\x00\ud83d"}


def count_no_number(ctx: Any) -> dict[str, Any]:
    return {"share": float("nan")}


@pytest.fixture(autouse=True)
def odd_types(settings: Any) -> None:
    anything = {"params": {"additionalProperties": True}, "who": "members"}
    settings.JOB_TYPES = {
        **settings.JOB_TYPES,
        "odd": {**anything, "handler": PREFIX + "say_odd_things"},
        "nan": {**anything, "handler": PREFIX + "count_no_number"},
    }


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"name": "a\x00b"}, "params.name"),
        ({"options": {"a\x00": 1}}, "params.options.a"),
        ({"options": nested(MAX_DEPTH)}, "params.options.a"),
        ({"options": "x" * MAX_PARAMS_BYTES}, "params"),
        ({"path": "https://me:hunter2@models.example/a.gguf"}, "params.path"),
        ({"options": [{"api_key": "hunter2"}]}, "params.options.0.api_key"),
        ({"options": {"hf_token": "hunter2"}}, "params.options.hf_token"),
        ({"token": "hunter2"}, "params.token"),
    ],
)
def test_params_that_cannot_be_kept_are_refused_where_they_are_wrong(
    people: People, params: dict[str, Any], field: str
) -> None:
    client = bearer(make_token(people.tenant, user=people.owner))
    answer = client.post("/jobs", {"type": "odd", "params": params}, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert list(answer.json()["fields"]) == [field]
    assert b"hunter2" not in answer.content
    assert not Job.objects.exists()


def test_bottomless_params_are_refused(people: People) -> None:
    client = bearer(make_token(people.tenant, user=people.owner))
    deep = '{"a":' * 1000 + "1" + "}" * 1000
    body = f'{{"type": "odd", "params": {{"options": {deep}}}}}'
    assert client.post("/jobs", body, content_type="application/json").status_code == 400


@pytest.mark.parametrize(
    "params",
    [
        {"path": "https://models.example/a.gguf?download=true"},
        {"path": "hf://me@models.example:8443/a:b@c"},
        {"options": {"max_tokens": 5, "tokenizer": "x", "keep_alive": "30m", "key": 1}, "more": nested(MAX_DEPTH - 3)},
        {"options": "x" * (MAX_PARAMS_BYTES - 100)},
    ],
)
def test_usual_params_are_kept(params: dict[str, Any]) -> None:
    made = requests.submit("odd", params=params, actor=SYSTEM, tenant_id="t1", role="member")
    assert made.job.params == params


def test_a_service_with_nul_in_its_name_is_no_fault_of_ours(people: People) -> None:
    client = bearer(make_token(people.tenant, user=people.owner))
    params = {"service_name": "a\x00", "model_name": "b"}
    answer = client.post("/jobs", {"type": "install", "params": params}, content_type="application/json")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["params.service_name"])


def test_what_no_database_takes_ends_no_job() -> None:
    job = queue.enqueue("odd", params={}, actor=SYSTEM)
    assert runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result) == (JobState.COMPLETED, {"ab": "c?"})
    assert job.checkpoint == {"a": ["?"]}


def test_a_result_that_is_no_json_fails_at_once() -> None:
    job = queue.enqueue("nan", params={}, actor=SYSTEM)
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "internal_error")


def test_storable_leaves_the_rest_alone() -> None:
    assert storable({"a": [1, None, True, 1.5, "ü🦙"]}) == {"a": [1, None, True, 1.5, "ü🦙"]}


def test_the_check_names_a_few_faults_only() -> None:
    with pytest.raises(InvalidInput) as caught:
        requests.submit("odd", params={f"k{n}": "\x00" for n in range(99)}, actor=SYSTEM, tenant_id="t", role="member")
    assert len(caught.value.fields) == 20
