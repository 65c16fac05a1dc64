"""text-embeddings-inference against its own documentation, and over real sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.origins import origin_of
from core.secrets import OpenSecret
from providers.calls import call
from providers.dialects import for_type, get
from providers.errors import BadReply, BadRequest, Overloaded, Unsupported, UpstreamError, WrongURL
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Embeddings, Operation, Ranking
from tests.fakes.upstream import FakeUpstream
from tests.llamacpp.fixtures import LlamaCpp
from tests.providers import exchanges
from tests.providers.exchange_cases import POLICY
from tests.providers.exchanges import JSON, factory_of, golden

tei = get("tei")


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("embeddings", Operation.EMBEDDINGS),
        ("embeddings_prompt", Operation.EMBEDDINGS),
        ("rerank", Operation.RERANK),
        ("models", Operation.MODELS),
    ],
)
def test_a_request_is_built_as_documented(name: str, operation: Operation) -> None:
    exchanges.check_request(tei, operation, golden("tei", name))


@pytest.mark.parametrize("name", ["embeddings", "embeddings_prompt"])
def test_embeddings_are_vectors_in_the_order_of_the_input(name: str) -> None:
    case = golden("tei", name)
    assert exchanges.parsed(tei, Operation.EMBEDDINGS, case) == Embeddings(case["parsed"])


def test_a_ranking_is_a_list_of_positions_and_scores() -> None:
    case = golden("tei", "rerank")
    parsed = exchanges.parsed(tei, Operation.RERANK, case)
    assert isinstance(parsed, Ranking)
    assert [list(score) for score in parsed] == case["parsed"]


def test_the_one_model_is_listed_with_its_limits() -> None:
    case = golden("tei", "models")
    (model,) = exchanges.parsed(tei, Operation.MODELS, case)
    assert ([model.id], model.raw["max_input_length"]) == (case["parsed"], 512)


@pytest.mark.parametrize("case", golden("tei", "errors")["cases"], ids=lambda case: str(case["status"]))
def test_an_error_is_a_member_of_the_tree(case: dict[str, Any]) -> None:
    for operation in tei.operations:
        exchanges.check_error(tei, operation, case)


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/embed", "/v1/embeddings", "/rerank", "/info"])
def test_every_base_url_that_people_paste_leads_to_the_same_place(end: str) -> None:
    at = Target("F", "m", f"http://gpu:8080{end}", quirks=Quirks.from_data({"version_path": "/v1"}))
    assert tei.build(Operation.EMBEDDINGS, {"input": "a"}, at).url == "http://gpu:8080/embed"


def test_a_proxys_path_is_kept_and_a_broken_url_told() -> None:
    at = Target("F", "m", "https://host/tei/v1")
    assert tei.build(Operation.EMBEDDINGS, {"input": "a"}, at).url == "https://host/tei/embed"
    with pytest.raises(WrongURL):
        tei.build(Operation.MODELS, {}, Target("F", "m", "127.0.0.1:8080"))


@pytest.mark.parametrize(
    ("operation", "payload", "kind"),
    [
        (Operation.EMBEDDINGS, {"input": []}, BadRequest),
        (Operation.EMBEDDINGS, {"input": [5]}, Unsupported),
        (Operation.EMBEDDINGS, {"input": "a", "late_chunking": True}, Unsupported),
        (Operation.RERANK, {"query": "a", "documents": []}, BadRequest),
        (Operation.RERANK, {"query": ["a"], "documents": ["b"]}, BadRequest),
        (Operation.RERANK, {"query": "a", "documents": [{"image": "b"}]}, BadRequest),
        (Operation.CHAT, {"messages": []}, Unsupported),
    ],
)
def test_what_cannot_be_sent_is_told(operation: Operation, payload: dict[str, Any], kind: type[UpstreamError]) -> None:
    with pytest.raises(kind) as caught:
        tei.build(operation, payload, Target("F", "m", "http://h"))
    assert caught.value.step == "build"


def test_it_streams_nothing() -> None:
    with pytest.raises(Unsupported):
        tei.decoder(Operation.EMBEDDINGS)


@pytest.mark.parametrize(
    ("operation", "data"),
    [
        (Operation.EMBEDDINGS, {"data": []}),
        (Operation.EMBEDDINGS, [["1"]]),
        (Operation.EMBEDDINGS, [[1], "AAAA"]),
        (Operation.RERANK, {"results": [{"index": 0, "score": 1}]}),
        (Operation.RERANK, [{"index": 0}]),
        (Operation.MODELS, {"models": []}),
        (Operation.MODELS, []),
    ],
)
def test_a_reply_of_another_shape_is_a_bad_reply(operation: Operation, data: Any) -> None:
    with pytest.raises(BadReply) as caught:
        tei.parse(operation, 200, JSON, json.dumps(data).encode())
    assert caught.value.step == "parse"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "error_type", "index", "score", "model_id"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from(sorted(tei.operations)), st.sampled_from([200, 404, 413, 422, 424, 429, 500]))
def test_no_answer_makes_it_raise_anything_but_upstream_errors(data: Any, operation: Operation, status: int) -> None:
    try:
        tei.parse(operation, status, JSON, json.dumps(data).encode())
    except UpstreamError as error:
        assert error.step


# Over sockets


@pytest.mark.parametrize("factory", ["huggingface", "builtin"])
@pytest.mark.parametrize(("kind", "path"), [(LLMType.EMBEDDING, "/embed"), (LLMType.RERANK, "/rerank")])
def test_a_probe_of_the_catalogues_row_says_ok(factory: str, kind: LLMType, path: str) -> None:
    row = factory_of(factory)
    quirks = Quirks.from_data(row.get("quirks"))
    dialect, operation = for_type(kind, quirks.dialect_for(kind) or row["dialect"])
    with FakeUpstream(key=None) as server:
        server.status(path, 200, [[0.5, 1.0]] if kind is LLMType.EMBEDDING else [{"index": 0, "score": 0.5}])
        to = Target(factory, "m", server.root, dialect.name, row["signer"], quirks)
        check_reply(kind, call(to, operation, probe_payload(kind, quirks), policy=POLICY))
        server.status(path, 429, {"error": "Model is overloaded", "error_type": "overloaded"})
        with pytest.raises(Overloaded):
            call(to, operation, probe_payload(kind, quirks), policy=POLICY)


def test_another_server_that_speaks_the_format_ranks_too(llamacpp_rerank: LlamaCpp) -> None:
    quirks = Quirks.from_data(factory_of("huggingface")["quirks"])
    credential = CredentialFields({}, OpenSecret(llamacpp_rerank.api_key, origin_of(llamacpp_rerank.base_url)))
    to = Target("HuggingFace", "m", llamacpp_rerank.base_url, "tei", "bearer", quirks, credential)
    ranking = call(
        to, Operation.RERANK, {"query": "green river", "documents": ["blue house", "green tree"]}, policy=POLICY
    )
    assert isinstance(ranking, Ranking)
    assert sorted(score.position for score in ranking) == [0, 1]
