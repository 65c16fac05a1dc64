"""Every builder of a request, whatever its dialect and operation: a request, or an UpstreamError that says why not."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import dialects
from providers.errors import UpstreamError
from providers.llm_types import LLMType
from providers.probe_payloads import probe_payload
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Operation, UpstreamRequest, operation_for
from tests.providers.values import anything, mutated, paths, put

GOLDEN = Path(__file__).parent / "golden"
BUILDERS = [(name, one) for name in dialects.names() for one in sorted(dialects.operations(name))]
every_builder = pytest.mark.parametrize(("dialect", "operation"), BUILDERS, ids=[f"{a}-{b}" for a, b in BUILDERS])
PLAIN = Target("F", "m", "https://h/v1")


@cache
def cases(dialect: str, operation: Operation) -> tuple[tuple[Target, dict[str, Any]], ...]:
    """Targets and payloads from which a request is built: the golden ones, and that of a probe."""
    found = [] if operation is Operation.MODELS else _probes(operation)
    for file in sorted((GOLDEN / dialect).glob("*.json")):
        case = json.loads(file.read_text())
        if "payload" in case:
            quirks = Quirks.from_data(case.get("quirks"))
            credential = CredentialFields(case["fields"] if isinstance(case.get("fields"), dict) else {})
            to = Target("F", case["model"], case["base_url"], dialect, quirks=quirks, credential=credential)
            file = {"file": base64.b64decode(case["file_base64"])} if "file_base64" in case else {}
            found += [(to, {**case["payload"], **file})] + [(to, payload) for _, payload in _probes(operation)]
    return tuple(found) or ((PLAIN, {}),)


def _probes(operation: Operation) -> list[tuple[Target, dict[str, Any]]]:
    kinds = [kind for kind in LLMType if operation_for(kind) is operation]
    return [(PLAIN, probe_payload(kind, PLAIN.quirks)) for kind in kinds]


def build(dialect: str, operation: Operation, payload: Any, target: Target) -> UpstreamRequest | None:
    try:
        request = dialects.get(dialect).build(operation, payload, target)
    except UpstreamError as error:
        assert error.step == "build"
        assert error.message
        return None
    assert request.method in ("GET", "POST")
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in request.headers.items())
    assert not any(mark in text for text in request.headers.values() for mark in "\r\n\0")
    assert request.url.isascii() and request.url.isprintable() and " " not in request.url
    return request


@every_builder
def test_it_builds_one_of_these(dialect: str, operation: Operation) -> None:
    assert any(build(dialect, operation, payload, to) for to, payload in cases(dialect, operation))


@every_builder
@settings(max_examples=50)
@given(data=st.data())
def test_a_payload_that_is_almost_right_raises_nothing_but_upstream_errors(
    dialect: str, operation: Operation, data: st.DataObject
) -> None:
    to, payload = data.draw(st.sampled_from(cases(dialect, operation)))
    changed = data.draw(mutated(payload))
    if isinstance(changed, dict):
        build(dialect, operation, changed, to)


@every_builder
@settings(max_examples=25)
@given(payload=st.dictionaries(st.text(max_size=8), anything, max_size=4), model=st.text(max_size=12))
def test_any_payload_and_model_raise_nothing_but_upstream_errors(
    dialect: str, operation: Operation, payload: dict[str, Any], model: str
) -> None:
    for to, given_ in cases(dialect, operation)[:3]:
        named = Target(to.factory, model, to.base_url, quirks=to.quirks, credential=to.credential)
        build(dialect, operation, {**given_, **payload}, named)
        build(dialect, operation, payload, to)


class Strange:
    """Nothing that JSON knows."""


@every_builder
def test_what_json_cannot_hold_raises_nothing_but_upstream_errors(dialect: str, operation: Operation) -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = {"a": [deep]}
    odds = (deep, "[" * 400 + "]" * 400, Strange(), {1, 2}, b"\xff", "\ud800", float("nan"), {1: "x"}, {"\ud800": 1})
    for to, payload in cases(dialect, operation):
        for path in paths(payload):
            for odd in (*odds, 10**400):
                if path:
                    build(dialect, operation, put(payload, path, odd), to)


@every_builder
def test_a_payload_is_not_changed(dialect: str, operation: Operation) -> None:
    for to, payload in cases(dialect, operation):
        before = repr(payload)
        build(dialect, operation, payload, to)
        assert repr(payload) == before
