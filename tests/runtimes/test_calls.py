"""How a service's models are called: places, formats, keys, times, and prices, from rows and drivers."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.origins import origin_of
from core.secrets import SecretError, seal
from providers.wire import Operation
from runtimes import drivers
from runtimes.models import LLMService, ModelState, ServiceModel
from runtimes.services import calls

CHAT = Operation.CHAT


def model(
    name: str = "m", *, kinds: tuple[str, ...] = ("chat",), state: str = "loaded", **service: Any
) -> ServiceModel:
    row = LLMService(**{"name": "den", "type": "ollama", **service})
    return ServiceModel(service=row, name=name, model_types=list(kinds), state=state)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def url_of(row: ServiceModel, operation: Operation = CHAT, path: str = "/chat/completions") -> str:
    return calls.ways(row)[0].targets[operation].url_for(operation, path)


def test_each_url_is_a_way_of_its_own() -> None:
    urls = ["http://10.0.0.1:11434", "https://b.example/v1"]
    ways = calls.ways(model(urls=urls))
    assert [way.url for way in ways] == urls
    assert [way.targets[CHAT].url_for(CHAT, "/chat/completions") for way in ways] == [
        "http://10.0.0.1:11434/v1/chat/completions", "https://b.example/v1/chat/completions",
    ]  # fmt: skip


@pytest.mark.parametrize("type", sorted(drivers.installed()))
def test_without_a_url_a_service_is_where_its_driver_usually_finds_it(type: str) -> None:
    driver = drivers.get(type)
    ways = calls.ways(model(type=type, kinds=("chat", "embedding", "rerank")))
    assert tuple(way.url for way in ways) == driver.default_urls
    for way in ways:
        assert way.targets, type
        for target in way.targets.values():
            assert target.upstream_model == "m"


def test_the_rows_format_counts_more_than_the_drivers() -> None:
    target = calls.ways(model(type="anthropic"))[0].targets[CHAT]
    assert (target.dialect, target.signer) == ("anthropic", "header:x-api-key")
    target = calls.ways(model(type="anthropic", api_format="openai"))[0].targets[CHAT]
    assert (target.dialect, target.signer) == ("openai", "bearer")
    assert url_of(model(type="anthropic", api_format="openai")) == "https://api.anthropic.com/v1/chat/completions"
    native = calls.ways(model(api_format="ollama"))[0].targets[CHAT]
    assert native.url_for(CHAT, "/api/chat") == "http://127.0.0.1:11434/api/chat"


def test_what_a_model_has_no_use_for_has_no_target() -> None:
    assert calls.ways(model(kinds=()))[0].targets == {}
    assert set(calls.ways(model(kinds=("embedding",)))[0].targets) == {Operation.EMBEDDINGS}
    assert set(calls.ways(model(kinds=("chat", "image2text")))[0].targets) == {CHAT}


def test_the_operators_quirks_are_laid_over_the_drivers() -> None:
    options = {"quirks": {"params": {"default": {"top_k": 3}}}}
    target = calls.ways(model(type="gpt4all", options=options))[0].targets[CHAT]
    sent = target.quirks.apply_params(CHAT, {"model": "m", "messages": []})
    assert sent["top_k"] == 3
    assert sent["max_tokens"] == 2048  # the driver's is still there


def test_a_stored_key_counts_more_than_a_variable(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SERVICE_KEY_VARIABLES = [("DEN_KEY", "https://a.example:443")]
    url = "https://a.example"
    service = LLMService(name="den", type="ollama", urls=[url], api_key_env_var="DEN_KEY")
    assert calls.key(service, url) is None
    monkeypatch.setenv("DEN_KEY", "from-the-environment")
    found = calls.key(service, url)
    assert found is not None
    assert found.reveal(origin=origin_of(url)) == "from-the-environment"
    service.secret = seal("stored", owner=service.owner, origin=origin_of(url))
    found = calls.key(service, url)
    assert found is not None
    assert found.reveal(origin=origin_of(url)) == "stored"
    assert "stored" not in repr(calls.ways(ServiceModel(service=service, name="m", model_types=["chat"])))


def test_a_variable_whose_file_cannot_be_read_is_told_of_without_its_place(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SERVICE_KEY_VARIABLES = [("DEN_KEY", "")]
    monkeypatch.setenv("DEN_KEY_FILE", "/nowhere/at/all")
    with pytest.raises(SecretError) as refused:
        calls.key(LLMService(name="den", api_key_env_var="DEN_KEY"), "https://a.example")
    assert "/nowhere" not in str(refused.value)


def test_a_policy_is_the_services(settings: Any) -> None:
    settings.ALLOWED_NETWORKS = ["10.0.0.0/8"]
    row = LLMService(
        type="ollama", allowed_networks=["127.0.0.0/8"], short_timeout_s=2, long_timeout_s=77, verify_cert=False
    )
    policy = calls.policy(row)
    assert [str(network) for network in policy.allowed_networks] == ["10.0.0.0/8", "127.0.0.0/8"]
    assert (policy.connect_timeout_s, policy.total_timeout_s, policy.verify_tls) == (2.0, 77.0, False)
    assert [calls.policy(LLMService(type=type)).in_process for type in ("ollama", "mock")] == [False, True]


@pytest.mark.parametrize(
    ("type", "state", "seen", "waits"),
    [("mock", "not loaded", {}, True), ("mock", "loading", {}, True), ("mock", "loaded", {}, False),
     ("mock", "not loaded", {"load_model": False}, False), ("ollama", "not loaded", {}, False),
     ("mock", "unknown", {}, False)],
)  # fmt: skip
def test_only_what_nobody_else_loads_is_waited_for(type: str, state: str, seen: dict[str, bool], waits: bool) -> None:
    assert ModelState(state)
    assert calls.waits_for_load(model(type=type, state=state, capabilities=seen)) is waits


def test_the_longest_pattern_says_the_price() -> None:
    prices = {"*": {"input": 0, "output": "0"}, "big-*": {"input": "1.5", "output": 3, "cached_input": "0.1"}}
    found = calls.prices(model("big-one", options={"prices": prices}))
    assert found == calls.Prices(Decimal("1.5"), Decimal(3), Decimal("0.1"))
    assert calls.prices(model("small", options={"prices": prices})) == calls.Prices(Decimal(0), Decimal(0))
    assert calls.prices(model("small", options={"prices": {"big-*": prices["*"]}})) is None
    assert calls.prices(model()) is None


@pytest.mark.parametrize(
    "options",
    [[], {"prices": 1}, {"prices": {"*": 1}}, {"prices": {"*": {"input": 1}}}, {"quirks": {"nonsense": 1}},
     {"prices": {"*": {"input": True, "output": 1}}}, {"prices": {"*": {"input": "NaN", "output": 1}}},
     {"prices": {"*": {"input": -1, "output": 1}}}, {"prices": {"*": {"input": 1, "output": 1, "x": 1}}},
     {"prices": {"*": {"input": 1e9, "output": 1}}}, {"quirks": 7}, {"prices": {"[a-c]*": {"input": 1}}},
     {"x": "\0"}, {"\0": 1}, {"x": "\ud800"}, {"x": float("nan")}, {"x": date(2026, 1, 1)}, {"x": "y" * 70_000},
     {"x": nested(200)}, {"x": nested(3000)}, {"managers_may": "unload"}, {"managers_may": 1},
     {"managers_may": ["all"]}, {"managers_may": [["load"]]}],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        calls.check_options(options)
    assert list(refused.value.fields) == ["options"]


@pytest.mark.parametrize(
    "options",
    [{}, {"prices": {}}, {"prices": {"[a-c]*": {"input": None, "output": "1"}}}, {"x": 1}, {"managers_may": ["load"]}],
)
def test_options_that_make_sense_are_not(options: Any) -> None:
    calls.check_options(options)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["*", "input", "output", "x"]), inner),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={"prices": JSON, "quirks": JSON}))
def test_no_options_do_anything_but_pass_or_be_refused(options: dict[str, Any]) -> None:
    try:
        calls.check_options(options)
    except InvalidInput:
        return
    calls.prices(model("anything", options=options))
    assert calls.ways(model(options=options))
