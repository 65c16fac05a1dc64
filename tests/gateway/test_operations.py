"""Everything but chats: vectors, ranks, sound and text, by an upstream of OpenAI's format and by others."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from providers.models import LLM
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import Office, Reply
from usage.records import Outcome

pytestmark = pytest.mark.once

BOUNDARY = "fields-and-a-file"


def test_embeddings_are_passed_on_as_they_came(office: Office, upstream: FakeUpstream) -> None:
    body = (
        b'{"object":"list", "data":[{"index":0,"object":"embedding","embedding":[0.25,1e-3]}],'
        b'"usage":{"prompt_tokens":3,"total_tokens":3}}'
    )
    upstream.raw("/embeddings", body, content_type="application/json")
    reply = office.ask("/v1/embeddings", {"model": "fake-embedding", "input": "x", "dimensions": 2})
    assert reply.body == body
    assert upstream.requests[-1].json == {"model": "fake-embedding", "input": "x", "dimensions": 2}
    (record,) = office.records()
    assert (record.operation, record.usage.input_tokens, record.outcome) == ("embeddings", 3, Outcome.COMPLETE)


def tei(office: Office) -> None:
    """From now on the embedding model speaks another format."""
    LLM.objects.filter(factory=office.factory, llm_name="fake-embedding").update(
        quirks={"dialects": {"embedding": "tei"}}
    )


@pytest.mark.parametrize("as_base64", [False, True])
def test_vectors_of_another_format_come_in_openai_s(office: Office, upstream: FakeUpstream, as_base64: bool) -> None:
    tei(office)
    asked: dict[str, Any] = {"model": "fake-embedding", "input": ["a", "b"]}
    if as_base64:
        asked["encoding_format"] = "base64"
    upstream.behave("/embed", lambda handler: handler.json([[0.5, -1.0], [0.25, 2.0]]))
    reply = office.ask("/v1/embeddings", asked)
    assert reply.status == 200, reply.body
    vectors = [item["embedding"] for item in reply.data["data"]]
    if as_base64:
        vectors = [list(struct.unpack("<2f", base64.b64decode(vector))) for vector in vectors]
    assert vectors == [[0.5, -1.0], [0.25, 2.0]]
    assert [item["index"] for item in reply.data["data"]] == [0, 1]


def test_ranks_come_best_first_and_with_their_documents_on_request(office: Office, upstream: FakeUpstream) -> None:
    results = [{"index": 1, "relevance_score": 0.1}, {"index": 0, "relevance_score": 0.9}]
    upstream.status("/rerank", 200, {"results": results, "usage": {"total_tokens": 5}})
    asked = {"model": "fake-rerank", "query": "q", "documents": ["a", "b"], "return_documents": True}
    reply = office.ask("/v1/rerank", asked)
    assert reply.status == 200
    assert [(item["index"], item["relevance_score"], item["document"]["text"]) for item in reply.data["results"]] == [
        (0, 0.9, "a"),
        (1, 0.1, "b"),
    ]
    (record,) = office.records()
    assert record.operation == "rerank"
    assert record.usage.total_tokens == 5


def test_speech_is_bytes_with_their_media_type(office: Office, upstream: FakeUpstream) -> None:
    upstream.raw("/audio/speech", b"\x00\xffaudio", content_type="audio/mpeg")
    reply = office.ask("/v1/audio/speech", {"model": "fake-tts", "input": "Hello", "voice": "alloy"})
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"\x00\xffaudio", "audio/mpeg")
    (record,) = office.records()
    assert record.usage.characters == 5


def upload(office: Office, **fields: str) -> Reply:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"model": "fake-asr", **fields}.items()
    ]
    said = 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav'
    body = (
        "".join(parts).encode()
        + f"--{BOUNDARY}\r\n{said}\r\n\r\n".encode()
        + b"RIFF\x00\xff"
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    return office.ask(
        "/v1/audio/transcriptions", body, headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    )


PART = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
TOO_MUCH = {
    "a field": (f'{PART}"prompt"\r\n\r\n{"x" * 9_000_000}\r\n', 413),
    "many fields": (f'{PART}"a"\r\n\r\nb\r\n' * 1100, 400),
    "many files": (f'{PART}"a"; filename="a"\r\n\r\nb\r\n' * 110, 400),
}


@pytest.mark.parametrize(("parts", "status"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_form_with_too_much_in_it_is_the_caller_s_fault(office: Office, parts: str, status: int) -> None:
    body = f'{PART}"file"; filename="a.wav"\r\n\r\nRIFF\r\n{PART}"model"\r\n\r\nfake-asr\r\n{parts}--{BOUNDARY}--\r\n'
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    reply = office.ask("/v1/audio/transcriptions", body.encode(), headers={"content-type": kind})
    assert (reply.status, reply.data["error"]["type"]) == (status, "invalid_request_error")
    assert office.records() == []


def test_a_recording_is_sent_on_with_its_fields(office: Office, upstream: FakeUpstream) -> None:
    upstream.status("/audio/transcriptions", 200, {"text": "Hello", "language": "en"})
    reply = upload(office, language="en", temperature="0")
    assert reply.data == {"text": "Hello", "language": "en"}
    received = upstream.requests[-1].body
    assert b"RIFF\x00\xff" in received
    assert b'filename="a.wav"' in received
    assert b'name="language"\r\n\r\nen' in received
    assert b'name="model"\r\n\r\nfake-asr' in received


def test_a_transcript_comes_as_text_where_text_was_asked_for(office: Office, upstream: FakeUpstream) -> None:
    upstream.raw("/audio/transcriptions", b"Hello\n", content_type="text/plain; charset=utf-8")
    reply = upload(office, response_format="text")
    assert (reply.body, reply.headers["content-type"]) == (b"Hello\n", "text/plain; charset=utf-8")


def test_a_form_that_is_none_is_refused(office: Office, upstream: FakeUpstream) -> None:
    path = "/v1/audio/transcriptions"
    assert office.ask(path, {"model": "fake-asr"}).status == 400
    kind = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    for body in (b"", b"nothing", f"--{BOUNDARY}--\r\n".encode()):
        assert office.ask(path, body, headers=kind).status == 400
    assert upstream.total_calls == 0
