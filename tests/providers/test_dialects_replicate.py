"""Replicate's predictions against their documentation, and over real sockets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from core.secrets import OpenSecret
from providers.calls import call
from providers.dialects import for_type, get
from providers.errors import BadReply, BadRequest, RateLimited, TimedOut, Unsupported, UpstreamError
from providers.llm_types import LLMType
from providers.pending import Pending
from providers.probe_payloads import check_reply, probe_payload
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Embeddings, Operation
from tests.fakes.upstream import KEY, FakeUpstream
from tests.providers import exchanges
from tests.providers.exchange_cases import POLICY
from tests.providers.exchanges import JSON, factory_of, golden, quirks_of

LLAMA = "meta/meta-llama-3-8b-instruct"
replicate = get("replicate")


def prompt(*messages: tuple[str, Any], **params: Any) -> Any:
    """The input that a chat becomes."""
    payload = {"messages": [{"role": role, "content": content} for role, content in messages], **params}
    request = replicate.build(Operation.CHAT, payload, Target("F", LLAMA, "https://h/v1"))
    return json.loads(request.body or b"")["input"]


def test_a_chat_is_sent_and_read_as_documented() -> None:
    case = golden("replicate", "chat")
    exchanges.check_request(replicate, Operation.CHAT, case)
    exchanges.check_chat(exchanges.parsed(replicate, Operation.CHAT, case), case)


@pytest.mark.parametrize("name", ["embeddings_batch", "embeddings_texts"])
def test_embeddings_are_sent_as_each_model_of_the_row_takes_them(name: str) -> None:
    case = golden("replicate", name)
    case["quirks"] = dict(quirks_of("replicate", case["model"]).data)
    exchanges.check_request(replicate, Operation.EMBEDDINGS, case)
    parsed = exchanges.parsed(replicate, Operation.EMBEDDINGS, case)
    assert isinstance(parsed, Embeddings)
    assert parsed.vectors == case["parsed"]
    assert parsed.usage is None
    assert parsed.model == case["model"].partition(":")[0]


def test_a_conversation_is_one_prompt_that_names_the_speakers() -> None:
    given = prompt(("system", "A"), ("user", "Hi"), ("assistant", "Hello"), ("developer", "B"), ("user", "Bye"))
    assert given == {
        "prompt": "User: Hi\n\nAssistant: Hello\n\nUser: Bye\n\nAssistant:",
        "system_prompt": "A\n\nB",
    }


def test_parts_of_text_are_joined_and_the_newer_limit_counts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert prompt(("user", parts), max_completion_tokens=7, max_tokens=9) == {"prompt": "a\nb", "max_tokens": 7}


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"messages": []}, BadRequest),
        ({"messages": [{"role": "system", "content": "only"}]}, BadRequest),
        ({"messages": [{"role": ["user"], "content": "Hi"}]}, BadRequest),
        ({"messages": [{"role": "tool", "content": "Hi"}]}, Unsupported),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, Unsupported),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, Unsupported),
        ({"messages": [{"role": "user", "content": "Hi"}], "stream": True}, Unsupported),
        ({"messages": [{"role": "user", "content": "Hi"}], "n": 2}, Unsupported),
        ({"messages": [{"role": "user", "content": "Hi"}], "tools": [{}]}, Unsupported),
        ({"messages": [{"role": "user", "content": "Hi"}], "stop": ["a,b"]}, Unsupported),
        ({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 0}, BadRequest),
    ],
)
def test_what_a_prompt_cannot_say_is_refused(payload: Any, kind: type[UpstreamError]) -> None:
    with pytest.raises(kind) as caught:
        replicate.build(Operation.CHAT, payload, Target("F", LLAMA, "https://h/v1"))
    assert caught.value.step == "build"


@pytest.mark.parametrize("model", ["", "llama", "a/b/c", "../../x", "a/b:latest", "a/b?x=1", "a/b\n", "meta/ü"])
def test_a_models_name_cannot_leave_its_place_in_the_path(model: str) -> None:
    with pytest.raises(BadRequest, match="owner/name"):
        replicate.build(Operation.EMBEDDINGS, {"input": "a"}, Target("F", model, "https://h/v1"))


@pytest.mark.parametrize("payload", [{"input": ["\ud800"]}, {"input": [1]}, {"input": "a", "dimensions": 5}, {}])
def test_inputs_that_are_not_texts_are_refused(payload: Any) -> None:
    for name in ("texts", "text_batch"):
        quirks = Quirks.from_data({"params": {"rename": {"input": name}}})
        with pytest.raises((BadRequest, Unsupported)):
            replicate.build(Operation.EMBEDDINGS, payload, Target("F", "a/b", "https://h", quirks=quirks))


@pytest.mark.parametrize(
    "case", golden("replicate", "errors")["cases"], ids=lambda case: str(case.get("json", case))[:70]
)
@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.EMBEDDINGS])
def test_an_error_is_a_member_of_the_tree(case: dict[str, Any], operation: Operation) -> None:
    exchanges.check_error(replicate, operation, case)


@pytest.mark.parametrize("status", ["starting", "processing"])
def test_a_prediction_that_is_not_finished_is_asked_for_at_the_same_address(status: str) -> None:
    elsewhere = {"get": "https://evil.example/v1/predictions/x1"}
    body = json.dumps({"id": "x1", "status": status, "output": None, "urls": elsewhere}).encode()
    with pytest.raises(Pending) as caught:
        replicate.parse(Operation.CHAT, 201, JSON, body)
    assert isinstance(caught.value, TimedOut)
    quirks = Quirks.from_data({"version_path": "/v1"})
    request = caught.value.ask(Target("F", LLAMA, "https://api.replicate.com", quirks=quirks))
    assert (request.method, request.url, request.body) == ("GET", "https://api.replicate.com/v1/predictions/x1", None)


@pytest.mark.parametrize("identity", [None, "", 5, "a/../b", "x?y=1", "é"])
def test_a_prediction_without_an_id_cannot_be_asked_for(identity: Any) -> None:
    with pytest.raises(BadReply):
        replicate.parse(Operation.CHAT, 201, JSON, json.dumps({"id": identity, "status": "starting"}).encode())


def test_a_stream_is_refused_with_a_reason() -> None:
    payload = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    with pytest.raises(Unsupported, match="come whole") as caught:
        replicate.build(Operation.CHAT, payload, Target("F", LLAMA, "https://h"))
    assert "without stream" in caught.value.hint


@pytest.mark.parametrize("output", [None, 5, {}, ["a", 1]])
def test_output_that_is_not_text_is_a_bad_reply(output: Any) -> None:
    with pytest.raises(BadReply):
        replicate.parse(Operation.CHAT, 201, JSON, json.dumps({"status": "succeeded", "output": output}).encode())


@pytest.mark.parametrize(
    "output", [None, [], [[]], ["AACAPw=="], [{"embedding": None}], [[1, "2"]], "https://h/out.json"]
)
def test_output_that_is_not_vectors_is_a_bad_reply(output: Any) -> None:
    with pytest.raises(BadReply):
        replicate.parse(Operation.EMBEDDINGS, 201, JSON, json.dumps({"status": "succeeded", "output": output}).encode())


@pytest.mark.parametrize("created", [None, 5, "soon", "2024-99-99T99:99:99Z", "0001-01-01T00:00:00Z"])
def test_a_text_alone_is_a_chat_whenever_it_was_created(created: Any) -> None:
    body = json.dumps({"status": "succeeded", "output": "Hi", "created_at": created}).encode()
    parsed = ChatCompletion.model_validate(replicate.parse(Operation.CHAT, 200, JSON, body), strict=True)
    assert parsed.choices[0].message.content == "Hi"
    assert parsed.usage is None


def test_what_it_cannot_do_is_unsupported() -> None:
    for act in (
        lambda: replicate.build(Operation.RERANK, {}, Target("F", LLAMA, "https://h")),
        lambda: replicate.parse(Operation.RERANK, 200, JSON, b"{}"),
        lambda: replicate.decoder(Operation.CHAT),
    ):
        with pytest.raises(Unsupported):
            act()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["output", "embedding", "metrics", "input_token_count", "created_at"]), inner)
    ),
    max_leaves=12,
)


@given(
    json_values,
    st.sampled_from(["succeeded", "failed", "starting", "x"]),
    st.sampled_from([201, 302, 400, 404, 422, 500]),
)
def test_no_answer_raises_anything_but_upstream_errors(data: Any, state: str, status: int) -> None:
    whole = {"status": state, "output": data, "error": data, "metrics": data, "created_at": data, "id": data}
    for shape in (data, whole):
        for operation in replicate.operations:
            try:
                replicate.parse(operation, status, JSON, json.dumps(shape).encode())
            except UpstreamError as error:
                assert error.step


# Over sockets

ANSWERS: dict[LLMType, tuple[str, Any]] = {
    LLMType.CHAT: (f"/models/{LLAMA}/predictions", ["Hi"]),
    LLMType.EMBEDDING: ("/predictions", [{"embedding": [0.5]}]),
}
NAMES = {LLMType.CHAT: LLAMA, LLMType.EMBEDDING: golden("replicate", "embeddings_batch")["model"]}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_model_that_starts_is_waited_for(upstream: FakeUpstream, kind: LLMType) -> None:
    path, output = ANSWERS[kind]
    upstream.status(path, 201, {"id": "x1", "status": "starting", "output": None})
    upstream.status("/predictions/x1", 200, {"id": "x1", "status": "succeeded", "output": output})
    credential = CredentialFields({}, OpenSecret(KEY, f"http://127.0.0.1:{upstream.port}"))
    quirks = quirks_of("replicate", NAMES[kind])
    to = Target("F", NAMES[kind], upstream.root, "replicate", "bearer", quirks, credential, own_base_url=True)
    _, operation = for_type(kind, "replicate")
    check_reply(kind, call(to, operation, probe_payload(kind, quirks), policy=POLICY))
    assert [(one.method, one.path) for one in upstream.requests] == [("POST", path), ("GET", "/predictions/x1")]
    assert {one.headers["authorization"] for one in upstream.requests} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_probe_of_the_row_says_ok(upstream: FakeUpstream, kind: LLMType) -> None:
    path, output = ANSWERS[kind]
    upstream.status(path, 201, {"id": "x", "status": "succeeded", "output": output})
    quirks = quirks_of("replicate", NAMES[kind])
    dialect, operation = for_type(kind, factory_of("replicate")["dialect"])
    credential = CredentialFields({}, OpenSecret(KEY, f"http://127.0.0.1:{upstream.port}"))
    to = Target("F", NAMES[kind], upstream.root, dialect.name, "bearer", quirks, credential, own_base_url=True)
    check_reply(kind, call(to, operation, probe_payload(kind, quirks), policy=POLICY))
    assert upstream.requests[-1].headers["prefer"] == "wait"
    assert upstream.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    upstream.rate_limited(path, retry_after="7")
    with pytest.raises(RateLimited) as caught:
        call(to, operation, probe_payload(kind, quirks), policy=POLICY)
    assert caught.value.retry_after_s == 7
