"""Embedding long lists: parted as the row says, and put together again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.netguard import parse_networks
from core.secrets import OpenSecret
from providers.batches import AT_ONCE, cut, embed, in_batches, joined, split, tokens_at_most
from providers.errors import BadReply, BadRequest, QuotaExceeded, RateLimited
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.upstream import Policy
from providers.wire import Embeddings
from tests.fakes.upstream import KEY, FakeUpstream, Handler

POLICY = Policy(parse_networks(["127.0.0.0/8"]), connect_timeout_s=5, total_timeout_s=20)


def quirks(**embedding: Any) -> Quirks:
    return Quirks.from_data({"embedding": embedding})


# Parting and joining


@given(
    st.lists(st.text(max_size=30) | st.lists(st.integers(0, 9), max_size=5), max_size=40),
    st.integers(1, 7),
    st.none() | st.integers(1, 20),
)
def test_parts_keep_the_order_and_hold_no_more_than_they_may(inputs: list[Any], texts: int, tokens: int | None) -> None:
    parts = split(inputs, texts=texts, tokens=tokens)
    assert [one for part in parts for one in part] == inputs
    for part in parts:
        assert len(part) <= texts
        assert tokens is None or len(part) == 1 or sum(map(tokens_at_most, part)) <= tokens
    # no part could have taken the first of the next one, too
    for part, after in itertools.pairwise(parts):
        full = len(part) == texts
        assert full or (tokens is not None and sum(map(tokens_at_most, [*part, after[0]])) > tokens)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("abc", 1), ("abcd", 2), ("天", 2), ("天很蓝", 4), ("a天", 3), ([1, 2, 3], 3), (5, 1)]
)
def test_tokens_are_estimated_rather_too_high(text: Any, tokens: int) -> None:
    assert tokens_at_most(text) == tokens


@given(st.text(alphabet=st.sampled_from("ab 天é😀"), max_size=200), st.integers(0, 80))
def test_a_text_is_cut_as_late_as_it_may(text: str, tokens: int) -> None:
    short = cut(text, tokens)
    assert text.startswith(short)
    assert tokens_at_most(short) <= tokens
    if short != text:
        assert tokens_at_most(text[: len(short) + 1]) > tokens


def test_what_all_parts_count_is_summed_and_what_one_does_not_count_is_unknown() -> None:
    details: Mapping[str, Any] = {"prompt_tokens": 2, "details": {"text": 2, "image": 0}, "unit": "tokens", "cost": 0.5}
    other = {"prompt_tokens": 3, "details": {"text": 3}, "unit": "tokens", "cost": 0.25, "extra": 1}
    parts = [Embeddings([[1.0]], details, ""), Embeddings([[2.0]], other, "m")]
    assert joined(parts) == Embeddings(
        [[1.0], [2.0]],
        {"prompt_tokens": 5, "details": {"text": 5}, "unit": "tokens", "cost": 0.75},
        "m",
    )
    assert joined([*parts, Embeddings([[3.0]])]).usage is None
    assert joined([]) == Embeddings([])


# Calling


def run(payload: dict[str, Any], limits: Quirks, answer: Callable[[list[Any]], Embeddings]) -> tuple[Any, list[Any]]:
    sent: list[Any] = []

    async def send(part: Mapping[str, Any]) -> Embeddings:
        sent.append(part)
        await asyncio.sleep(0)
        return answer(part["input"])

    return asyncio.run(in_batches(payload, limits, send)), sent


def length(texts: Any) -> Embeddings:
    found = [texts] if isinstance(texts, str) else texts
    return Embeddings([[float(len(text))] for text in found], {"total_tokens": len(found)}, "m")


def test_every_part_is_called_with_the_same_parameters() -> None:
    reply, sent = run({"input": ["a", "bb", "ccc"], "dimensions": 3}, quirks(batch=2), length)
    assert reply == Embeddings([[1.0], [2.0], [3.0]], {"total_tokens": 3}, "m")
    assert sent == [{"input": ["a", "bb"], "dimensions": 3}, {"input": ["ccc"], "dimensions": 3}]


@pytest.mark.parametrize("one", ["text", [1, 2, 3], [], None, {"a": 1}])
def test_a_single_input_goes_as_it_is(one: Any) -> None:
    reply, sent = run({"input": one}, quirks(batch=1), lambda given: Embeddings([[0.0]]))
    assert (list(reply), sent) == ([[0.0]], [{"input": one}])


def test_lists_of_token_ids_are_parted_too() -> None:
    _, sent = run({"input": [[1, 2], [3], [4]]}, quirks(batch=2), lambda given: Embeddings([[0.0]] * len(given)))
    assert [part["input"] for part in sent] == [[[1, 2], [3]], [[4]]]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_vectors_than_of_texts_is_a_bad_reply(count: int) -> None:
    with pytest.raises(BadReply, match="2 texts"):
        run({"input": ["a", "b"]}, quirks(batch=2), lambda given: Embeddings([[0.0]] * count))


def test_an_error_of_one_part_is_the_error_of_all_and_ends_the_others() -> None:
    begun: list[str] = []

    async def send(part: Mapping[str, Any]) -> Embeddings:
        (text,) = part["input"]
        begun.append(text)
        if text == "b":
            raise QuotaExceeded("No more.")
        await asyncio.Event().wait()  # only the end of all ends it
        raise AssertionError

    with pytest.raises(QuotaExceeded, match="No more"):
        asyncio.run(in_batches({"input": list("abcdefgh")}, quirks(batch=1), send))
    assert set(begun) <= set("abcde")


def test_a_fault_of_our_own_is_not_hidden_behind_an_upstreams() -> None:
    async def send(part: Mapping[str, Any]) -> Embeddings:
        raise KeyError("x") if part["input"] == ["a"] else BadRequest("y")

    with pytest.raises(KeyError):
        asyncio.run(in_batches({"input": ["a", "b"]}, quirks(batch=1), send))


def test_a_few_calls_are_under_way_at_once_and_no_more() -> None:
    under_way, most = 0, 0

    async def send(part: Mapping[str, Any]) -> Embeddings:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(5):
            await asyncio.sleep(0)
        under_way -= 1
        return length(part["input"])

    reply = asyncio.run(in_batches({"input": ["a"] * 20}, quirks(batch=1), send))
    assert (len(reply), most) == (20, AT_ONCE)


# Over sockets


def target(upstream: FakeUpstream, dialect: str = "openai", **embedding: Any) -> Target:
    secret = OpenSecret(KEY, f"http://127.0.0.1:{upstream.port}")
    limits, credential = quirks(**embedding), CredentialFields({}, secret)
    return Target("F", "fake-embedding", upstream.url, dialect, quirks=limits, credential=credential)


def numbered(handler: Handler) -> None:
    """A vector says which text it is of."""
    texts = handler.request_now.json["input"]
    rows = [{"object": "embedding", "index": i, "embedding": [float(text)]} for i, text in enumerate(texts)]
    handler.json({"object": "list", "data": rows[::-1], "model": "m", "usage": {"prompt_tokens": 2 * len(texts)}})


def test_a_long_list_comes_back_in_its_order(upstream: FakeUpstream) -> None:
    upstream.behave("/embeddings", numbered)
    texts = [str(number) for number in range(50)]
    reply = asyncio.run(embed(target(upstream, batch=7), texts, policy=POLICY, dimensions=1))
    assert list(reply) == [[float(text)] for text in texts]
    assert reply.usage == {"prompt_tokens": 100}
    assert upstream.calls["/embeddings"] == 8
    assert {request.json["dimensions"] for request in upstream.requests} == {1}


def test_an_upstream_that_takes_one_text_is_called_for_each(upstream: FakeUpstream) -> None:
    upstream.status("/embeddings/multimodal", 200, {"data": {"embedding": [0.5]}, "usage": {"total_tokens": 3}})
    reply = asyncio.run(embed(target(upstream, "ark", batch=1), ["a", "b", "c"], policy=POLICY))
    assert (list(reply), reply.usage) == ([[0.5]] * 3, {"total_tokens": 9})
    assert asyncio.run(embed(target(upstream, "ark", batch=1), "a", policy=POLICY)).vectors == [[0.5]]


def test_texts_are_cut_only_where_that_is_asked_for(upstream: FakeUpstream) -> None:
    to = target(upstream, max_tokens=2)
    for truncate, sent in ((False, ["abcdefghi", "天"]), (True, ["abcdef", "天"])):
        asyncio.run(embed(to, ["abcdefghi", "天"], policy=POLICY, truncate=truncate))
        assert upstream.requests[-1].json["input"] == sent
    asyncio.run(embed(to, "abcdefghi", policy=POLICY, truncate=True))
    assert upstream.requests[-1].json["input"] == "abcdef"
    asyncio.run(embed(target(upstream), ["abcdefghi"], policy=POLICY, truncate=True))
    assert upstream.requests[-1].json["input"] == ["abcdefghi"]


def test_an_upstreams_refusal_comes_through(upstream: FakeUpstream) -> None:
    upstream.rate_limited("/embeddings", retry_after="7")
    with pytest.raises(RateLimited) as caught:
        asyncio.run(embed(target(upstream, batch=1), ["a", "b"], policy=POLICY))
    assert caught.value.retry_after_s == 7
