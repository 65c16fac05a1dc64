"""Service tiers: a call costs what the tier costs that the upstream says it served."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from providers.models import LLM
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import ACTOR, Office
from tests.gateway.test_chat import CHAT, END, chunk, pieces
from usage.models import BudgetPeriod
from usage.records import CallRecord
from usage.services import budgets

pytestmark = pytest.mark.once

USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000, "total_tokens": 1_100_000}
STANDARD, PRIORITY, FLEX, BATCH = Decimal("1.2"), Decimal("2.4"), Decimal("0.6"), Decimal("0.3")
LISTED = {
    "variants": [
        {"when": {"service_tier": "priority"}, "prices": {"input_mtok": "2", "output_mtok": "4"}},
        {"when": {"service_tier": "flex"}, "prices": {"input_mtok": "0.5", "output_mtok": "1"}},
        {"when": {"processing": "batch"}, "prices": {"input_mtok": "0.25", "output_mtok": "0.5"}},
    ]
}
TIERS = [("priority", PRIORITY), ("flex", FLEX), ("batch", BATCH), ("default", STANDARD), ("auto", STANDARD),
         ("scale", STANDARD), (None, STANDARD), (7, STANDARD), (["priority"], STANDARD)]  # fmt: skip


@pytest.fixture(autouse=True)
def listed(office: Office) -> None:
    """The models' prices are those of a price list that knows tiers."""
    LLM.objects.filter(factory=office.factory).update(price_detail=LISTED, price_source="a list 1.0")


def only(office: Office) -> CallRecord:
    (record,) = office.records()
    assert not record.usage.estimated
    return record


@pytest.mark.parametrize(("tier", "total"), TIERS)
def test_a_whole_answer_costs_what_its_tier_costs(
    office: Office, upstream: FakeUpstream, tier: Any, total: Decimal
) -> None:
    said = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    upstream.status(CHAT, 200, {"id": "1", "choices": [said], "usage": USAGE, "service_tier": tier})
    reply = office.chat(service_tier="auto")
    assert upstream.requests[-1].json["service_tier"] == "auto"
    assert only(office).cost == total == Decimal(reply.headers["x-llmadmin-cost-usd"])


@pytest.mark.parametrize("place", ["every chunk", "the last chunk"])
@pytest.mark.parametrize(("tier", "total"), TIERS)
def test_a_stream_costs_what_its_tier_costs(
    office: Office, upstream: FakeUpstream, tier: Any, total: Decimal, place: str
) -> None:
    more = {"service_tier": tier} if place == "every chunk" else {}
    last = {"id": "c", "choices": [], "usage": USAGE, "service_tier": tier}
    said = [chunk("Hi", **more), chunk(finish="stop", **more), f"data: {json.dumps(last)}\n\n".encode(), END]
    upstream.behave(CHAT, pieces(*said))
    assert office.chat(stream=True).status == 200
    assert only(office).cost == total


def test_a_stream_that_was_cut_costs_what_the_tier_costs_that_it_named(office: Office, upstream: FakeUpstream) -> None:
    upstream.behave(CHAT, pieces(chunk("four" * 50_000, service_tier="priority"), end=False))
    office.chat(stream=True)
    (record,) = office.records()
    assert record.usage.estimated and record.usage.output_tokens == 50_000
    given = record.usage.input_tokens or 0
    assert record.cost == Decimal(50_000 * 4 + given * 2) / 1_000_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("tier", "total"), [("priority", PRIORITY), ("standard", STANDARD), ("batch", BATCH)])
def test_anthropics_word_for_the_tier_is_understood(
    office: Office, upstream: FakeUpstream, tier: str, total: Decimal, stream: bool
) -> None:
    LLM.objects.filter(factory=office.factory, llm_name="fake-chat").update(quirks={"dialects": {"chat": "anthropic"}})
    usage = {"input_tokens": 1_000_000, "output_tokens": 100_000, "service_tier": tier}
    if stream:
        began = {"type": "message_start", "message": {"id": "m", "model": "x", "usage": {**usage, "output_tokens": 1}}}
        said = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}
        ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100_000}}
        opened = {"type": "content_block_start", "content_block": {"type": "text", "text": ""}}
        events = [began, opened, said, ended, {"type": "message_stop"}]
        upstream.behave("/messages", pieces(*(f"data: {json.dumps(one)}\n\n".encode() for one in events)))
    else:
        content = [{"type": "text", "text": "Hi"}]
        upstream.status("/messages", 200, {"type": "message", "id": "m", "model": "x", "role": "assistant",
                                           "content": content, "stop_reason": "end_turn", "usage": usage})  # fmt: skip
    reply = office.chat(stream=stream, max_tokens=5)
    assert reply.status == 200, reply.body
    assert only(office).cost == total
    if not stream:
        assert reply.data["service_tier"] == ("default" if tier == "standard" else tier)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("said", "total"),
    [
        ({"serviceTier": "priority"}, PRIORITY),
        ({"serviceTier": "FLEX"}, FLEX),
        ({"serviceTier": "standard"}, STANDARD),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, PRIORITY),
        ({"trafficType": "ON_DEMAND_FLEX"}, FLEX),
        ({"trafficType": "ON_DEMAND"}, STANDARD),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, STANDARD),
        ({"serviceTier": ["priority"], "trafficType": 7}, STANDARD),
        ({}, STANDARD),
    ],
)
def test_googles_words_for_the_tier_are_understood(
    office: Office, upstream: FakeUpstream, said: dict[str, Any], total: Decimal, stream: bool
) -> None:
    LLM.objects.filter(factory=office.factory, llm_name="fake-chat").update(quirks={"dialects": {"chat": "gemini"}})
    usage = {"promptTokenCount": 1_000_000, "candidatesTokenCount": 100_000, "totalTokenCount": 1_100_000, **said}
    content = {"role": "model", "parts": [{"text": "Hi"}]}
    whole = {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage}
    path = f"/models/fake-chat:{'streamGenerateContent' if stream else 'generateContent'}"
    if stream:
        upstream.behave(path, pieces(f"data: {json.dumps(whole)}\n\n".encode()))
    else:
        upstream.status(path, 200, whole)
    reply = office.chat(stream=stream, max_tokens=5)
    assert reply.status == 200, reply.body
    assert only(office).cost == total


def test_a_budget_sets_aside_what_the_tier_costs_that_is_asked_for(office: Office, upstream: FakeUpstream) -> None:
    budgets.create(tenant=office.tenant, amount=Decimal("0.003"), period=BudgetPeriod.DAY, actor=ACTOR)
    dear = office.chat(max_tokens=1000, service_tier="priority")
    assert (dear.status, dear.error["code"]) == (429, "insufficient_quota")
    assert upstream.total_calls == 0
    for tier in ("default", "flex"):
        assert office.chat(max_tokens=1000, service_tier=tier).status == 200
