"""The formats of DashScope, Replicate and Deepgram, and the rows that speak them, against fakes that are as strict."""

from __future__ import annotations

from typing import Any

import pytest

from core.origins import origin_of
from core.secrets import OpenSecret
from providers.calls import call
from providers.dialects import for_type
from providers.errors import AuthenticationFailed, BadRequest, ModelNotFound
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload, silent_wav, tiny_png
from providers.target import CredentialFields, Target
from providers.wire import Document, Embeddings, Speech, Transcript
from tests.fakes import natives
from tests.fakes.upstream import KEY, FakeUpstream
from tests.providers.exchange_cases import POLICY
from tests.providers.exchanges import factory_of, quirks_of

LLAMA = "meta/meta-llama-3-8b-instruct"
GRANITE, MPNET = (
    "ibm-granite/granite-embedding-278m-multilingual:1f76d42a05f120e12272746d5a2d86b525c13420773f795a4cbef9117d8685f1",
    "replicate/all-mpnet-base-v2:b6b7585c9640cd7a9572c6e129c9549d79c9c31f0d3fdce7baac7c67ca38f305",
)
CASES = [
    ("tongyi-qianwen", LLMType.RERANK, "gte-rerank-v2"),
    ("tongyi-qianwen", LLMType.SPEECH2TEXT, "qwen3-asr-flash"),
    ("tongyi-qianwen", LLMType.TTS, "qwen3-tts-flash"),
    ("tongyi-qianwen", LLMType.OCR, "qwen-vl-ocr"),
    ("tongyi-qianwen", LLMType.OCR, "qwen3.6-plus"),
    ("replicate", LLMType.CHAT, LLAMA),
    ("replicate", LLMType.EMBEDDING, GRANITE),
    ("replicate", LLMType.EMBEDDING, MPNET),
    ("greenpt", LLMType.SPEECH2TEXT, "green-s"),
]
FAKES = {"tongyi-qianwen": natives.dashscope, "replicate": natives.replicate, "greenpt": natives.deepgram}


def ask(row: str, kind: LLMType, model: str, payload: Any = None, *, key: str = KEY, models: Any = None) -> Any:
    factory = factory_of(row)
    quirks = quirks_of(row, model)
    dialect, operation = for_type(kind, quirks.dialect_for(kind) or factory["dialect"])
    with FakeUpstream(models=[model] if models is None else models) as upstream:
        FAKES[row](upstream)
        base_url = f"{upstream.root}/compatible-mode/v1" if row == "tongyi-qianwen" else upstream.url
        to = Target(
            *(row, model, base_url, dialect.name, quirks.signers.get(kind) or factory["signer"], quirks),
            credential=CredentialFields({}, OpenSecret(key, origin_of(upstream.url))),
            own_base_url=True,
        )
        return call(to, operation, payload or probe_payload(kind, quirks), policy=POLICY)


@pytest.mark.parametrize(("row", "kind", "model"), CASES)
def test_a_probe_says_ok(row: str, kind: LLMType, model: str) -> None:
    check_reply(kind, ask(row, kind, model))


@pytest.mark.parametrize(("row", "kind", "model"), CASES)
def test_a_wrong_key_is_told_and_not_repeated(row: str, kind: LLMType, model: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        ask(row, kind, model, key="zq9-of-another-one")
    assert "zq9" not in repr(vars(caught.value)) + str(caught.value)


@pytest.mark.parametrize(("row", "kind", "model"), [case for case in CASES if case[0] != "replicate"])
def test_a_model_that_is_not_there_is_told(row: str, kind: LLMType, model: str) -> None:
    with pytest.raises(ModelNotFound):
        ask(row, kind, model, models=[])


def test_answers_are_those_to_what_was_asked() -> None:
    wav, png = silent_wav(), tiny_png()
    ranked = {"query": "red sky", "documents": ["blue sea", "red sky", "red sea"], "top_n": 2}
    assert list(ask("tongyi-qianwen", LLMType.RERANK, "gte-rerank-v2", ranked)) == [(1, 1.0), (2, 0.5)]
    expected: list[tuple[str, LLMType, str, Any, Any]] = [
        ("tongyi-qianwen", LLMType.SPEECH2TEXT, "qwen3-asr-flash", {"file": wav}, f"{len(wav)} bytes of sound"),
        ("greenpt", LLMType.SPEECH2TEXT, "green-s", {"file": wav}, f"{len(wav)} bytes of sound"),
    ]
    for row, kind, model, payload, text in expected:
        reply = ask(row, kind, model, payload)
        assert isinstance(reply, Transcript)
        assert reply.text == text
    for model, payload, task in (
        ("qwen-vl-ocr", {"file": png}, "text_recognition"),
        ("qwen-vl-ocr", {"file": png, "task": "document_parsing"}, "document_parsing"),
        ("qwen3.6-plus", {"file": png}, "asked"),
    ):
        read = ask("tongyi-qianwen", LLMType.OCR, model, payload)
        assert isinstance(read, Document)
        assert read.pages == [f"{task}: {len(png)} bytes of a picture"]
    spoken = ask("tongyi-qianwen", LLMType.TTS, "qwen3-tts-flash", {"input": "Hello"})
    assert isinstance(spoken, Speech)
    assert spoken.audio.endswith(b"\1\0" * 5)
    for model in (GRANITE, MPNET):
        embedded = ask("replicate", LLMType.EMBEDDING, model, {"input": ["a", "abc"]})
        assert isinstance(embedded, Embeddings)
        assert list(embedded) == [[1.0, 1.0], [3.0, 1.0]]
    said = ask("replicate", LLMType.CHAT, LLAMA, {"messages": [{"role": "user", "content": "Hi"}]})
    assert said["choices"][0]["message"]["content"] == "You said: Hi"


def test_a_request_that_the_vendor_refuses_is_told_in_its_words() -> None:
    with pytest.raises(BadRequest, match="no audio"):
        ask("greenpt", LLMType.SPEECH2TEXT, "green-s", {"file": b"x", "media_type": "text/plain"})
    with pytest.raises(BadRequest, match="audio in a data URL"):
        ask("tongyi-qianwen", LLMType.SPEECH2TEXT, "qwen3-asr-flash", {"file": b"x", "media_type": "text/plain"})
