"""From an upstream's answer to one class of the tree."""

from __future__ import annotations

import inspect
import json
import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import errors
from providers.dialects import get, names
from providers.dialects.failures import MAX_RETRY_AFTER_S, classify, classify_body, retry_after_s
from providers.errors import (
    AuthenticationFailed,
    BadReply,
    BadRequest,
    ContentFiltered,
    ContextLengthExceeded,
    GenericUpstreamError,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
    TimedOut,
    Unsupported,
    UpstreamError,
    Verdict,
    WrongURL,
)
from providers.target import Target
from providers.wire import Operation

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html; charset=utf-8"}
PAGE = b"<!doctype html><html><head><title>404 Not Found</title></head><body><h1>nginx</h1></body></html>"


def openai(message: str, code: Any = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


CASES: list[tuple[int, Any, type[UpstreamError]]] = [
    # by status
    (401, openai("Incorrect API key provided", "invalid_api_key"), AuthenticationFailed),
    (401, openai("You exceeded your current quota", "insufficient_quota"), QuotaExceeded),
    (401, {"detail": "Unauthorized"}, AuthenticationFailed),
    (402, {"error": "Payment required"}, QuotaExceeded),
    (402, openai("Insufficient Balance", "invalid_request_error", "unknown_error"), QuotaExceeded),
    (403, {"error": {"message": "no access"}}, PermissionDenied),
    (403, openai("bad key", "invalid_api_key"), AuthenticationFailed),
    (403, {"code": "AccessDenied.Unpurchased", "message": "Access to model denied."}, PermissionDenied),
    (405, {"detail": "Method Not Allowed"}, WrongURL),
    (408, {"error": "slow"}, TimedOut),
    (413, {"error": "too large"}, BadRequest),
    (418, {"error": "teapot"}, BadRequest),
    (429, openai("Rate limit reached", "rate_limit_exceeded", "requests"), RateLimited),
    (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), QuotaExceeded),
    (429, {"error": {"type": "exceeded_current_quota_error", "message": "suspended"}}, QuotaExceeded),
    (429, {"error": {"type": "engine_overloaded_error", "message": "busy"}}, Overloaded),
    (429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "quota metric"}}, RateLimited),
    (500, openai("The server had an error", None, "server_error"), ServerFailed),
    (500, {"error": {"code": 500, "message": "key error", "type": "exceed_context_size_error"}}, ContextLengthExceeded),
    (501, {"error": {"code": 501, "message": "no embeddings", "type": "not_supported_error"}}, Unsupported),
    (502, b"Bad Gateway", Overloaded),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, Overloaded),
    (504, b"", Overloaded),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Overloaded),
    (302, b"", WrongURL),
    (308, b"", WrongURL),
    # 404: a model or a path
    (404, openai("The model `x` does not exist or you do not have access to it.", "model_not_found"), ModelNotFound),
    (404, {"object": "error", "message": "The model `x` does not exist.", "code": 404}, ModelNotFound),
    (404, {"error": {"message": 'model "x" not found, try pulling it first', "type": "api_error"}}, ModelNotFound),
    (404, {"error": {"code": 404, "message": "models/gemini-1.5 is not found for API version v1"}}, ModelNotFound),
    (404, {"code": "InvalidEndpointOrModel.NotFound", "message": "?"}, ModelNotFound),
    (404, openai("Invalid URL (POST /v1/v1/chat/completions)"), WrongURL),
    (404, {"detail": "Not Found"}, WrongURL),
    (404, {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}, WrongURL),
    (404, PAGE, WrongURL),
    (404, b"404 page not found", WrongURL),
    (404, b"", WrongURL),
    # 400 and 422: the structured code, then text
    (400, openai("too long", "context_length_exceeded"), ContextLengthExceeded),
    (400, {"error": {"code": 400, "message": "exceeds", "type": "exceed_context_size_error"}}, ContextLengthExceeded),
    (400, openai("flagged", "content_policy_violation"), ContentFiltered),
    (
        400,
        {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."},
        ContentFiltered,
    ),
    (
        400,
        {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."},
        QuotaExceeded,
    ),
    (400, {"code": "InvalidApiKey", "message": "x"}, AuthenticationFailed),
    (400, {"object": "error", "type": "invalid_model", "message": "Invalid model: x", "code": "1500"}, ModelNotFound),
    (
        400,
        [{"error": {"code": 400, "message": "API key not valid.", "details": [{"reason": "API_KEY_INVALID"}]}}],
        AuthenticationFailed,
    ),
    (400, {"error": "Incorrect API key provided: xai-***"}, AuthenticationFailed),
    (400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}}, QuotaExceeded),
    (422, {"detail": [{"loc": ["body", "model"], "msg": "unknown model"}]}, ModelNotFound),
    (422, {"detail": [{"loc": ["body", "x"], "msg": "field required", "type": "missing"}]}, BadRequest),
    (400, {"error": {"message": "temperature must be at most 1"}}, BadRequest),
    (400, b"nonsense", BadRequest),
    # traps: words and digits that mean nothing here
    (400, {"error": {"message": "KeyError: 'key' is not in the JSON object"}}, BadRequest),
    (400, {"error": {"message": "max_tokens 4000 is above 500, the limit of 4290 was 5031"}}, BadRequest),
    (
        400,
        {"error": {"message": "This model's maximum context length is 4096 tokens; reduce the parameter max_tokens"}},
        ContextLengthExceeded,
    ),
    (400, {"error": {"message": "content is a required property of messages[0]"}}, BadRequest),
    (400, {"error": {"message": "invalid format of the server parameter auth"}}, BadRequest),
    (400, {"error": {"message": "stop sequences in this billing_address are blocked by the network"}}, BadRequest),
    (500, {"error": {"message": "KeyError('api_key'): 401 unauthorized quota rate limit"}}, ServerFailed),
    (200 + 199, {"error": "odd"}, WrongURL),
]


@pytest.mark.parametrize(("status", "body", "kind"), CASES)
def test_an_answer_is_classified_by_status_then_code_then_text(status: int, body: Any, kind: type) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = classify(status, HTML if raw is PAGE else JSON, raw)
    assert type(error) is kind, error
    assert error.upstream_status == status
    assert error.step == "status"
    assert error.hint
    assert error.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (openai("no", "insufficient_quota"), QuotaExceeded),
        ({"error": {"code": 401, "message": "x"}}, AuthenticationFailed),
        ({"error": {"code": "502", "message": "x"}}, Overloaded),
        ({"base_resp": {"status_code": 1004, "status_msg": "invalid api key"}}, AuthenticationFailed),
        ({"error": "what"}, GenericUpstreamError),
        ({"error": {"code": "9" * 5000}}, GenericUpstreamError),
    ],
)
def test_an_error_inside_a_success_is_classified_too(body: Any, kind: type) -> None:
    assert type(classify_body(200, json.dumps(body).encode())) is kind


def test_what_a_wire_format_cannot_express_is_named() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "logit_bias": {"1": 2}}
    with pytest.raises(Unsupported) as refused:
        get("anthropic").build(Operation.CHAT, body, Target("F", "m", "https://api.example.com"))
    assert refused.value.param == "logit_bias"
    with pytest.raises(BadRequest) as lacking:
        get("cohere").build(Operation.RERANK, {"model": "m", "query": "?"}, Target("F", "m", "https://api.example.com"))
    assert lacking.value.param == "documents"


def test_every_class_says_what_to_do_and_how_to_go_on() -> None:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, UpstreamError)]
    assert len(classes) == 18
    codes = [kind.code for kind in classes if kind is not GenericUpstreamError]
    assert len(set(codes)) == len(codes)
    for kind in classes:
        error = kind()
        assert error.hint.endswith(".")
        assert error.message.endswith(".")
        assert error.seed_code.startswith("ERROR_")
        assert 400 <= error.http_status < 600
        assert error.verdict not in (Verdict.OK, Verdict.UNTESTED)
        assert not (error.retry and not error.fallback)


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(RateLimited("slow", hint="wait", retry_after_s=3.0, step="status")))  # noqa: S301
    assert (error.message, error.hint, error.retry_after_s, error.step) == ("slow", "wait", 3.0, "status")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "999999999"}, MAX_RETRY_AFTER_S),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 30),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 0),
        ({"retry-after": "Sat, 21 Nov 2099 09:00:00 GMT"}, MAX_RETRY_AFTER_S),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_seconds_or_as_a_date_and_capped(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds
    assert classify(429, headers, b"").retry_after_s == seconds


def test_a_redirect_names_only_the_host_it_leads_to() -> None:
    location = "https://user:pw@login.example/inner?key=sk-verysecretkey123"
    error = classify(302, {"location": location}, b"")
    assert "login.example" in error.hint
    assert "Redirects are not followed" in error.hint
    for hidden in ("pw@", "inner", "sk-verysecretkey123"):
        assert hidden not in str(error)


@pytest.mark.parametrize(
    ("headers", "body", "named"),
    [
        (HTML, PAGE, "404 Not Found"),
        ({"content-type": "text/plain"}, b"Ollama is running", "Ollama is running"),
        ({"content-type": "application/json"}, b"", "empty"),
        ({}, b"\x00\x01\x02", "Binary"),
        ({"content-type": "text/html"}, b"<p>" + b"long " * 5000, "long long"),
    ],
)
def test_a_success_that_is_not_json_names_what_came(headers: dict[str, str], body: bytes, named: str) -> None:
    with pytest.raises(BadReply) as caught:
        get("openai").parse(Operation.CHAT, 200, headers, body)
    assert named in caught.value.hint
    assert "<" not in caught.value.hint
    assert len(caught.value.hint) < 450


def test_no_error_repeats_a_key_that_the_upstream_echoes() -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    bodies = [openai(f"Incorrect API key provided: {key}", f"invalid {key}"), {"error": f"{key}"}, f"<p>{key}</p>"]
    for body in bodies:
        for status in (301, 400, 401, 404, 429, 500):
            error = classify(status, {"location": f"https://h/{key}?{key}"}, json.dumps(body).encode())
            assert key not in repr(vars(error)) + str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "message", "code", "type", "detail", "details", "status"])
            | st.sampled_from(["data", "results", "choices", "text", "id", "base_resp", "index", "embedding"])
            | st.text(max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(
    st.integers(100, 999),
    st.dictionaries(st.sampled_from(["content-type", "retry-after", "location", "date"]), st.text(max_size=40)),
    st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(sorted(get("openai").operations)),
)
def test_whatever_comes_only_errors_of_the_tree_are_raised(
    status: int, headers: dict[str, str], body: bytes, operation: Operation
) -> None:
    try:
        get("openai").parse(operation, status, headers, body)
    except UpstreamError as error:
        assert error.hint


BUSY: dict[str, tuple[int, Any]] = {
    "ollama": (500, {"error": "server busy, please try again"}),
    "tei": (429, {"error": "Model is overloaded", "error_type": "overloaded"}),
    "tencent": (503, {"Response": {"Error": {"Code": "RequestLimitExceeded", "Message": "Too often."}}}),
}


@pytest.mark.parametrize("name", names())
def test_every_wire_format_tells_how_long_to_wait(name: str) -> None:
    dialect = get(name)
    busy = BUSY.get(name, (429, {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}))
    for status, body in (busy, (429, {"error": {"message": "Slow down"}}), (503, {"error": {"message": "Busy"}})):
        for operation in dialect.operations:
            with pytest.raises(UpstreamError) as caught:
                dialect.parse(operation, status, {**JSON, "retry-after": "7"}, json.dumps(body).encode())
            assert caught.value.retry
            assert caught.value.retry_after_s == 7


def test_a_web_page_made_to_be_slow_is_read_fast() -> None:
    """The first words of an answer are looked for in the time that its length takes, not the square of it."""
    started = time.process_time()
    for page in (b"<title>" * 2000, b"<title" * 2000, b"<!--" * 3000, b"<script " * 2000):
        classify(404, HTML, page)
    assert time.process_time() - started < 1
