"""Quirks of one model and credential: families of models, plain fields, and what happens to parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.families import FAMILIES
from providers.params import Params
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Operation

FACTORY: dict[str, Any] = {
    "version_path": "/v1",
    "params": {"rename": {"a": "b"}},
    "families": {
        "gpt-5*": {"params": {"drop": ["temperature"], "rename": {"max_tokens": "max_completion_tokens"}}},
        "gpt-5-chat*": {"params": {"drop": None, "default": {"n": 1}}},
        "*": {"probe": {"max_tokens": 8}},
    },
}


def quirks_of(model: str, own: dict[str, Any] | None = None, **fields: str) -> Quirks:
    merged = Quirks.from_data(FACTORY).merge(Quirks.from_data(own))
    return Target("F", model, "https://h", quirks=merged, credential=CredentialFields(fields)).quirks


@pytest.mark.parametrize("name", ["gpt-5", "GPT-5-Mini", "openai/gpt-5.4", "a/b/gpt-5"])
def test_a_family_counts_for_every_model_whose_name_fits(name: str) -> None:
    params = quirks_of(name).params
    assert params.drop == {"temperature"}
    assert params.rename == {"a": "b", "max_tokens": "max_completion_tokens"}
    assert quirks_of(name).version_path == "/v1"


@pytest.mark.parametrize("name", ["gpt-4o", "my-gpt-5", ""])
def test_another_model_is_not_of_the_family(name: str) -> None:
    assert quirks_of(name).params.drop == frozenset()
    assert quirks_of(name).probe_max_tokens == 8


def test_more_letters_count_more_and_a_models_own_quirks_most() -> None:
    closer = quirks_of("gpt-5-chat-latest")
    assert (closer.params.drop, closer.params.default, closer.probe_max_tokens) == (frozenset(), {"n": 1}, 8)
    own = quirks_of("gpt-5-mini", {"params": {"drop": ["seed"], "rename": None}, "probe": {"max_tokens": 64}})
    assert (own.params.drop, own.params.rename, own.probe_max_tokens) == ({"seed"}, {}, 64)


@pytest.mark.parametrize("vendor", FAMILIES)
def test_what_is_known_of_families_is_sound(vendor: str) -> None:
    assert Quirks.from_data({"families": FAMILIES[vendor]}).families == FAMILIES[vendor]
    for pattern in FAMILIES[vendor]:
        name = pattern.replace("[-.]", "-").replace("[156]", "5").replace("[78]", "7").replace("*", "x")
        sold = Target("F", name, "https://h", quirks=Quirks.from_data({"sells": [vendor]})).quirks
        assert sold.sells == ()
        assert sold.params != Quirks().params or pattern == "gpt-5-chat*"


def test_a_rows_own_families_come_after_those_of_whom_it_sells() -> None:
    row = Quirks.from_data({"sells": ["openai"], "families": {"gpt-5-lite*": {"params": {"drop": ["seed"]}}}})
    assert Target("F", "gpt-5-lite", "https://h", quirks=row).quirks.params.drop == {"seed"}
    assert "temperature" in Target("F", "gpt-5", "https://h", quirks=row).quirks.params.drop


@given(st.text(max_size=12), st.sampled_from([None, {"params": {"drop": ["seed"]}}]))
def test_what_is_resolved_stays_as_it_is(name: str, own: dict[str, Any] | None) -> None:
    target = Target("F", name, "https://h", quirks=Quirks.from_data(FACTORY).merge(Quirks.from_data(own)))
    changed = replace(target, quirks=replace(target.quirks, version_path=""))
    assert changed.quirks == replace(target.quirks, version_path="")
    assert target.quirks.resolved(name, {}) is target.quirks


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"families": {"GPT-5*": {}}}, "quirks.families.GPT-5*: "),
        ({"families": {"": {}}}, "quirks.families.: "),
        ({"families": {"a*": []}}, "quirks.families.a*: "),
        (
            {"families": {"a*": {"base_urls": {"chat": "https://evil.example"}}}},
            "quirks.families.a*.base_urls: unknown",
        ),
        ({"families": {"a*": {"families": {}}}}, "quirks.families.a*.families: unknown"),
        ({"families": {"a*": {"params": {"drop": "x"}}}}, "quirks.families.a*.params.drop: "),
        ({"sells": ["acme"]}, "quirks.sells[0]: "),
        ({"sells": "openai"}, "quirks.sells: "),
        ({"params": {"one_of": ["temperature"]}}, "quirks.params.one_of[0]: "),
        ({"params": {"unstreamed": []}}, "quirks.params.unstreamed: "),
        ({"params_for": {"chatt": {}}}, "quirks.params_for.chatt: "),
        ({"params_for": {"chat": {"droop": []}}}, "quirks.params_for.chat.droop: unknown"),
        ({"field_params": {"a": "b"}}, "quirks.field_params.a: "),
        ({"query": {"a": ""}}, "quirks.query.a: "),
        ({"voice": 5}, "quirks.voice: "),
        ({"uncallable": {"chat": ""}}, "quirks.uncallable.chat: "),
        ({"uncallable": {"vision": "x"}}, "quirks.uncallable.vision: "),
        ({"embedding": {"batch_tokens": 0}}, "quirks.embedding.batch_tokens: "),
        ({"probe": {"pdf": 1}}, "quirks.probe.pdf: "),
    ],
)
def test_an_error_begins_with_the_path_of_what_is_wrong(data: Any, path: str) -> None:
    with pytest.raises(ValueError, match="quirks") as caught:
        Quirks.from_data(data)
    assert str(caught.value).startswith(path)


# Parameters


def applied(data: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    return Params.read(data, "params").apply(payload)


def test_of_two_parameters_that_exclude_each_other_the_first_given_is_sent() -> None:
    rule = {"one_of": [["temperature", "top_p"]]}
    assert applied(rule, {"temperature": 0.1, "top_p": 0.3, "n": 1}) == {"temperature": 0.1, "n": 1}
    assert applied(rule, {"top_p": 0.3}) == {"top_p": 0.3}
    assert applied(rule, {"temperature": None, "top_p": 0.3}) == {"temperature": None, "top_p": 0.3}
    assert applied({**rule, "default": {"temperature": 1}}, {"top_p": 0.3}) == {"temperature": 1, "top_p": 0.3}


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        ({}, {"think": False}),
        ({"stream": False}, {"stream": False, "think": False}),
        ({"stream": True}, {"stream": True}),
        ({"think": True}, {"think": True}),
    ],
)
def test_a_default_may_be_one_of_calls_that_do_not_stream(payload: dict[str, Any], sent: dict[str, Any]) -> None:
    assert applied({"unstreamed": {"think": False}}, payload) == sent


def test_parameters_of_one_operation_come_after_those_of_all() -> None:
    quirks = Quirks.from_data(
        {
            "params": {"rename": {"top_n": "k"}, "default": {"a": 1}},
            "params_for": {"rerank": {"rename": {"k": "top_k"}, "drop": ["a"]}, "embedding": {"default": {"b": 2}}},
        }
    )
    assert quirks.apply_params(Operation.RERANK, {"top_n": 3}) == {"top_k": 3}
    assert quirks.apply_params(Operation.EMBEDDINGS, {"top_n": 3}) == {"k": 3, "a": 1, "b": 2}
    assert quirks.apply_params(Operation.CHAT, {}) == {"a": 1}


# A credential's plain fields

ROUTING = {
    "field_params": {"order": {"provider": {"order": "{list}", "by": "for {value}", "fallbacks": False}, "x": 1}}
}


def target(data: dict[str, Any], **fields: str) -> Target:
    return Target("F", "m", "https://h/v1", quirks=Quirks.from_data(data), credential=CredentialFields(fields))


def test_a_plain_field_adds_to_a_request_that_does_not_say_it_itself() -> None:
    to = target(ROUTING, order=" a, b ,,c")
    added = {"provider": {"order": ["a", "b", "c"], "by": "for  a, b ,,c", "fallbacks": False}, "x": 1}
    assert to.quirks.apply_params(Operation.CHAT, {}) == added
    assert to.quirks.apply_params(Operation.CHAT, {"provider": {"sort": "price"}, "x": 2}) == {
        "provider": {"sort": "price"},
        "x": 2,
    }
    for without in (target(ROUTING), target(ROUTING, order="")):
        assert without.quirks.apply_params(Operation.CHAT, {}) == {}


def test_a_plain_field_may_be_asked_for_in_the_url() -> None:
    data = {"query": {"GroupId": "group_id"}}
    url = target(data, group_id="1&2 é").url_for(Operation.CHAT, "/chat/completions")
    assert url == "https://h/v1/chat/completions?GroupId=1%262+%C3%A9"
    assert target(data).url_for(Operation.CHAT, "/chat/completions") == "https://h/v1/chat/completions"


@pytest.mark.parametrize(
    ("data", "voice"),
    [({}, "alloy"), ({"voice": "x"}, "x"), ({"voice": "{model}:anna"}, "a/b:anna"), ({"voice": ""}, "")],
)
def test_a_voice_is_the_rows_or_else_the_wire_formats(data: dict[str, Any], voice: str) -> None:
    assert Quirks.from_data(data).voice_for("a/b", "alloy") == voice
