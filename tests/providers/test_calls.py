"""One call from payload to reply, against the fake upstream."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from dataclasses import replace
from typing import Any

import pytest

from core.netguard import parse_networks
from core.origins import origin_of
from core.secrets import OpenSecret
from providers.calls import call
from providers.errors import (
    AddressBlocked,
    AuthenticationFailed,
    BadReply,
    ModelNotFound,
    RateLimited,
    TimedOut,
    Unsupported,
    UpstreamError,
    Verdict,
    WrongURL,
)
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload, silent_wav, tiny_png
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.upstream import Policy
from providers.wire import Document, Embeddings, Operation, Ranking, Speech, Transcript, operation_for
from tests.fakes.upstream import KEY, FakeUpstream

POLICY = Policy(parse_networks(["127.0.0.0/8"]), connect_timeout_s=5, total_timeout_s=10)
HI = {"messages": [{"role": "user", "content": "Hi"}]}
MODEL_OF = {
    LLMType.CHAT: "fake-chat",
    LLMType.IMAGE2TEXT: "fake-vision",
    LLMType.EMBEDDING: "fake-embedding",
    LLMType.RERANK: "fake-rerank",
    LLMType.SPEECH2TEXT: "fake-asr",
    LLMType.TTS: "fake-tts",
}


def target(upstream: FakeUpstream, model: str = "fake-chat", *, key: str | None = KEY, **changes: Any) -> Target:
    url = changes.pop("base_url", upstream.url)
    secret = None if key is None else OpenSecret(key, changes.pop("origin", origin_of(url)))
    return Target("Fake", model, url, credential=CredentialFields({}, secret), **changes)


def fail(kind: type[UpstreamError], to: Target, policy: Policy = POLICY, **payload: Any) -> UpstreamError:
    with pytest.raises(kind) as caught:
        call(to, Operation.CHAT, payload or HI, policy=policy)
    return caught.value


@pytest.mark.parametrize("kind", MODEL_OF)
def test_the_cheapest_probe_of_each_type_passes_in_one_call(upstream: FakeUpstream, kind: LLMType) -> None:
    to = target(upstream, MODEL_OF[kind])
    reply = call(to, operation_for(kind), probe_payload(kind, to.quirks), policy=POLICY)
    check_reply(kind, reply)
    assert upstream.total_calls == 1


def test_models_are_listed(upstream: FakeUpstream) -> None:
    models = call(target(upstream, ""), Operation.MODELS, {}, policy=POLICY)
    assert isinstance(models, list)
    assert [model.id for model in models] == upstream.models


def test_a_wrong_key_is_told_in_one_call_and_never_repeated(upstream: FakeUpstream) -> None:
    key = "plain words that no pattern knows"
    error = fail(AuthenticationFailed, target(upstream, key=key))
    assert error.verdict is Verdict.BAD_KEY
    assert error.upstream_code == "invalid_api_key"
    assert upstream.total_calls == 1
    assert key not in repr(vars(error)) + str(error) + repr(error.args)
    assert "[redacted]" in error.detail


@pytest.mark.parametrize("signer", ["bearer", "header:authorization:Bearer", "header:x-api-key"])
def test_an_upstream_that_echoes_the_key_anywhere_is_redacted(upstream: FakeUpstream, signer: str) -> None:
    key = "zq9-unknown-shape-of-key"
    for status in (200, 302, 400, 401, 404, 500):
        error = {"message": f"got {key} and Bearer {key}", "code": key, "type": key}
        upstream.status("/chat/completions", status, {"error": error}, Location=f"https://{key}.example/{key}")
        found = fail(UpstreamError, target(upstream, key=key, signer=signer))
        assert key not in repr(vars(found)) + str(found) + repr(found.args)
        assert found.__cause__ is None


def test_a_key_is_not_sent_to_another_address_than_its_own(upstream: FakeUpstream) -> None:
    error = fail(WrongURL, target(upstream, origin="https://api.example:443"))
    assert error.step == "sign"
    assert upstream.connections == 0


def test_a_changed_copy_of_a_target_signs_anew(upstream: FakeUpstream) -> None:
    """What one credential's requests were signed with is never added to another's."""
    to = target(upstream)
    call(to, Operation.CHAT, HI, policy=POLICY)
    other = replace(to, credential=CredentialFields({}, OpenSecret("sk-other-0123456789", origin_of(upstream.url))))
    fail(AuthenticationFailed, other)
    assert [request.headers["authorization"] for request in upstream.requests] == [
        f"Bearer {KEY}",
        "Bearer sk-other-0123456789",
    ]
    assert KEY not in repr(to)


def test_a_keyless_upstream_needs_no_key() -> None:
    with FakeUpstream(key=None) as fake:
        assert call(target(fake, key=None), Operation.CHAT, HI, policy=POLICY)
        assert "authorization" not in fake.requests[0].headers


def test_each_failure_of_the_upstream_has_its_own_class(upstream: FakeUpstream) -> None:
    assert fail(ModelNotFound, target(upstream, "nope")).verdict is Verdict.NO_SUCH_MODEL
    path = "/chat/completions"
    upstream.rate_limited(path, retry_after="7")
    assert fail(RateLimited, target(upstream)).retry_after_s == 7
    upstream.html(path)
    assert "Welcome to nginx" in fail(BadReply, target(upstream)).hint
    upstream.redirect(path, "https://elsewhere.example/login")
    assert "elsewhere.example" in fail(WrongURL, target(upstream)).hint
    upstream.hang(path)
    quick = Policy(POLICY.allowed_networks, connect_timeout_s=0.3, total_timeout_s=0.3)
    assert fail(TimedOut, target(upstream), quick).step == "headers"
    assert fail(AddressBlocked, target(upstream), Policy()).step == "connect"
    assert fail(WrongURL, target(upstream, base_url=f"{upstream.root}/wrong")).verdict is Verdict.WRONG_URL


def test_a_base_url_works_with_and_without_its_version(upstream: FakeUpstream) -> None:
    quirks = Quirks.from_data({"version_path": "/v1"})
    for base in (upstream.root, f"{upstream.url}/", f"{upstream.url}/chat/completions"):
        assert call(target(upstream, base_url=base, quirks=quirks), Operation.CHAT, HI, policy=POLICY)


def test_an_unknown_dialect_or_signer_is_unsupported(upstream: FakeUpstream) -> None:
    fail(Unsupported, target(upstream, dialect="klingon"))
    fail(Unsupported, target(upstream, signer="sealing-wax"))
    assert upstream.connections == 0


# Probe payloads


def test_a_probe_asks_for_as_little_as_the_quirks_say() -> None:
    assert probe_payload("chat", Quirks.from_data({})) == {**HI, "max_tokens": 16}
    assert probe_payload("chat", Quirks.from_data({"probe": {"max_tokens": 64}}))["max_tokens"] == 64


def test_ocr_is_probed_with_a_picture_that_holds_no_text() -> None:
    payload = probe_payload("ocr", Quirks.from_data({}))
    assert (payload["file"], payload["media_type"]) == (tiny_png(), "image/png")
    check_reply("ocr", Document([""]))


def test_ocr_that_reads_no_pictures_is_probed_with_a_page() -> None:
    payload = probe_payload("ocr", Quirks.from_data({"probe": {"pdf": True}}))
    assert payload["media_type"] == "application/pdf"
    pdf = payload["file"]
    assert pdf.startswith(b"%PDF-")
    assert pdf.endswith(b"%%EOF\n")
    table = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    assert pdf[table:].startswith(b"xref\n0 6\n")
    rows = pdf[table:].splitlines(keepends=True)[2:8]
    assert {len(row) for row in rows} == {20}
    for number, row in enumerate(rows[1:], 1):
        assert pdf[int(row[:10]) :].startswith(b"%d 0 obj\n" % number)


def test_the_picture_and_the_sound_are_real() -> None:
    png = tiny_png()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (64, 64)
    assert len(png) < 1000
    start = png.index(b"IDAT")
    (size,) = struct.unpack(">I", png[start - 4 : start])
    assert len(zlib.decompress(png[start + 4 : start + 4 + size])) == 64 * (64 * 3 + 1)
    with wave.open(io.BytesIO(silent_wav())) as sound:
        assert sound.getnframes() / sound.getframerate() == 0.5


def test_a_reasoning_model_that_is_cut_off_while_thinking_is_fine() -> None:
    message = {"role": "assistant", "content": ""}
    check_reply("chat", {"choices": [{"index": 0, "message": message, "finish_reason": "length"}]})


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        (LLMType.CHAT, {"choices": []}),
        (LLMType.CHAT, Embeddings([[1.0]])),
        (LLMType.EMBEDDING, Embeddings([])),
        (LLMType.EMBEDDING, Embeddings([[]])),
        (LLMType.EMBEDDING, Embeddings([[float("nan")]])),
        (LLMType.EMBEDDING, {"choices": [1]}),
        (LLMType.RERANK, Ranking([])),
        (LLMType.TTS, Speech(b"", "audio/wav")),
        (LLMType.SPEECH2TEXT, []),
        (LLMType.OCR, {}),
        (LLMType.OCR, Document([])),
    ],
)
def test_a_reply_without_what_its_type_promises_fails(kind: LLMType, reply: Any) -> None:
    with pytest.raises(BadReply):
        check_reply(kind, reply)


def test_silence_transcribed_as_nothing_is_fine() -> None:
    check_reply("speech2text", Transcript(""))
