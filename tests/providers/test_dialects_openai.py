"""OpenAI's wire format against the vendors' own examples, and against streams cut anywhere."""

from __future__ import annotations

import base64
import json
import struct
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse, Model
from openai.types.audio import Transcription
from openai.types.chat import ChatCompletion

from providers.dialects import get
from providers.errors import (
    AuthenticationFailed,
    BadReply,
    BadRequest,
    Unsupported,
)
from providers.target import Target
from providers.wire import Embeddings, Operation, Ranking, RemoteModel, Speech, Transcript
from tests.providers import exchanges
from tests.providers.exchanges import JSON

openai = get("openai")


def golden(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = exchanges.golden("openai", name)
    return loaded


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("chat", Operation.CHAT),
        ("embeddings", Operation.EMBEDDINGS),
        ("rerank_jina", Operation.RERANK),
        ("rerank_cohere", Operation.RERANK),
        ("speech", Operation.SPEECH),
        ("models", Operation.MODELS),
    ],
)
def test_a_request_is_built_as_the_vendor_documents_it(name: str, operation: Operation) -> None:
    exchanges.check_request(openai, operation, golden(name))


def reply(name: str, operation: Operation) -> Any:
    return exchanges.parsed(openai, operation, golden(name))


def test_a_chat_reply_keeps_everything_and_parses_as_openais_type() -> None:
    parsed = reply("chat", Operation.CHAT)
    assert parsed == golden("chat")["reply"]["json"]
    completion = ChatCompletion.model_validate(parsed)
    assert completion.choices[0].message.content == "Hello! How can I assist you today?"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 29


def test_embeddings_are_vectors_in_the_order_of_the_input() -> None:
    parsed = reply("embeddings", Operation.EMBEDDINGS)
    assert isinstance(parsed, Embeddings)
    assert list(parsed) == golden("embeddings")["parsed"]
    assert parsed.usage == {"prompt_tokens": 8, "total_tokens": 8}
    rows = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(parsed)]
    echoed = {"object": "list", "data": rows, "model": parsed.model, "usage": parsed.usage}
    assert CreateEmbeddingResponse.model_validate(echoed).data[0].embedding == parsed[0]


@pytest.mark.parametrize("name", ["rerank_jina", "rerank_cohere"])
def test_a_ranking_is_a_list_of_positions_and_scores(name: str) -> None:
    parsed = reply(name, Operation.RERANK)
    assert isinstance(parsed, Ranking)
    assert [list(score) for score in parsed] == golden(name)["parsed"]
    assert parsed.usage


def test_speech_is_bytes_with_a_media_type() -> None:
    parsed = reply("speech", Operation.SPEECH)
    expected = golden("speech")["parsed"]
    assert parsed == Speech(base64.b64decode(expected["base64"]), expected["media_type"])


def test_models_are_listed_with_their_whole_entry() -> None:
    parsed = reply("models", Operation.MODELS)
    assert [model.id for model in parsed] == golden("models")["parsed"]
    assert [Model.model_validate(model.raw).owned_by for model in parsed] == [model.owned_by for model in parsed]


def test_a_transcription_is_uploaded_as_a_form_and_parses_as_openais_type() -> None:
    case = golden("transcription")
    audio = base64.b64decode(case["file_base64"])
    payload = {"file": audio, **case["payload"]}
    request = openai.build(Operation.TRANSCRIPTION, payload, exchanges.target(case))
    assert (request.method, request.url) == (case["request"]["method"], case["request"]["url"])
    assert request == openai.build(Operation.TRANSCRIPTION, payload, exchanges.target(case))
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    form = BytesParser(policy=HTTP).parsebytes(head + (request.body or b""))
    *fields, file = list(form.iter_parts())
    found = [[part.get_param("name", header="content-disposition"), part.get_content().strip()] for part in fields]
    assert found == case["fields"]
    assert file.get_filename() == "audio.mp3"
    assert (file.get_content_type(), file.get_content()) == ("audio/mpeg", audio)
    parsed = reply("transcription", Operation.TRANSCRIPTION)
    assert isinstance(parsed, Transcript)
    assert (parsed.text, str(parsed)) == (case["parsed"], case["parsed"])
    assert Transcription.model_validate({"text": parsed.text}).text == case["parsed"]


@given(st.text(max_size=30), st.text(max_size=30), st.binary(min_size=1, max_size=50))
def test_nothing_in_a_form_can_break_out_of_its_field(name: str, value: str, audio: bytes) -> None:
    payload = {"file": audio, "filename": f'a"\r\n{name}', "prompt": value, "x": f'"\r\nContent-Type: {name}'}
    case = Target("F", "m", "https://h/v1")
    try:
        request = openai.build(Operation.TRANSCRIPTION, payload, case)
    except BadRequest:
        return
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    assert request.body is not None
    assert request.body.count(b"--" + boundary) == 5
    assert request.body.endswith(b"\r\n--" + boundary + b"--\r\n")


def test_a_transcript_may_come_as_plain_text() -> None:
    parsed = openai.parse(Operation.TRANSCRIPTION, 200, {"content-type": "text/plain; charset=utf-8"}, b"1\n00:00 Hi")
    assert isinstance(parsed, Transcript)
    assert parsed.text == "1\n00:00 Hi"


def test_quirks_change_the_request() -> None:
    quirks = {
        "version_path": "/v2",
        "paths": {"chat": "/talk"},
        "name_map": {"big": "upstream-big"},
        "params": {"rename": {"max_tokens": "max_completion_tokens"}, "drop": ["seed"]},
    }
    payload = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "seed": 7, "model": "someone-elses"}
    request = openai.build(
        Operation.CHAT, payload, exchanges.target({"model": "big", "base_url": "https://h"}, **quirks)
    )
    assert request.url == "https://h/v2/talk"
    assert json.loads(request.body or b"") == {
        "model": "upstream-big",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 5,
    }


@pytest.mark.parametrize(
    ("operation", "payload"),
    [
        (Operation.CHAT, {}),
        (Operation.CHAT, {"messages": []}),
        (Operation.CHAT, {"messages": [{1, 2}]}),
        (Operation.CHAT, {"messages": ["\ud800"]}),
        (Operation.EMBEDDINGS, {"input": []}),
        (Operation.RERANK, {"query": "x"}),
        (Operation.SPEECH, {}),
        (Operation.TRANSCRIPTION, {"file": b""}),
        (Operation.TRANSCRIPTION, {"file": "text"}),
        (Operation.TRANSCRIPTION, {"file": b"x", "media_type": "a/b\r\nX: y"}),
        (Operation.TRANSCRIPTION, {"file": b"x", "prompt": "\ud800"}),
    ],
)
def test_a_payload_that_cannot_be_sent_is_a_bad_request(operation: Operation, payload: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        openai.build(operation, payload, Target("F", "m", "https://h/v1"))
    assert caught.value.step == "build"


def test_what_it_cannot_do_is_unsupported() -> None:
    for act in (
        lambda: openai.build(Operation.OCR, {}, Target("F", "m", "https://h")),
        lambda: openai.parse(Operation.OCR, 200, JSON, b"{}"),
        lambda: openai.decoder(Operation.EMBEDDINGS),
    ):
        with pytest.raises(Unsupported):
            act()


def parse(operation: Operation, data: Any, headers: dict[str, str] = JSON) -> Any:
    return openai.parse(operation, 200, headers, data if isinstance(data, bytes) else json.dumps(data).encode())


@pytest.mark.parametrize(
    ("operation", "data"),
    [
        (Operation.CHAT, {}),
        (Operation.CHAT, []),
        (Operation.CHAT, {"choices": []}),
        (Operation.CHAT, {"choices": [{"text": "completion"}]}),
        (Operation.CHAT, b""),
        (Operation.CHAT, b'{"choices"'),
        (Operation.CHAT, b"\xff\xfe"),
        (Operation.EMBEDDINGS, {"data": None}),
        (Operation.EMBEDDINGS, {"data": [{"embedding": "!!"}]}),
        (Operation.EMBEDDINGS, {"data": [{"embedding": [1, "2"]}]}),
        (Operation.EMBEDDINGS, {"data": [{"embedding": [True]}]}),
        (Operation.EMBEDDINGS, b'{"data": [{"embedding": [NaN]}]}'),
        (Operation.EMBEDDINGS, b'{"data": [{"embedding": [1e999]}]}'),
        (Operation.EMBEDDINGS, {"data": [{"embedding": [1], "index": 0}, {"embedding": [2], "index": 0}]}),
        (Operation.RERANK, {"results": None}),
        (Operation.RERANK, {"results": [{"index": "0", "relevance_score": 1}]}),
        (Operation.RERANK, {"results": [{"index": -1, "relevance_score": 1}]}),
        (Operation.RERANK, {"results": [{"index": 0, "relevance_score": None}]}),
        (Operation.TRANSCRIPTION, {"txt": ""}),
        (Operation.MODELS, {"data": "x"}),
        (Operation.MODELS, b"Ollama is running"),
    ],
)
def test_a_reply_of_another_shape_is_a_bad_reply(operation: Operation, data: Any) -> None:
    with pytest.raises(BadReply) as caught:
        parse(operation, data)
    assert caught.value.step == "parse"


def test_speech_that_is_no_audio_is_a_bad_reply() -> None:
    for headers, body in (({"content-type": "text/plain"}, b"hello"), ({"content-type": "audio/mpeg"}, b"")):
        with pytest.raises(BadReply):
            parse(Operation.SPEECH, body, headers)
    with pytest.raises(AuthenticationFailed):
        parse(Operation.SPEECH, {"error": {"code": "invalid_api_key", "message": "x"}})


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.EMBEDDINGS, Operation.RERANK, Operation.MODELS])
def test_an_error_that_comes_as_a_success_is_still_an_error(operation: Operation) -> None:
    with pytest.raises(AuthenticationFailed):
        parse(operation, {"error": {"code": "invalid_api_key", "message": "wrong"}})


def test_a_sparse_chat_reply_is_completed_without_inventing_usage() -> None:
    sparse = {"choices": [{"message": {"content": "Hi", "reasoning_content": "..."}, "finish_reason": "eos"}]}
    parsed = parse(Operation.CHAT, {**sparse, "usage": {"total_tokens": None}})
    completion = ChatCompletion.model_validate(parsed)
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is None
    assert parsed["choices"][0]["message"]["reasoning_content"] == "..."


MAGISTRAL = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Greet"}, {"type": "text", "text": "."}]},
    {"type": "text", "text": "Hello."},
]


@pytest.mark.parametrize(
    "said",
    [
        {"content": "Hello.", "reasoning_content": "Greet."},
        {"content": "Hello.", "reasoning": "Greet."},
        {"content": "Hello.", "reasoning": "Greet.", "reasoning_content": "Greet."},
        {"content": MAGISTRAL},
    ],
)
def test_thoughts_have_one_name_whatever_the_vendor_calls_them(said: dict[str, Any]) -> None:
    message = parse(Operation.CHAT, {"choices": [{"message": said}]})["choices"][0]["message"]
    assert {name: value for name, value in message.items() if value} == {
        "role": "assistant",
        "content": "Hello.",
        "reasoning_content": "Greet.",
    }


def test_calls_of_tools_are_as_openais_however_a_server_writes_them() -> None:
    calls = [
        {"function": {"name": "f", "arguments": {"city": "Köln"}}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        {"id": "c", "type": "custom", "custom": {"name": "h", "input": "x"}},
    ]
    choice = {"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}
    completion = ChatCompletion.model_validate(parse(Operation.CHAT, {"choices": [choice]}), strict=True)
    first, second, third = completion.choices[0].message.tool_calls or ()
    assert first.model_dump(exclude_none=True) == {
        "id": "call_0",
        "type": "function",
        "function": {"name": "f", "arguments": '{"city":"Köln"}'},
    }
    assert (second.id, third.type) == ("b", "custom")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 2, "completion_tokens": 3}, (2, 3, 5)),
        ({"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 9}, (2, 3, 9)),
        ({"prompt_tokens": 2, "total_tokens": 9}, None),
        ({"prompt_tokens": True, "completion_tokens": 3}, None),
        ({"prompt_tokens": -1, "completion_tokens": 3}, None),
        ([], None),
    ],
)
def test_usage_is_known_where_both_sums_are(usage: Any, expected: tuple[int, int, int] | None) -> None:
    found = parse(Operation.CHAT, {"choices": [{"message": {"content": "Hi"}}], "usage": usage}).get("usage")
    assert (found and tuple(found.values())) == expected


def test_vectors_come_back_in_order_and_from_base64_too() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -1.0)).decode()
    parsed = parse(Operation.EMBEDDINGS, {"data": [{"index": 1, "embedding": [3]}, {"index": 0, "embedding": packed}]})
    assert list(parsed) == [[0.5, -1.0], [3.0]]
    assert parsed.usage is None


@pytest.mark.parametrize(
    "data",
    [
        {"data": [{"index": 1, "relevance_score": 0.5}]},
        {"rankings": [{"index": 1, "logit": 0.0}]},
        {"results": [{"index": 1, "score": 0.5}]},
        [{"index": 1, "score": 0.5}],
    ],
)
def test_a_ranking_is_understood_in_every_known_shape(data: Any) -> None:
    assert list(parse(Operation.RERANK, data)) == [(1, 0.5)]


@pytest.mark.parametrize(
    "data",
    [
        {"object": "list", "data": [{"id": "a"}, {"id": ""}, {"x": 1}, {"id": "a"}]},
        {"models": [{"name": "a"}]},
        [{"id": "a"}],
        ["a"],
    ],
)
def test_a_list_of_models_is_understood_in_every_known_shape(data: Any) -> None:
    models = parse(Operation.MODELS, data)
    assert [model.id for model in models] == ["a"]
    assert isinstance(models[0], RemoteModel)


@pytest.mark.parametrize("name", ["relevance_score", "score", "logit"])
def test_scores_come_in_one_scale_whatever_the_upstream_s(name: str) -> None:
    logits = [{"index": place, name: logit} for place, logit in enumerate((9.0, 0.0, -800.0))]
    ranking = get("openai").parse(Operation.RERANK, 200, JSON, json.dumps({"results": logits}).encode())
    first, second, third = (score.score for score in ranking)
    assert 0.999 < first <= 1
    assert second == 0.5
    assert third == pytest.approx(0)
    shares = {"results": [{"index": 0, "relevance_score": 0.25}, {"index": 1, "relevance_score": 0.0}]}
    ranking = get("openai").parse(Operation.RERANK, 200, JSON, json.dumps(shares).encode())
    assert [score.score for score in ranking] == [0.25, 0.0]
