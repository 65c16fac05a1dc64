"""Smaller formats, and rows that bend the openai format: NVIDIA, Perplexity, Fish Audio, Voyage AI, Ark, Jina."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secrets import OpenSecret
from providers import signers
from providers.calls import call
from providers.dialects import for_type, get
from providers.dialects.vectors import read_vector
from providers.errors import BadReply, BadRequest, RateLimited, Unsupported, UpstreamError
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.target import CredentialFields, Target
from providers.wire import Embeddings, Operation, Ranking, Speech
from tests.fakes.upstream import KEY, FakeUpstream
from tests.providers import exchanges
from tests.providers.exchange_cases import POLICY
from tests.providers.exchanges import JSON, factory_of, golden, quirks_of

OPERATIONS = {
    "ark": Operation.EMBEDDINGS,
    "nvidia": Operation.RERANK,
    "perplexity": Operation.EMBEDDINGS,
    "fish_audio": Operation.SPEECH,
    "voyage": Operation.EMBEDDINGS,
}
openai = get("openai")


@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        *(("nvidia", "rerank"), ("fish_audio", "speech")),
        *(("perplexity", "embeddings"), ("perplexity", "embeddings_contextualized")),
        *(("voyage", "embeddings"), ("ark", "embeddings")),
    ],
)
def test_a_request_is_built_as_the_vendor_documents_it(dialect: str, name: str) -> None:
    exchanges.check_request(get(dialect), OPERATIONS[dialect], golden(dialect, name))


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("rerank_voyage", Operation.RERANK),
        ("embeddings_voyage", Operation.EMBEDDINGS),
        ("embeddings_jina", Operation.EMBEDDINGS),
    ],
)
def test_a_row_bends_the_openai_format_to_its_vendors(name: str, operation: Operation) -> None:
    case = golden("openai", name)
    exchanges.check_request(openai, operation, case)
    parsed = exchanges.parsed(openai, operation, case)
    assert [list(item) for item in parsed] == case["parsed"]
    assert parsed.usage


def test_a_query_for_jina_is_another_task_than_a_passage() -> None:
    to = Target("Jina", "jina-embeddings-v3", "https://h/v1", quirks=quirks_of("jina", "jina-embeddings-v3"))
    request = openai.build(Operation.EMBEDDINGS, {"input": ["a"], "input_type": "query"}, to)
    assert json.loads(request.body or b"")["task"] == "retrieval.query"


# NVIDIA

nvidia = get("nvidia")


def test_logits_become_scores_between_zero_and_one() -> None:
    case = golden("nvidia", "rerank")
    parsed = exchanges.parsed(nvidia, Operation.RERANK, case)
    assert isinstance(parsed, Ranking)
    assert [[score.position, round(score.score, 5)] for score in parsed] == case["parsed"]
    assert parsed.usage == {"prompt_tokens": 60, "total_tokens": 60}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_scores_keep_the_order_of_the_logits(logits: list[float]) -> None:
    logits.sort(reverse=True)
    body = json.dumps({"rankings": [{"index": i, "logit": logit} for i, logit in enumerate(logits)]}).encode()
    parsed = nvidia.parse(Operation.RERANK, 200, JSON, body)
    assert isinstance(parsed, Ranking)
    scores = [score.score for score in parsed]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@pytest.mark.parametrize("case", golden("nvidia", "errors")["cases"], ids=lambda case: str(case["status"]))
def test_an_error_of_nvidias_is_a_member_of_the_tree(case: dict[str, Any]) -> None:
    exchanges.check_error(nvidia, Operation.RERANK, case)


@pytest.mark.parametrize("base_url", ["http://nim:8000", "http://nim:8000/v1", "http://nim:8000/v1/ranking"])
def test_a_nim_of_ones_own_has_one_path(base_url: str) -> None:
    to = Target("NVIDIA", "m", base_url, quirks=quirks_of("nvidia", "m"), own_base_url=True)
    request = nvidia.build(Operation.RERANK, {"query": "q", "documents": ["d"]}, to)
    assert request.url == "http://nim:8000/v1/ranking"


def test_the_key_goes_to_nvidias_other_host_only_if_it_was_sealed_for_it() -> None:
    model = "nvidia/llama-3.2-nv-rerankqa-1b-v2"
    home, other = "https://integrate.api.nvidia.com:443", "https://ai.api.nvidia.com:443"
    to = Target("NVIDIA", model, "https://integrate.api.nvidia.com/v1", quirks=quirks_of("nvidia", model))
    request = nvidia.build(Operation.RERANK, {"query": "q", "documents": ["d"]}, to)
    assert request.origin == other
    signed = signers.get("bearer").sign(request, CredentialFields({}, OpenSecret("nvapi-1", home, {other})))
    assert signed.headers["Authorization"] == "Bearer nvapi-1"


@pytest.mark.parametrize(
    ("payload", "model", "kind"),
    [
        ({"query": "q", "documents": []}, "m", BadRequest),
        ({"query": "q", "documents": [1]}, "m", BadRequest),
        ({"query": 5, "documents": ["d"]}, "m", BadRequest),
        ({"query": "q", "documents": ["d"]}, "a/../b c", BadRequest),
        ({"query": "q", "documents": ["d"], "instruction": "x"}, "m", Unsupported),
    ],
)
def test_what_nvidia_cannot_be_sent_is_told(payload: dict[str, Any], model: str, kind: type[UpstreamError]) -> None:
    with pytest.raises(kind):
        nvidia.build(Operation.RERANK, payload, Target("NVIDIA", model, "https://h/v1"))


# Perplexity and Fish Audio

perplexity, fish_audio = get("perplexity"), get("fish_audio")


@pytest.mark.parametrize("name", ["embeddings", "embeddings_contextualized"])
def test_signed_bytes_become_vectors_in_the_order_of_the_input(name: str) -> None:
    case = golden("perplexity", name)
    parsed = exchanges.parsed(perplexity, Operation.EMBEDDINGS, case)
    assert parsed == Embeddings(case["parsed"], case["reply"]["json"]["usage"], case["model"])


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"data": [{"index": 0, "embedding": [1]}]},
        {"data": [{"index": 0, "embedding": "!"}]},
        {"data": [{"embedding": ""}]},
        {"data": [{"index": 0, "data": [{"embedding": "AA=="}, {"embedding": "AA=="}]}]},
        {"data": [{"index": 0, "data": []}]},
        {"data": [{"index": 0, "embedding": "AA=="}, {"index": 0, "embedding": "AA=="}]},
    ],
)
def test_other_vectors_than_perplexitys_are_a_bad_reply(data: Any) -> None:
    with pytest.raises(BadReply):
        perplexity.parse(Operation.EMBEDDINGS, 200, JSON, json.dumps(data).encode())


@pytest.mark.parametrize("name", ["voyage", "ark"])
def test_vectors_are_read_wherever_they_stand(name: str) -> None:
    case = golden(name, "embeddings")
    parsed = exchanges.parsed(get(name), Operation.EMBEDDINGS, case)
    assert parsed == Embeddings(case["parsed"], case["reply"]["json"]["usage"], case["model"])


def test_ark_makes_one_vector_of_a_call() -> None:
    to = Target("VolcEngine", "ep-1", "https://h/api/v3")
    for texts in (["a", "b"], [[1, 2]]):
        with pytest.raises(Unsupported):
            get("ark").build(Operation.EMBEDDINGS, {"input": texts}, to)
    for data in ({}, {"data": []}, {"data": [{"embedding": [1]}]}, {"data": {"embedding": []}}, {"data": {}}):
        with pytest.raises(BadReply):
            get("ark").parse(Operation.EMBEDDINGS, 200, JSON, json.dumps(data).encode())


def test_speech_is_bytes_with_a_media_type() -> None:
    case = golden("fish_audio", "speech")
    expected = case["parsed"]
    parsed = exchanges.parsed(fish_audio, Operation.SPEECH, case)
    assert parsed == Speech(base64.b64decode(expected["base64"]), expected["media_type"])


def test_a_voice_may_be_the_credentials() -> None:
    to = Target("Fish Audio", "s1", "https://h", credential=CredentialFields({"fish_audio_refid": "mine"}))
    assert json.loads(fish_audio.build(Operation.SPEECH, {"input": "Hi"}, to).body or b"") == {
        "text": "Hi",
        "reference_id": "mine",
    }


def test_a_models_name_cannot_add_a_header() -> None:
    with pytest.raises(BadRequest):
        fish_audio.build(Operation.SPEECH, {"input": "Hi"}, Target("F", "s1\r\nX: y", "https://h"))


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_what_they_cannot_do_is_unsupported(name: str) -> None:
    dialect = get(name)
    for act in (
        lambda: dialect.build(Operation.CHAT, {"messages": []}, Target("F", "m", "https://h")),
        lambda: dialect.parse(Operation.CHAT, 200, JSON, b"{}"),
        lambda: dialect.decoder(OPERATIONS[name]),
    ):
        with pytest.raises(Unsupported):
            act()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["rankings", "data", "index", "logit", "embedding", "error"]), inner)
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from(sorted(OPERATIONS)), st.sampled_from([200, 400, 404, 429, 500]))
def test_no_answer_makes_them_raise_anything_but_upstream_errors(data: Any, name: str, status: int) -> None:
    for shape in (data, {"rankings": data}, {"data": data}):
        try:
            get(name).parse(OPERATIONS[name], status, JSON, json.dumps(shape).encode())
        except UpstreamError as error:
            assert error.step


@pytest.mark.parametrize(
    ("value", "vector"),
    [
        ([[1, 2], [3, 4]], [2.0, 3.0]),
        (["AAAAPwAAgL8=", [0.5, 1.0]], None),
        ([[1, 2], [3]], None),
        ([[1, 2], "AAAAPwAAgL8="], [0.75, 0.5]),
        ([[[1]], [[2]]], None),
        ([[], []], None),
        ([[1e308], [1e308]], None),
        ([], []),
    ],
)
def test_one_vector_for_each_token_is_averaged(value: Any, vector: list[float] | None) -> None:
    assert read_vector(value) == vector


# Over sockets

ANSWERS: dict[str, tuple[str, Any]] = {
    "nvidia": ("/ranking", {"rankings": [{"index": 0, "logit": 1.5}]}),
    "perplexity": ("/embeddings", {"data": [{"index": 0, "embedding": "f/8="}]}),
    "voyage-ai": ("/rerank", {"data": [{"index": 0, "relevance_score": 0.5}]}),
    "volcengine": ("/embeddings/multimodal", {"data": {"embedding": [0.5]}}),
    "jina": ("/embeddings", {"data": [{"index": 0, "embeddings": [[0.5]]}]}),
}
KINDS = {"nvidia": LLMType.RERANK, "voyage-ai": LLMType.RERANK}


@pytest.mark.parametrize("row", ANSWERS)
def test_a_probe_of_each_row_says_ok(upstream: FakeUpstream, row: str) -> None:
    factory = factory_of(row)
    kind = KINDS.get(row, LLMType.EMBEDDING)
    quirks = quirks_of(row, "m")
    dialect, operation = for_type(kind, quirks.dialect_for(kind) or factory["dialect"])
    path, answer = ANSWERS[row]
    upstream.status(path, 200, answer)
    credential = CredentialFields({}, OpenSecret(KEY, f"http://127.0.0.1:{upstream.port}"))
    to = Target(row, "m", upstream.url, dialect.name, factory["signer"], quirks, credential, own_base_url=True)
    check_reply(kind, call(to, operation, probe_payload(kind, quirks), policy=POLICY))
    assert upstream.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    upstream.rate_limited(path, retry_after="7")
    with pytest.raises(RateLimited) as caught:
        call(to, operation, probe_payload(kind, quirks), policy=POLICY)
    assert caught.value.retry_after_s == 7


def test_a_probe_of_fish_audio_says_ok(upstream: FakeUpstream) -> None:
    upstream.raw("/tts", b"ID3\x04", content_type="audio/mpeg")
    quirks = quirks_of("fish-audio", "s1")
    credential = CredentialFields({}, OpenSecret(KEY, f"http://127.0.0.1:{upstream.port}"))
    to = Target("Fish Audio", "s1", upstream.root, "fish_audio", "bearer", quirks, credential, own_base_url=True)
    check_reply(LLMType.TTS, call(to, Operation.SPEECH, probe_payload(LLMType.TTS, quirks), policy=POLICY))
    assert upstream.requests[-1].headers["model"] == "s1"
