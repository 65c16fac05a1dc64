"""The Python door: vectors, scores, pictures and sound, and who may have them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput, TooManyRequests
from gateway.bundle import LLM4Tenant, LLMBundle, NotAuthorized
from gateway.bundle.texts import EMPTY
from providers.errors import AuthenticationFailed, BadReply, RateLimited
from providers.models import LLM
from tenants.models import TenantLLM
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import ACTOR, Office
from tests.gateway.python_door import HELLO, look_again, python_door, records
from tests.people import make_tenant, make_user
from usage.services import limits

Make = Callable[..., LLMBundle]


@pytest.fixture
def make(office: Office, settings: Any) -> Iterator[Make]:
    with python_door(office, settings) as bundles:
        yield bundles


def test_a_chat_is_one_record_without_a_token(make: Make, office: Office, upstream: FakeUpstream) -> None:
    bundle = make()
    assert bundle.chat("Be brief.", HELLO, {"temperature": 0.5}) == ("Hello!", 10)
    sent = upstream.requests[-1].json
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *HELLO]
    assert (sent["temperature"], sent["model"]) == (0.5, "fake-chat")
    assert (bundle.last_usage.input_tokens, bundle.last_usage.output_tokens) == (8, 2)
    assert bundle.last_cost == Decimal("0.000012")
    (record,) = records(office)
    assert (record.token_id, record.operation, record.outcome, record.status) == (None, "chat", "complete", 200)
    assert (record.llm_name, record.input_tokens, record.cost) == ("fake-chat", 8, Decimal("0.000012"))
    assert office.model().used_tokens == 10


def test_texts_become_vectors_in_their_order(make: Make, office: Office, upstream: FakeUpstream) -> None:
    found, tokens = make("embedding").encode(["a", "bb", "ccc"])
    assert found.shape == (3, 4)
    assert [round(row[0] * 64) for row in found.tolist()] == [1, 2, 3]
    assert tokens == 3
    vector, tokens = make("embedding").encode_queries("two words")
    assert (vector.shape, tokens) == ((4,), 2)
    assert len(records(office)) == 2


def test_nothing_to_embed_is_no_call(make: Make, office: Office, upstream: FakeUpstream) -> None:
    found, tokens = make("embedding").encode([])
    assert (len(found), tokens) == (0, 0)
    scores, tokens = make("rerank").similarity("q", [])
    assert (len(scores), tokens) == (0, 0)
    assert upstream.total_calls == 0
    assert records(office) == []


def test_a_long_list_is_parted_and_is_one_record(make: Make, office: Office, upstream: FakeUpstream) -> None:
    LLM.objects.filter(llm_name="fake-embedding").update(quirks={"embedding": {"batch": 4}})
    found, tokens = make("embedding").encode([f"{'x' * size} y" for size in range(1, 11)])
    assert [round(row[0] * 64) for row in found.tolist()] == list(range(3, 13))
    assert sorted(len(request.json["input"]) for request in upstream.requests) == [2, 4, 4]
    assert tokens == 20
    (record,) = records(office)
    assert (record.operation, record.input_tokens) == ("embeddings", 20)


def test_documents_and_queries_are_told_apart(make: Make, upstream: FakeUpstream) -> None:
    kinds = {"document": "passage", "query": "query", "parameter": "task"}
    LLM.objects.filter(llm_name="fake-embedding").update(quirks={"embedding": {"input_type": kinds}})
    bundle = make("embedding")
    bundle.encode(["x"])
    bundle.encode_queries("x")
    assert [request.json["task"] for request in upstream.requests] == ["passage", "query"]


def test_texts_are_cut_to_what_the_model_reads(make: Make, upstream: FakeUpstream) -> None:
    TenantLLM.objects.filter(llm_name="fake-embedding").update(max_tokens=10)
    bundle = make("embedding")
    assert bundle.max_length == 10
    bundle.encode(["x" * 1000, "短" * 1000, "", " \n"])
    first, second, *empty = upstream.requests[-1].json["input"]
    assert first == "x" * 30
    assert 5 <= len(second) <= 10
    assert empty == [EMPTY, EMPTY]


def test_scores_come_in_the_order_of_the_texts(make: Make, office: Office, upstream: FakeUpstream) -> None:
    scores, tokens = make("rerank").similarity("big cat", ["dog", "big cat", "cat"])
    assert scores.tolist() == [0.0, 1.0, 0.5]
    assert tokens == 2
    (record,) = records(office)
    assert (record.operation, record.llm_name) == ("rerank", "fake-rerank")


def test_a_text_that_was_left_out_is_not_better_than_the_others(make: Make, upstream: FakeUpstream) -> None:
    results = [{"index": 2, "relevance_score": -1.5}, {"index": 0, "relevance_score": -4.0}]
    upstream.status("/rerank", 200, {"results": results})
    first, second, third = make("rerank").similarity("q", ["a", "b", "c"])[0].tolist()
    assert first == second < third


def test_vectors_of_different_lengths_are_refused(make: Make, upstream: FakeUpstream) -> None:
    rows = [{"index": index, "embedding": [0.5] * (index + 1)} for index in range(2)]
    upstream.status("/embeddings", 200, {"data": rows})
    with pytest.raises(BadReply):
        make("embedding").encode(["a", "b"])


@pytest.mark.parametrize(
    "wrap", [bytes, BytesIO, lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}"]
)
def test_a_picture_is_described_in_the_bundle_s_language(make: Make, upstream: FakeUpstream, wrap: Any) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
    assert make("image2text", lang="English").describe(wrap(picture)) == ("Hello!", 10)
    text, image = upstream.requests[-1].json["messages"][0]["content"]
    assert text["text"].startswith("Describe")
    assert image["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    make("image2text").describe_with_prompt(wrap(picture), "How many?")
    assert upstream.requests[-1].json["messages"][0]["content"][0]["text"] == "How many?"


def test_what_is_no_picture_is_refused(make: Make, upstream: FakeUpstream) -> None:
    for nothing in (b"", None, 3, Path("/nowhere/picture.png")):
        with pytest.raises(InvalidInput):
            make("image2text").describe(nothing)
    assert upstream.total_calls == 0


def test_a_recording_becomes_text(make: Make, office: Office, upstream: FakeUpstream, tmp_path: Path) -> None:
    path = tmp_path / "said.wav"
    path.write_bytes(b"RIFF\x00\xff")
    bundle = make("speech2text")
    text, tokens = bundle.transcription(str(path))
    assert text == "Hello."
    assert tokens > 0
    assert b'filename="said.wav"' in upstream.requests[-1].body
    assert [record.audio_ms for record in records(office)] == [1000]


def test_without_a_name_it_is_the_tenant_s_default(make: Make, office: Office, upstream: FakeUpstream) -> None:
    with pytest.raises(NotAuthorized, match="default"):
        LLMBundle(office.tenant.pk, "chat")
    office.tenant.llm_id = "fake-chat@Fake"
    office.tenant.save()
    bundle = LLM4Tenant(office.tenant.pk, "chat")
    assert bundle.llm_name == "fake-chat@Fake"
    assert bundle.mdl.chat(None, HELLO)[0] == "Hello!"


def test_another_tenant_s_model_is_not_there(make: Make, office: Office, upstream: FakeUpstream) -> None:
    outsider = make_tenant(owner=make_user())
    for tenant, name in ((outsider.pk, "fake-chat"), ("0" * 32, "fake-chat"), (office.tenant.pk, "no-such")):
        with pytest.raises(LookupError) as raised:
            LLMBundle(tenant, "chat", name)
        assert isinstance(raised.value, NotAuthorized)
    assert upstream.total_calls == 0


def test_a_disabled_tenant_calls_nothing(make: Make, office: Office, upstream: FakeUpstream) -> None:
    bundle = make()
    office.tenant.status = "0"
    office.tenant.save()
    look_again()
    with pytest.raises(NotAuthorized):
        make()
    with pytest.raises(NotAuthorized):
        bundle.chat(None, HELLO)
    assert upstream.total_calls == 0


def test_a_type_has_its_own_methods_only(make: Make, upstream: FakeUpstream) -> None:
    with pytest.raises(InvalidInput, match="embeddings"):
        make("chat").encode(["x"])
    with pytest.raises(InvalidInput, match="chat"):
        make("embedding").chat(None, HELLO)
    with pytest.raises(InvalidInput, match="type"):
        make("embedding", "fake-chat")
    with pytest.raises(InvalidInput, match="There is no type"):
        make("painting", "fake-chat")
    with pytest.raises(TypeError, match="verbose"):
        make(verbose=True)
    assert upstream.total_calls == 0


def test_a_limit_of_the_tenant_holds(make: Make, office: Office, upstream: FakeUpstream) -> None:
    limits.create(tenant=office.tenant, requests_per_minute=1, actor=ACTOR)
    bundle = make()
    bundle.chat(None, HELLO)
    with pytest.raises(TooManyRequests) as raised:
        bundle.chat(None, HELLO)
    assert raised.value.code == "rate_limit_exceeded"
    assert raised.value.retry_after_s >= 1
    assert upstream.total_calls == 1


FAILURES = {
    "key": (401, {"error": {"message": "no", "code": "invalid_api_key"}}, AuthenticationFailed, "ERROR_AUTHENTICATION"),
    "often": (429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, RateLimited, "ERROR_RATE_LIMIT"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_both_doors_fail_alike(make: Make, office: Office, upstream: FakeUpstream, settings: Any, name: str) -> None:
    settings.LLM_MAX_RETRIES = 1
    status, data, kind, seed_code = FAILURES[name]
    upstream.status("/chat/completions", status, data)
    reply = office.chat()
    (http,) = office.records()
    with pytest.raises(kind) as raised:
        make().chat(None, HELLO)
    assert (raised.value.http_status, raised.value.code) == (reply.status, reply.error["code"])
    text, tokens = make(errors="text").chat(None, HELLO)
    assert text.startswith(f"**ERROR**: {seed_code} - ")
    assert tokens == 0
    python, as_text = (one for one in records(office) if one.token_id is None)
    for one in (python, as_text):
        assert (one.status, one.error_code) == (http.status, http.error_code)
        assert (one.outcome, one.stream, one.operation) == (http.outcome, http.stream, http.operation)
        assert [said for _, said, _ in one.attempts] == [said for _, said, _ in http.attempts]


def test_a_fallback_answers(make: Make, office: Office, upstream: FakeUpstream) -> None:
    with FakeUpstream() as second:
        office.serve(second, label="second")
        upstream.status("/chat/completions", 500, {})
        assert make().chat(None, HELLO)[0] == "Hello!"
        assert second.total_calls == 1
