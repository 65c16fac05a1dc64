"""Kinds of jobs, as data: every one that is listed works, and params are checked before there is a row."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings as configured
from django.utils.module_loading import import_string
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from core.audit import SYSTEM
from core.errors import InvalidInput
from jobs.models import Job
from jobs.services import queue, types
from jobs.services.types import JobType, Who
from llmadmin.job_types import JOB_TYPES

INSTALL = JobType(
    id="llm_model_ops:install",
    handler="",
    params={
        "properties": {
            "model_name": {"type": "string", "minLength": 1, "maxLength": 9},
            "service_name": {"type": "string", "default": "ollama"},
            "mode": {"enum": ["fast", "slow"]},
            "parts": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["model_name"],
    },
)


@pytest.mark.parametrize("id", JOB_TYPES)
def test_every_type_has_a_handler_a_group_and_a_schema_that_hold(id: str) -> None:
    job_type = types.must_find(id)
    assert callable(import_string(job_type.handler))
    assert not job_type.prepare or callable(import_string(job_type.prepare))
    Draft202012Validator.check_schema(job_type.params_schema)
    assert job_type.queue in configured.JOB_QUEUES
    assert job_type.group in configured.JOB_GROUPS
    assert job_type.description
    for name in job_type.aliases:
        assert types.must_find(name) is job_type


def test_ids_and_aliases_are_unique() -> None:
    names = [name for one in types.all_types() for name in (one.id, *one.aliases)]
    assert len(names) == len(set(names))


def test_group_and_name_follow_from_the_id() -> None:
    assert (types._from_data("a:b", {"handler": "x"}).group, JobType(id="a:b", handler="x").name) == ("a", "b")
    assert types._from_data("b", {"handler": "x", "who": "staff"}).who is Who.STAFF


@pytest.mark.parametrize(
    ("params", "field", "text"),
    [
        ({}, "params.model_name", "required"),
        ({"model_name": ""}, "params.model_name", "at least 1 character"),
        ({"model_name": "x" * 10}, "params.model_name", "at most 9"),
        ({"model_name": 5}, "params.model_name", "type string"),
        ({"model_name": "x", "model": "y"}, "params.model", "no such field"),
        ({"model_name": "x", "mode": "hasty"}, "params.mode", "one of: fast, slow"),
        ({"model_name": "x", "parts": [1, "2"]}, "params.parts.1", "type integer"),
        ({"model_name": "x", "service_name": None}, "params.service_name", "type string"),
        ([], "params", "object"),
        ("install", "params", "object"),
        (None, "params", "object"),
    ],
)
def test_a_wrong_param_is_named_and_its_value_is_not_repeated(params: Any, field: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        INSTALL.check(params)
    assert list(caught.value.fields) == [field]
    assert text in caught.value.fields[field][0]


def test_all_faults_are_told_at_once_and_defaults_are_filled_in() -> None:
    with pytest.raises(InvalidInput) as caught:
        INSTALL.check({"mode": "x", "other": 1})
    assert set(caught.value.fields) == {"params.model_name", "params.mode", "params.other"}
    assert INSTALL.check({"model_name": "x"}) == {"model_name": "x", "service_name": "ollama"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(params=st.dictionaries(st.sampled_from(["model_name", "mode", "parts", "x"]) | st.text(), json_values))
def test_any_params_are_taken_or_refused(params: dict[str, Any]) -> None:
    try:
        taken = INSTALL.check(params)
    except InvalidInput as error:
        assert error.fields and all(name.startswith("params") for name in error.fields)
        assert len(error.fields) <= 20
    else:
        assert set(taken) <= {"model_name", "service_name", "mode", "parts"}


@pytest.mark.django_db
def test_params_that_a_type_does_not_have_make_no_job() -> None:
    with pytest.raises(InvalidInput):
        queue.enqueue("probe", params={"credential": "x"}, actor=SYSTEM)
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_a_job_asked_for_by_an_alias_has_the_types_own_name_and_limits() -> None:
    job = queue.enqueue("maintenance:rotate_secrets", params={}, actor=SYSTEM)
    assert (job.type, job.queue, job.timeout_s, job.max_attempts) == ("rotate_secrets", "maintenance", 86_400, 20)
