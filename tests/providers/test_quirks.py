"""Declared differences: checked, merged, applied; and the URLs and names that come of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from providers.base_urls import clean_base_url
from providers.errors import WrongURL
from providers.llm_types import LLMType
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Operation

WHOLE: dict[str, Any] = {
    "version_path": "/v1",
    "paths": {"chat": "/chat", "embedding": "/embed"},
    "base_urls": {"rerank": "https://rerank.example/v2/", "models": "https://list.{region}.vendor.example"},
    "token_url": "https://sts.{region}.vendor.example",
    "dialects": {"rerank": "jina"},
    "signers": {"speech2text": "header:authorization:Token"},
    "params": {
        "allow": ["temperature"],
        "drop": ["seed"],
        "rename": {"max_completion_tokens": "max_tokens"},
        "default": {"temperature": 0.3},
        "bounds": {"temperature": [0, 1], "top_p": [None, 0.9]},
    },
    "region_base_urls": {"global": "https://api.vendor.example/"},
    "publishers": {"claude-": "anthropic", "claude-own-": "us"},
    "strip_suffix": "___",
    "name_map": {"Spark-Max": "generalv3.5"},
    "model_field": "endpoint_id",
    "no_model_list": True,
    "public_model_list": True,
    "listings": [{"path": "/api/v0/models", "root": True}, {"dialect": "tei", "query": {"all": "yes"}}],
    "embedding": {"batch": 4, "max_tokens": 2048, "input_type": {"document": "passage", "query": "query"}},
    "probe": {"timeout_s": 5, "max_tokens": 32},
}


def test_every_known_quirk_is_read() -> None:
    quirks = Quirks.from_data(WHOLE)
    assert quirks.path_for(Operation.CHAT, "/x") == "/chat"
    assert quirks.path_for(Operation.EMBEDDINGS, "/x") == "/embed"
    assert quirks.path_for(Operation.MODELS, "/models") == "/models"
    assert quirks.base_url_for(Operation.RERANK) == "https://rerank.example/v2"
    assert quirks.base_url_for(Operation.MODELS, {"region": "eu-west-1"}) == "https://list.eu-west-1.vendor.example"
    assert quirks.base_url_for(Operation.MODELS, {"region": "evil.example/"}) == ""
    assert quirks.base_url_for(Operation.CHAT) == ""
    assert quirks.token_url_for({"region": "eu-west-1"}) == "https://sts.eu-west-1.vendor.example"
    assert quirks.token_url_for({"region": "evil.example/"}) == quirks.token_url_for({}) == ""
    names = ("claude-x", "claude-own-x", "claude", "my-claude-x")
    assert [quirks.publisher_of(name) for name in names] == ["anthropic", "us", None, None]
    methods = Quirks.from_data({"embedding": {"methods": {"g-2": "embed"}}})
    assert (methods.embedding_method("g-2-preview"), methods.embedding_method("g-1")) == ("embed", None)
    assert quirks.dialect_for(LLMType.RERANK) == "jina"
    assert quirks.dialect_for("chat") is None
    assert quirks.signers == {LLMType.SPEECH2TEXT: "header:authorization:Token"}
    assert (quirks.embedding_batch, quirks.embedding_max_tokens) == (4, 2048)
    assert (quirks.probe_timeout_s, quirks.probe_max_tokens) == (5.0, 32)
    assert quirks.no_model_list
    assert quirks.public_model_list
    assert [(place.path, place.root, place.dialect, dict(place.query)) for place in quirks.listings] == [
        ("/api/v0/models", True, "", {}),
        ("", False, "tei", {"all": "yes"}),
    ]


def test_no_quirks_change_nothing() -> None:
    for data in ({}, None):
        quirks = Quirks.from_data(data)
        payload = {"messages": [], "temperature": 7, "anything": None}
        assert quirks.apply_params(Operation.CHAT, payload) == payload
        assert quirks.model_name("a___b") == "a___b"
    assert Quirks.from_data({}).probe_max_tokens == 16


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ([], "quirks: "),
        ("x", "quirks: "),
        ({"nonsense": 1}, "quirks.nonsense: unknown"),
        ({"version_path": "v1"}, "quirks.version_path: "),
        ({"version_path": "/v1?x=1"}, "quirks.version_path: "),
        ({"version_path": "/../admin"}, "quirks.version_path: "),
        ({"paths": {"chatt": "/x"}}, "quirks.paths.chatt: "),
        ({"paths": []}, "quirks.paths: "),
        ({"base_urls": {"rerank": "ftp://x"}}, "quirks.base_urls.rerank: "),
        ({"base_urls": {"rerank": "https://u:p@x"}}, "quirks.base_urls.rerank: "),
        ({"token_url": "https://{host}"}, "quirks.token_url: "),
        ({"region_base_urls": {"global": "ftp://x"}}, "quirks.region_base_urls.global: "),
        ({"publishers": {"claude-": 5}}, "quirks.publishers.claude-: "),
        ({"embedding": {"methods": ["x"]}}, "quirks.embedding.methods: "),
        ({"token_url": "ftp://x"}, "quirks.token_url: "),
        ({"dialects": {"vision": "x"}}, "quirks.dialects.vision: "),
        ({"signers": {"chat": ""}}, "quirks.signers.chat: "),
        ({"params": {"bounds": {"temperature": 1}}}, "quirks.params.bounds.temperature: "),
        ({"params": {"bounds": {"temperature": [1, 0]}}}, "quirks.params.bounds.temperature: "),
        ({"params": {"bounds": {"temperature": [0, "1"]}}}, "quirks.params.bounds.temperature[1]: "),
        ({"params": {"bounds": {"temperature": [0, float("nan")]}}}, "quirks.params.bounds.temperature[1]: "),
        ({"params": {"drop": "seed"}}, "quirks.params.drop: "),
        ({"params": {"drop": ["seed", 1]}}, "quirks.params.drop[1]: "),
        ({"params": {"rename": {"a": ""}}}, "quirks.params.rename.a: "),
        ({"params": {"droop": []}}, "quirks.params.droop: unknown"),
        ({"no_model_list": "yes"}, "quirks.no_model_list: "),
        ({"listings": {"path": "/x"}}, "quirks.listings: "),
        ({"listings": [{"path": "/x?y=1"}]}, "quirks.listings[0].path: "),
        ({"listings": [{}, {"root": 1}]}, "quirks.listings[1].root: "),
        ({"listings": ["/x"]}, "quirks.listings[0]: "),
        ({"embedding": {"batch": 0}}, "quirks.embedding.batch: "),
        ({"embedding": {"batch": True}}, "quirks.embedding.batch: "),
        ({"embedding": {"input_type": {"text": "x"}}}, "quirks.embedding.input_type.text: "),
        ({"probe": {"timeout_s": 0}}, "quirks.probe.timeout_s: "),
        ({"probe": {"timeout_s": float("inf")}}, "quirks.probe.timeout_s: "),
        ({"strip_suffix": ""}, "quirks.strip_suffix: "),
    ],
)
def test_an_error_begins_with_the_path_of_what_is_wrong(data: Any, path: str) -> None:
    with pytest.raises(ValueError, match="quirks") as caught:
        Quirks.from_data(data)
    assert str(caught.value).startswith(path)


def test_a_models_quirks_lie_over_its_factorys() -> None:
    model = {
        "params": {"bounds": {"temperature": [0, 2]}, "default": {"temperature": None, "top_p": 0.5}, "drop": ["n"]},
        "strip_suffix": None,
        "probe": {"max_tokens": 64},
    }
    merged = Quirks.from_data(WHOLE).merge(Quirks.from_data(model))
    assert merged.params.bounds == {"temperature": (0, 2), "top_p": (None, 0.9)}
    assert merged.params.default == {"top_p": 0.5}
    assert merged.params.drop == {"n"}
    assert merged.strip_suffix == ""
    assert (merged.probe_timeout_s, merged.probe_max_tokens) == (5.0, 64)
    assert merged.version_path == "/v1"
    assert merged == Quirks.from_data(merged.data)


def test_neither_merging_nor_applying_changes_what_went_in() -> None:
    before = copy.deepcopy(WHOLE)
    data = copy.deepcopy(WHOLE)
    data["params"]["default"]["stop"] = ["a"]
    data["params"]["allow"] = []
    quirks = Quirks.from_data(data)
    payload: dict[str, Any] = {"messages": [{"role": "user"}], "max_completion_tokens": 5, "seed": 1}
    result = quirks.apply_params(Operation.CHAT, payload)
    result["stop"].append("b")
    assert payload == {"messages": [{"role": "user"}], "max_completion_tokens": 5, "seed": 1}
    assert quirks.apply_params(Operation.CHAT, payload)["stop"] == ["a"]
    quirks.merge(Quirks.from_data({"version_path": "/v9"}))
    assert before == WHOLE
    assert quirks.version_path == "/v1"


def test_parameters_are_renamed_then_allowed_dropped_defaulted_and_bounded() -> None:
    quirks = Quirks.from_data(
        {
            "params": {
                "rename": {"max_completion_tokens": "max_tokens"},
                "allow": ["temperature", "max_tokens", "top_p", "seed"],
                "drop": ["seed"],
                "default": {"temperature": 5},
                "bounds": {"temperature": [0, 1], "max_tokens": [None, 100], "top_p": [0.1, None]},
            }
        }
    )
    payload = {"model": "m", "messages": [1], "max_completion_tokens": 500, "seed": 1, "logprobs": True, "top_p": 0}
    assert quirks.apply_params(Operation.CHAT, payload) == {
        "model": "m",
        "messages": [1],
        "max_tokens": 100,
        "temperature": 1,
        "top_p": 0.1,
    }


def test_a_renamed_parameter_does_not_overwrite_one_that_is_given() -> None:
    quirks = Quirks.from_data({"params": {"rename": {"max_completion_tokens": "max_tokens"}}})
    assert quirks.apply_params(Operation.CHAT, {"max_completion_tokens": 1, "max_tokens": 2}) == {"max_tokens": 2}


def test_bounds_leave_what_is_not_a_number_to_the_upstream() -> None:
    quirks = Quirks.from_data({"params": {"bounds": {"temperature": [0, 1]}}})
    for value in ("2", True, None, [2]):
        assert quirks.apply_params(Operation.CHAT, {"temperature": value}) == {"temperature": value}


def test_the_kind_of_a_text_is_said_only_to_those_who_ask_for_it() -> None:
    plain, asking = Quirks.from_data({}), Quirks.from_data(WHOLE)
    assert plain.apply_params(Operation.EMBEDDINGS, {"input": "a", "input_type": "query"}) == {"input": "a"}
    sent = asking.apply_params(Operation.EMBEDDINGS, {"input": "a"})
    assert sent["input_type"] == "passage"
    assert asking.apply_params(Operation.EMBEDDINGS, {"input": "a", "input_type": "query"})["input_type"] == "query"
    named = Quirks.from_data({"embedding": {"input_type": {"query": "retrieval.query", "parameter": "task"}}})
    assert named.apply_params(Operation.EMBEDDINGS, {"input": "a", "input_type": "query"}) == {
        "input": "a",
        "task": "retrieval.query",
    }


def test_the_name_sent_upstream_is_cut_mapped_or_taken_from_the_credential() -> None:
    quirks = Quirks.from_data({"strip_suffix": "___", "name_map": {"Spark-Max": "generalv3.5"}})
    assert quirks.model_name("llama___VLLM") == "llama"
    assert quirks.model_name("Spark-Max___X") == "generalv3.5"
    assert quirks.model_name("___X") == "___X"
    ark = Target("VolcEngine", "label", "https://x", quirks=Quirks.from_data({"model_field": "endpoint_id"}))
    assert ark.upstream_model == "label"
    filled = CredentialFields({"endpoint_id": "ep-1"})
    assert Target("V", "label", "https://x", quirks=ark.quirks, credential=filled).upstream_model == "ep-1"


URLS = [
    ("https://h", "", "https://h/chat/completions"),
    ("https://h/", "/v1", "https://h/v1/chat/completions"),
    ("https://h:8443//", "/v1", "https://h:8443/v1/chat/completions"),
    ("https://h/v1", "/v1", "https://h/v1/chat/completions"),
    ("https://h/v1/", "/v1", "https://h/v1/chat/completions"),
    ("https://h/v1beta", "/v1", "https://h/v1beta/chat/completions"),
    ("https://h/v1beta/openai", "/v1", "https://h/v1beta/openai/chat/completions"),
    ("https://h/api/v3", "/v1", "https://h/api/v3/chat/completions"),
    ("https://h/api/paas/v4/", "/v1", "https://h/api/paas/v4/chat/completions"),
    ("https://h/v3/openai", "/v1", "https://h/v3/openai/chat/completions"),
    ("https://h/proxy", "/v1", "https://h/proxy/v1/chat/completions"),
    (
        "https://gateway.example/v1/account/gateway/openai",
        "/v1",
        "https://gateway.example/v1/account/gateway/openai/chat/completions",
    ),
    ("https://h/v1/projects/p/endpoints/openapi", "/v1", "https://h/v1/projects/p/endpoints/openapi/chat/completions"),
    ("https://h/vision", "/v1", "https://h/vision/v1/chat/completions"),
    ("https://h/v1/chat/completions", "/v1", "https://h/v1/chat/completions"),
    ("https://h/v1/chat/completions/", "", "https://h/v1/chat/completions"),
    ("https://h/v1/embeddings", "/v1", "https://h/v1/chat/completions"),
    ("https://h/v1/rerank", "", "https://h/v1/chat/completions"),
    ("https://h/v1/models", "/v1", "https://h/v1/chat/completions"),
    ("https://h/models", "/v1", "https://h/models/v1/chat/completions"),
    ("HTTPS://Host.Example/v1", "/v1", "https://host.example/v1/chat/completions"),
    ("http://[::1]:8080", "/v1", "http://[::1]:8080/v1/chat/completions"),
    ("https://v1", "/v1", "https://v1/v1/chat/completions"),
    ("https://bücher.example/v1", "", "https://xn--bcher-kva.example/v1/chat/completions"),
]


@pytest.mark.parametrize(("base", "version", "url"), URLS)
def test_a_base_url_means_the_same_however_it_is_written(base: str, version: str, url: str) -> None:
    target = Target("F", "m", base, quirks=Quirks.from_data({"version_path": version}))
    assert target.url_for(Operation.CHAT, "/chat/completions") == url
    # and for every other operation
    root = url.removesuffix("/chat/completions")
    for operation, path in ((Operation.EMBEDDINGS, "/embeddings"), (Operation.RERANK, "/rerank")):
        assert target.url_for(operation, path) == root + path
    assert target.url_for(Operation.MODELS, "/models") == f"{root}/models"


@pytest.mark.parametrize(
    "base",
    [
        "",
        "h/v1",
        "ftp://h",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///v1",
        "https://user@h",
        "https://user:pw@h/v1",
        "https://h/v1?key=1",
        "https://h/v1?",
        "https://h/v1#x",
        "https://h:99999",
        "https://h:0",
        "https://h:x",
        "https://h h",
        "https://h/a b",
        "https://h\\@evil",
        "https://h/\r\nX: y",
        "https://[::1",
        "https://h/v1/../admin",
        "https://h/%2e%2e/admin",
        "https://h%00",
        "https://" + "a" * 300,
        "https://h/" + "a" * 3000,
    ],
)
def test_an_unusable_base_url_is_refused_with_a_reason(base: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        clean_base_url(base)
    with pytest.raises(WrongURL) as caught:
        Target("F", "m", base).url_for(Operation.CHAT, "/chat/completions")
    assert caught.value.step == "build"


def test_a_base_for_one_operation_counts_unless_the_tenant_gave_its_own() -> None:
    quirks = Quirks.from_data({"version_path": "/v1", "base_urls": {"rerank": "https://other.example/v2/rerank"}})
    theirs = Target("F", "m", "https://h", quirks=quirks)
    own = Target("F", "m", "https://own", quirks=quirks, own_base_url=True)
    assert theirs.url_for(Operation.RERANK, "/rerank") == "https://other.example/v2/rerank"
    assert theirs.url_for(Operation.CHAT, "/chat/completions") == "https://h/v1/chat/completions"
    assert own.url_for(Operation.RERANK, "/rerank") == "https://own/v1/rerank"


def test_a_special_path_is_not_doubled_either() -> None:
    quirks = Quirks.from_data({"version_path": "/v1", "paths": {"chat": "/text/chatcompletion_v2"}})
    for base in ("https://h", "https://h/v1", "https://h/v1/text/chatcompletion_v2"):
        url = Target("F", "m", base, quirks=quirks).url_for(Operation.CHAT, "/chat/completions")
        assert url == "https://h/v1/text/chatcompletion_v2"
