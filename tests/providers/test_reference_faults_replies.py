"""What becomes of an answer: faults of another product that calls the same vendors, which ours has not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from providers import dialects
from providers.errors import (
    AuthenticationFailed,
    BadReply,
    ContextLengthExceeded,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
    TimedOut,
    UpstreamError,
    WrongURL,
)
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply
from providers.wire import Embeddings, Operation, Ranking
from tests.providers.shipped import cell, cells, listing, request, target

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html; charset=utf-8"}
PAGE = b"<!doctype html><html><head><title>404 Not Found</title></head><body><h1>nginx</h1></body></html>"
PARSERS = [(name, one) for name in dialects.names() for one in sorted(dialects.operations(name))]
every_parser = pytest.mark.parametrize(("dialect", "operation"), PARSERS, ids=[f"{a}-{b}" for a, b in PARSERS])


def error(dialect: str, operation: Operation, status: int, headers: dict[str, str], body: bytes) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        dialects.get(dialect).parse(operation, status, headers, body)
    return caught.value


def parsed(dialect: str, operation: Operation, data: Any) -> Any:
    return dialects.get(dialect).parse(operation, 200, JSON, json.dumps(data).encode())


# What is no answer of an API


@every_parser
@pytest.mark.parametrize("status", [200, 404])
def test_a_web_page_is_named_as_what_it_is(dialect: str, operation: Operation, status: int) -> None:
    """It was “Expecting value: line 1 column 1 (char 0)”."""
    found = error(dialect, operation, status, HTML, PAGE)
    assert isinstance(found, BadReply | WrongURL)
    assert "Expecting value" not in str(found)
    assert "nginx" in str(found)


@every_parser
def test_an_empty_answer_is_named_as_what_it_is(dialect: str, operation: Operation) -> None:
    found = error(dialect, operation, 200, JSON, b"")
    assert isinstance(found, BadReply)
    assert "Expecting value" not in str(found)


@every_parser
def test_a_vendors_refusal_is_an_error_of_its_kind_whatever_is_called(dialect: str, operation: Operation) -> None:
    """Speech raised a plain exception, whose text “401” logged people out; lists of models came back empty."""
    body = json.dumps({"error": {"message": "Something is wrong", "code": None}}).encode()
    kinds: dict[int, tuple[type[UpstreamError], ...]] = {
        401: (AuthenticationFailed,),
        402: (QuotaExceeded,),
        403: (PermissionDenied, AuthenticationFailed),
        429: (RateLimited, Overloaded),
        500: (ServerFailed,),
        503: (Overloaded,),
    }
    for status, kind in kinds.items():
        found = error(dialect, operation, status, {**JSON, "retry-after": "7"}, body)
        assert type(found) in kind, (status, found)
        assert found.message
        if status == 429 and type(found) is RateLimited:
            assert found.retry_after_s == 7


def test_what_took_too_long_says_so() -> None:
    """The text of a timeout was empty, so that the message ended at its colon."""
    assert "time" in str(TimedOut())


# By words alone: §7.1 of the other product's rules, each with what they made of it


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "This model's maximum context length is 4096 tokens; reduce a parameter", ContextLengthExceeded),
        (429, "You exceeded your quota of requests per minute", RateLimited),
        (401, "The server could not find the quota of this model", AuthenticationFailed),
        (403, "The capacity of this model is not available to you", PermissionDenied),
        (404, "The model `x` does not exist", ModelNotFound),
        (500, "KeyError: 'api_key' (401 unauthorized, rate limit 429)", ServerFailed),
        (500, "400 is an invalid format of the parameter", ServerFailed),
        (503, "billing is temporarily unavailable", Overloaded),
        (504, "network timeout while the content was filtered", Overloaded),
    ],
)
def test_a_status_counts_more_than_words(status: int, message: str, kind: type[UpstreamError]) -> None:
    body = json.dumps({"error": {"message": message}}).encode()
    assert type(error("openai", Operation.CHAT, status, JSON, body)) is kind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "context_length_exceeded", ContextLengthExceeded),
        (429, "insufficient_quota", QuotaExceeded),
        (403, "invalid_api_key", AuthenticationFailed),
        (404, "model_not_found", ModelNotFound),
        (500, "insufficient_quota", QuotaExceeded),
    ],
)
def test_a_code_counts_more_than_words(status: int, code: str, kind: type[UpstreamError]) -> None:
    message = "The server's network timed out while content was filtered by the policy"
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    assert type(error("openai", Operation.CHAT, status, JSON, body)) is kind


# Scores and vectors

SCORES: dict[str, Callable[[list[float]], Any]] = {
    "openai": lambda scores: {"results": [{"index": i, "relevance_score": s} for i, s in enumerate(scores)]},
    "cohere": lambda scores: {"results": [{"index": i, "relevance_score": s} for i, s in enumerate(scores)]},
    "bedrock": lambda scores: {"results": [{"index": i, "relevance_score": s} for i, s in enumerate(scores)]},
    "tei": lambda scores: [{"index": i, "score": s} for i, s in enumerate(scores)],
    "dashscope": lambda scores: {
        "output": {"results": [{"index": i, "relevance_score": s} for i, s in enumerate(scores)]}
    },
}
RERANKERS = {name for name in dialects.names() if Operation.RERANK in dialects.operations(name)}


def test_every_reranker_is_here() -> None:
    assert {*SCORES, "nvidia"} == RERANKERS


@pytest.mark.parametrize("dialect", SCORES)
@pytest.mark.parametrize("scores", [[0.7], [0.7, 0.7], [0.9, 0.1]])
def test_scores_are_the_vendors(dialect: str, scores: list[float]) -> None:
    """They were stretched between the lowest and the highest, which made a single one, or equal ones, 0."""
    ranking = parsed(dialect, Operation.RERANK, SCORES[dialect](scores))
    assert isinstance(ranking, Ranking)
    assert [score for _, score in ranking] == scores
    check_reply(LLMType.RERANK, ranking)


@pytest.mark.parametrize("dialect", SCORES)
def test_logits_keep_their_order_and_none_becomes_0(dialect: str) -> None:
    ranking = parsed(dialect, Operation.RERANK, SCORES[dialect]([5.5, -3.0]))
    assert isinstance(ranking, Ranking)
    assert [round(score, 3) for _, score in ranking] == [0.996, 0.047]


def test_a_logit_of_nvidias_is_a_score_that_is_not_0() -> None:
    (score,) = parsed("nvidia", Operation.RERANK, {"rankings": [{"index": 0, "logit": 1.5}]})
    assert 0.8 < score.score < 0.82


def test_several_vectors_for_one_text_are_averaged() -> None:
    vectors = parsed("openai", Operation.EMBEDDINGS, {"data": [{"index": 0, "embedding": [[1.0, 3.0], [3.0, 5.0]]}]})
    assert list(vectors) == [[2.0, 4.0]]


# What was used


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        ("openai", {"data": [{"index": 0, "embedding": [0.5]}]}),
        ("ollama", {"embeddings": [[0.5]]}),
        ("tei", [[0.5]]),
    ],
)
def test_what_is_not_counted_is_unknown(dialect: str, answer: Any) -> None:
    """LM Studio's embeddings cost 1024 tokens, and Ollama's 128 for each text, whatever they were."""
    reply = parsed(dialect, Operation.EMBEDDINGS, answer)
    assert isinstance(reply, Embeddings)
    assert reply.usage is None


@pytest.mark.parametrize(
    ("dialect", "answer", "counted"),
    [
        (
            "gemini",
            {
                "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6},
            },
            6,
        ),
        (
            "cohere",
            {
                "message": {"content": [{"type": "text", "text": "Hi"}]},
                "usage": {"billed_units": {"input_tokens": 4, "output_tokens": 2}},
            },
            6,
        ),
        (
            "anthropic",
            {"content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 4, "output_tokens": 2}},
            6,
        ),
    ],
)
def test_each_vendors_count_is_read_by_its_own_names(dialect: str, answer: Any, counted: int) -> None:
    assert parsed(dialect, Operation.CHAT, answer)["usage"]["total_tokens"] == counted


def test_sums_in_a_stream_are_not_added_up() -> None:
    """Each event of these says the sum so far."""
    events = [
        {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": usage(4, 1)},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}], "usageMetadata": usage(4, 2)},
    ]
    decoder = dialects.get("gemini").decoder(Operation.CHAT)
    chunks = decoder.feed(b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)) + decoder.close()
    assert [chunk["usage"]["total_tokens"] for chunk in chunks if "usage" in chunk] == [6]


def usage(prompt: int, answer: int) -> dict[str, int]:
    return {"promptTokenCount": prompt, "candidatesTokenCount": answer, "totalTokenCount": prompt + answer}


# What was said


def test_an_answer_is_what_the_model_said_and_nothing_more() -> None:
    """Thoughts were wrapped in tags, and a remark was appended to what was cut off."""
    message = {"content": "Because", "reasoning_content": "Hm."}
    reply = parsed("openai", Operation.CHAT, {"choices": [{"message": message, "finish_reason": "length"}]})
    (choice,) = reply["choices"]
    assert (choice["message"]["content"], choice["message"]["reasoning_content"]) == ("Because", "Hm.")
    assert choice["finish_reason"] == "length"


def test_a_failure_is_never_an_answer() -> None:
    """It came as a text that began with **ERROR**."""
    for status in (400, 401, 429, 500):
        error("openai", Operation.CHAT, status, JSON, b'{"error": {"message": "no"}}')
    error("openai", Operation.CHAT, 200, JSON, b'{"error": {"message": "no"}}')


def test_one_wrong_key_is_one_cheap_call() -> None:
    """A wrong key cost a billed call for each of the 121 models of NVIDIA's."""
    for factory in ("OpenAI", "Mistral", "Groq"):
        of = cell(factory, "chat")
        listed = request(of, target(of), Operation.MODELS)
        assert (listed.method, listed.body) == ("GET", None)


def test_most_factories_can_be_asked_for_their_models() -> None:
    factories = {one.factory for one in cells()}
    listed = {one.factory for one in cells() if listing(one)}
    assert len(listed) > len(factories) * 0.6
