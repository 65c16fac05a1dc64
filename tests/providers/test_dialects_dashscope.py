"""DashScope's own API against its documentation, and over real sockets."""

from __future__ import annotations

import base64
import io
import json
import struct
import wave
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.dialects import for_type, get
from providers.errors import BadReply, BadRequest, ContentFiltered, Unsupported, UpstreamError
from providers.llm_types import LLMType
from providers.probe_payloads import probe_payload
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import Document, Operation, Ranking, Speech, Transcript
from tests.providers import exchanges
from tests.providers.exchanges import JSON, factory_of, golden

SSE = {"content-type": "text/event-stream"}
dashscope = get("dashscope")
row = factory_of("tongyi-qianwen")
QUIRKS = Quirks.from_data(row["quirks"])
PNG = b"\x89PNG\r\n\x1a\n"
HEARD = {"output": {"choices": [{"message": {"content": [{"text": "Hello."}]}}]}}


def with_file(case: dict[str, Any]) -> dict[str, Any]:
    """The case with the bytes that JSON cannot hold."""
    file = case.get("audio") or case.get("picture")
    return {**case, "payload": {**case["payload"], "file": base64.b64decode(file)}} if file else case


def events(*datas: Any) -> bytes:
    return "".join(
        f"id:{i}\nevent:result\n:HTTP_STATUS/200\ndata:{json.dumps(d)}\n\n" for i, d in enumerate(datas)
    ).encode()


def spoken(samples: bytes) -> dict[str, Any]:
    return {"output": {"audio": {"data": base64.b64encode(samples).decode(), "url": ""}}}


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("ocr", Operation.OCR),
        ("ocr_asked", Operation.OCR),
        ("ocr_schema", Operation.OCR),
        ("rerank", Operation.RERANK),
        ("speech", Operation.SPEECH),
        ("transcription_qwen", Operation.TRANSCRIPTION),
        ("transcription_fun", Operation.TRANSCRIPTION),
    ],
)
def test_a_request_is_built_as_documented(name: str, operation: Operation) -> None:
    exchanges.check_request(dashscope, operation, with_file(golden("dashscope", name)))


@pytest.mark.parametrize(
    "base_url",
    [
        "https://h",
        "https://h/compatible-mode/v1",
        "https://h/compatible-mode/v1/",
        "https://h/compatible-mode/v1/chat/completions",
        "https://h/compatible-mode",
        "https://h/compatible-api/v1",
        "https://h/api/v1",
        "https://h/api/v1/services/rerank/text-rerank/text-rerank",
    ],
)
def test_the_native_paths_are_found_beside_the_compatible_ones(base_url: str) -> None:
    to = Target("F", "gte-rerank-v2", base_url, quirks=QUIRKS, own_base_url=True)
    request = dashscope.build(Operation.RERANK, {"query": "q", "documents": ["d"]}, to)
    assert request.url == "https://h/api/v1/services/rerank/text-rerank/text-rerank"


def test_a_host_named_api_keeps_its_name() -> None:
    to = Target("F", "gte-rerank-v2", "https://api/v1", quirks=QUIRKS)
    assert dashscope.build(Operation.RERANK, {"query": "q", "documents": ["d"]}, to).url.startswith("https://api/")


def test_a_ranking_is_a_list_of_positions_and_scores() -> None:
    case = golden("dashscope", "rerank")
    parsed = exchanges.parsed(dashscope, Operation.RERANK, case)
    assert isinstance(parsed, Ranking)
    assert [list(score) for score in parsed] == case["parsed"]
    assert parsed.usage == case["usage"]


@pytest.mark.parametrize("name", ["transcription_qwen", "transcription_fun"])
def test_a_transcript_is_its_text(name: str) -> None:
    case = golden("dashscope", name)
    assert exchanges.parsed(dashscope, Operation.TRANSCRIPTION, case) == Transcript(case["parsed"], case["usage"])


@pytest.mark.parametrize("name", ["ocr", "ocr_asked", "ocr_schema"])
def test_a_picture_becomes_a_document_of_one_page(name: str) -> None:
    case = golden("dashscope", name)
    assert exchanges.parsed(dashscope, Operation.OCR, case) == Document(case["parsed"], case["usage"])


def test_a_picture_without_text_is_an_empty_page() -> None:
    for content in ([], [{"text": " "}], ""):
        body = json.dumps({"output": {"choices": [{"message": {"content": content}}]}}).encode()
        assert dashscope.parse(Operation.OCR, 200, JSON, body) == Document([""])


def test_a_page_that_was_cut_off_is_not_taken_for_a_whole_one() -> None:
    choice = {"finish_reason": "length", "message": {"content": [{"text": "The beginning"}]}}
    with pytest.raises(BadReply, match="more text"):
        dashscope.parse(Operation.OCR, 200, JSON, json.dumps({"output": {"choices": [choice]}}).encode())


def test_audio_without_speech_is_an_empty_transcript() -> None:
    body = json.dumps({"code": "InvalidParameter", "message": "ASR_RESPONSE_HAVE_NO_WORDS"}).encode()
    assert dashscope.parse(Operation.TRANSCRIPTION, 400, JSON, body) == Transcript("")
    empty = {"output": {"choices": [{"message": {"content": []}}]}}
    assert dashscope.parse(Operation.TRANSCRIPTION, 200, JSON, json.dumps(empty).encode()) == Transcript("")


def test_pieces_of_speech_become_one_wav_file() -> None:
    case = golden("dashscope", "speech")
    parsed = dashscope.parse(Operation.SPEECH, 200, case["reply"]["headers"], events(*case["reply"]["events"]))
    assert isinstance(parsed, Speech)
    assert parsed.media_type == "audio/wav"
    with wave.open(io.BytesIO(parsed.audio)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert list(struct.unpack("<3h", file.readframes(3))) == case["parsed"]["samples"]


def test_speech_that_is_a_wav_file_stays_as_it_is() -> None:
    parsed = dashscope.parse(Operation.SPEECH, 200, JSON, json.dumps(spoken(b"RIFF....WAVE")).encode())
    assert parsed == Speech(b"RIFF....WAVE", "audio/wav")


@pytest.mark.parametrize("name", ["error", "result"])
def test_an_error_within_the_stream_is_raised(name: str) -> None:
    failed = json.dumps({"code": "DataInspectionFailed", "message": "m"})
    with pytest.raises(ContentFiltered):
        dashscope.parse(
            Operation.SPEECH, 200, SSE, events(spoken(b"\0\0")) + f"event:{name}\ndata:{failed}\n\n".encode()
        )


@pytest.mark.parametrize(
    "body",
    [
        events({"output": {"audio": {"data": "", "url": "https://h/x.wav"}}}),
        events({"output": {"audio": {"data": "!"}}}),
        events([1]),
        b"data:{\n\n",
        b"",
        b"data:" + b"x" * 5_000_000,
    ],
)
def test_speech_without_audio_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReply):
        dashscope.parse(Operation.SPEECH, 200, SSE, body)


@pytest.mark.parametrize(
    "case", golden("dashscope", "errors")["cases"], ids=lambda case: str(case.get("json", case))[:60]
)
def test_an_error_is_a_member_of_the_tree(case: dict[str, Any]) -> None:
    exchanges.check_error(dashscope, Operation.RERANK, case)


@pytest.mark.parametrize(
    ("operation", "payload", "model", "kind"),
    [
        (Operation.RERANK, {"query": "q", "documents": []}, "m", BadRequest),
        (Operation.RERANK, {"query": "q", "documents": [1]}, "m", BadRequest),
        (Operation.RERANK, {"query": 1, "documents": ["d"]}, "m", BadRequest),
        (Operation.RERANK, {"query": "q", "documents": ["d"], "top_n": 0}, "m", BadRequest),
        (Operation.RERANK, {"query": "q", "documents": ["d"], "x": 1}, "m", Unsupported),
        (Operation.SPEECH, {"input": 1}, "qwen3-tts-flash", BadRequest),
        (Operation.SPEECH, {"input": "Hi", "response_format": "mp3"}, "qwen3-tts-flash", Unsupported),
        (Operation.SPEECH, {"input": "Hi", "speed": 2}, "qwen3-tts-flash", Unsupported),
        (Operation.SPEECH, {"input": "Hi"}, "qwen3-tts-flash-realtime", Unsupported),
        (Operation.SPEECH, {"input": "Hi"}, "sambert-zhiru-v1", Unsupported),
        (Operation.TRANSCRIPTION, {"file": b"a"}, "paraformer-v2", Unsupported),
        (Operation.TRANSCRIPTION, {"file": b"a"}, "fun-asr", Unsupported),
        (Operation.TRANSCRIPTION, {"file": b"a"}, "qwen3-asr-flash-filetrans", Unsupported),
        (Operation.TRANSCRIPTION, {"file": b"a"}, "qwen3-asr-flash-realtime-2026-02-10", Unsupported),
        (Operation.TRANSCRIPTION, {"file": b"a", "enable_itn": True}, "fun-asr-flash-2026-06-15", Unsupported),
        (Operation.TRANSCRIPTION, {"file": b"a", "response_format": "srt"}, "qwen3-asr-flash", Unsupported),
        (Operation.TRANSCRIPTION, {"file": "a"}, "qwen3-asr-flash", BadRequest),
        (Operation.TRANSCRIPTION, {"file": b"a", "prompt": 1}, "qwen3-asr-flash", BadRequest),
        (Operation.TRANSCRIPTION, {"file": b"a", "media_type": "a/b;c,d"}, "qwen3-asr-flash", BadRequest),
        (Operation.TRANSCRIPTION, {"file": bytes(8 * 1024 * 1024)}, "qwen3-asr-flash", BadRequest),
        (Operation.OCR, {"file": "a"}, "qwen-vl-ocr", BadRequest),
        (Operation.OCR, {"file": b"a"}, "qwen-vl-ocr", BadRequest),
        (Operation.OCR, {"file": b"%PDF-1.7"}, "qwen-vl-ocr", Unsupported),
        (Operation.OCR, {"file": PNG, "task": "poetry"}, "qwen-vl-ocr", BadRequest),
        (Operation.OCR, {"file": PNG, "task": "table_parsing"}, "qwen3.6-plus", Unsupported),
        (Operation.OCR, {"file": PNG, "result_schema": {"a": ""}}, "qwen3.6-plus", Unsupported),
        (Operation.OCR, {"file": PNG, "pages": [1]}, "qwen-vl-ocr", Unsupported),
        (Operation.OCR, {"file": PNG + bytes(8 * 1024 * 1024)}, "qwen-vl-ocr", BadRequest),
        (Operation.CHAT, {"messages": []}, "m", Unsupported),
    ],
)
def test_what_cannot_be_sent_is_refused(
    operation: Operation, payload: Any, model: str, kind: type[UpstreamError]
) -> None:
    with pytest.raises(kind) as caught:
        dashscope.build(operation, payload, Target("F", model, "https://h"))
    assert caught.value.step == "build"


def test_nothing_is_streamed() -> None:
    with pytest.raises(Unsupported):
        dashscope.decoder(Operation.SPEECH)


NAMES = ["output", "results", "index", "relevance_score", "audio", "data", "choices", "message", "content", "text"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "sentence", "sentences", "code"]), inner)
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from(sorted(dashscope.operations)), st.sampled_from([200, 302, 400, 404, 429, 500]))
def test_no_answer_raises_anything_but_upstream_errors(data: Any, operation: Operation, status: int) -> None:
    for shape in (data, {"output": data}, {"output": {"choices": [{"message": {"content": data}}]}}):
        for headers, body in ((JSON, json.dumps(shape).encode()), (SSE, events(shape))):
            try:
                dashscope.parse(operation, status, headers, body)
            except UpstreamError as error:
                assert error.step


@given(st.binary(max_size=200), st.sampled_from([JSON, SSE]), st.sampled_from(sorted(dashscope.operations)))
def test_no_bytes_raise_anything_but_upstream_errors(
    body: bytes, headers: dict[str, str], operation: Operation
) -> None:
    with pytest.raises(UpstreamError):
        dashscope.parse(operation, 200, headers, body)


# The row that we ship


def test_each_type_of_the_row_goes_to_its_path_on_the_one_host() -> None:
    base_url, model = (
        row["base_url"],
        {LLMType.TTS: "qwen3-tts-flash", LLMType.SPEECH2TEXT: "qwen3-asr-flash"},
    )
    urls = {}
    for kind in LLMType:
        dialect, operation = for_type(kind, QUIRKS.dialect_for(kind) or row["dialect"])
        to = Target("F", model.get(kind, "m"), base_url, quirks=QUIRKS)
        urls[kind] = dialect.build(operation, probe_payload(kind, QUIRKS), to).url
    host = "https://dashscope.aliyuncs.com"
    generation = f"{host}/api/v1/services/aigc/multimodal-generation/generation"
    assert urls == {
        LLMType.CHAT: f"{host}/compatible-mode/v1/chat/completions",
        LLMType.IMAGE2TEXT: f"{host}/compatible-mode/v1/chat/completions",
        LLMType.EMBEDDING: f"{host}/compatible-mode/v1/embeddings",
        LLMType.RERANK: f"{host}/api/v1/services/rerank/text-rerank/text-rerank",
        LLMType.TTS: generation,
        LLMType.SPEECH2TEXT: generation,
        LLMType.OCR: generation,
    }
