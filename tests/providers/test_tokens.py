"""Tokens that another call gives: fetched once, kept until they expire, and never shown."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from core.netguard import parse_networks
from providers.errors import (
    AddressBlocked,
    AuthenticationFailed,
    BadReply,
    Overloaded,
    PermissionDenied,
    RateLimited,
    ServerFailed,
    TimedOut,
    UpstreamError,
    WrongURL,
)
from providers.signers.exchange import Exchange, Token, TokenRequest, digest, lifetime_s, oauth_token
from providers.tokens import Tokens
from providers.upstream import Policy, Pool
from providers.wire import UpstreamRequest, UpstreamResponse
from tests.fakes.upstream import FakeUpstream, Handler

POLICY = Policy(parse_networks(["127.0.0.0/8"]), connect_timeout_s=10, total_timeout_s=30)
PATH = "/token"
SECRET = "plain words that no pattern knows"


def exchange(upstream: FakeUpstream, identity: str = "one") -> Exchange:
    body = urlencode({"client_secret": SECRET}).encode()
    request = UpstreamRequest("POST", f"{upstream.url}{PATH}", {"Content-Type": "text/plain"}, body)
    return Exchange(identity, lambda: TokenRequest(request, frozenset({SECRET})), oauth_token)


def gives(upstream: FakeUpstream, *, expires_in: Any = 3600, before: threading.Event | None = None) -> None:
    """The endpoint numbers its tokens; with `before` it waits for that event first."""

    def answer(handler: Handler) -> None:
        if before is not None:
            before.wait(30)
        handler.json({"access_token": f"token-{upstream.calls[PATH]}", "expires_in": expires_in})

    upstream.behave(PATH, answer)


def get(tokens: Tokens, *asked: Exchange, policy: Policy = POLICY) -> list[str]:
    async def all_at_once() -> list[tuple[Token, bool]]:
        return await asyncio.gather(*(tokens.get(one, policy) for one in asked))

    return [token.values["access_token"] for token, _ in asyncio.run(all_at_once())]


def fail(kind: type[UpstreamError], upstream: FakeUpstream, policy: Policy = POLICY) -> UpstreamError:
    with pytest.raises(kind) as caught:
        get(Tokens(), exchange(upstream), policy=policy)
    assert caught.value.step == "sign"
    assert SECRET not in repr(vars(caught.value)) + str(caught.value) + repr(caught.value.args)
    return caught.value


def test_a_token_is_kept_for_further_calls_and_other_event_loops(upstream: FakeUpstream) -> None:
    gives(upstream)
    tokens = Tokens()
    assert [get(tokens, exchange(upstream)) for _ in range(3)] == [["token-1"]] * 3
    assert get(tokens, exchange(upstream, "another")) == ["token-2"]
    assert upstream.calls[PATH] == 2


def test_those_who_ask_at_once_share_one_call(upstream: FakeUpstream) -> None:
    gives(upstream)
    assert get(Tokens(), *[exchange(upstream)] * 20) == ["token-1"] * 20
    assert upstream.calls[PATH] == 1


def test_who_stops_waiting_takes_nothing_from_the_others(upstream: FakeUpstream) -> None:
    release = threading.Event()
    gives(upstream, before=release)
    tokens = Tokens()

    async def first_leaves() -> str:
        async with Pool() as pool:
            first = asyncio.create_task(tokens.get(exchange(upstream), POLICY, pool))
            second = asyncio.create_task(tokens.get(exchange(upstream), POLICY, pool))
            while not upstream.calls[PATH]:
                await asyncio.sleep(0.01)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert first.cancelled()
            release.set()
            token, fresh = await second
            assert fresh
            return token.values["access_token"]

    assert asyncio.run(first_leaves()) == "token-1"
    assert upstream.calls[PATH] == 1


def test_threads_with_loops_of_their_own_may_ask_at_once(upstream: FakeUpstream) -> None:
    gives(upstream)
    tokens, found = Tokens(), []
    threads = [threading.Thread(target=lambda: found.append(get(tokens, exchange(upstream)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert 1 <= upstream.calls[PATH] <= 8
    assert len(tokens) == 1


def test_a_token_is_replaced_before_it_expires(upstream: FakeUpstream) -> None:
    gives(upstream, expires_in=3600)
    tokens = Tokens()
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        assert get(tokens, exchange(upstream)) == ["token-1"]
        clock.shift(timedelta(minutes=54))
        assert get(tokens, exchange(upstream)) == ["token-1"]
        clock.shift(timedelta(minutes=2))
        assert get(tokens, exchange(upstream)) == ["token-2"]


def test_a_token_that_still_holds_outlives_a_failing_endpoint(upstream: FakeUpstream) -> None:
    gives(upstream, expires_in=3600)
    tokens = Tokens()
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        get(tokens, exchange(upstream))
        upstream.html(PATH)
        clock.shift(timedelta(minutes=56))
        assert get(tokens, exchange(upstream), exchange(upstream)) == ["token-1"] * 2
        assert get(tokens, exchange(upstream)) == ["token-1"]
        assert upstream.calls[PATH] == 2  # not asked again at once
        upstream.status(PATH, 503, {"error": "temporarily_unavailable"})
        clock.shift(timedelta(minutes=1))
        assert get(tokens, exchange(upstream)) == ["token-1"]
        assert upstream.calls[PATH] == 3
        clock.shift(timedelta(minutes=5))
        with pytest.raises(Overloaded):
            get(tokens, exchange(upstream))


def test_a_refused_key_ends_its_token_even_if_it_still_holds(upstream: FakeUpstream) -> None:
    gives(upstream, expires_in=3600)
    tokens = Tokens()
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        get(tokens, exchange(upstream))
        upstream.status(PATH, 400, {"error": "invalid_grant"})
        clock.shift(timedelta(minutes=56))
        with pytest.raises(AuthenticationFailed):
            get(tokens, exchange(upstream))


def test_a_dropped_token_is_fetched_again_and_a_newer_one_stays(upstream: FakeUpstream) -> None:
    gives(upstream)
    tokens = Tokens()

    async def story() -> list[tuple[Token, bool]]:
        first = await tokens.get(exchange(upstream), POLICY)
        tokens.drop(exchange(upstream), first[0])
        second = await tokens.get(exchange(upstream), POLICY)
        tokens.drop(exchange(upstream), first[0])  # somebody who comes late with the old one
        return [first, second, await tokens.get(exchange(upstream), POLICY)]

    found = [(token.values["access_token"], fresh) for token, fresh in asyncio.run(story())]
    assert found == [("token-1", True), ("token-2", True), ("token-2", False)]


def test_no_more_than_the_limit_are_kept_and_the_expired_go_first(upstream: FakeUpstream) -> None:
    gives(upstream)
    tokens = Tokens(limit=3)
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        for name in "abcd":
            get(tokens, exchange(upstream, name))
        assert len(tokens) == 3
        assert get(tokens, exchange(upstream, "d"), exchange(upstream, "a")) == ["token-4", "token-5"]
        clock.shift(timedelta(hours=2))
        get(tokens, exchange(upstream, "e"))
        assert len(tokens) == 1


# Failures


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_grant", AuthenticationFailed),
        (400, "unauthorized_client", AuthenticationFailed),
        (400, "invalid_request", AuthenticationFailed),
        (401, "invalid_client", AuthenticationFailed),
        (400, "slow_down", RateLimited),
        (400, "temporarily_unavailable", Overloaded),
        (403, "access_denied", PermissionDenied),
        (404, "nothing", WrongURL),
        (429, "anything", RateLimited),
        (500, "anything", ServerFailed),
        (503, "anything", Overloaded),
    ],
)
def test_a_refusal_becomes_its_member_of_the_tree(
    upstream: FakeUpstream, status: int, code: str, kind: type[UpstreamError]
) -> None:
    upstream.status(PATH, status, {"error": code, "error_description": f"got {SECRET}"}, Retry_After="7")
    error = fail(kind, upstream)
    assert error.upstream_status == status
    assert "127.0.0.1" in error.message
    if status == 400:
        assert code in error.message
        assert "[redacted]" in error.message
    if kind is RateLimited:
        assert error.retry_after_s == 7
    assert error.retry == (kind in (RateLimited, ServerFailed, Overloaded))


@pytest.mark.parametrize(
    "data",
    [
        *({}, [], {"access_token": "", "expires_in": 60}, {"access_token": "line\nbreak", "expires_in": 60}),
        *({"access_token": 5, "expires_in": 60}, {"access_token": "a b", "expires_in": 60}),
        *({"access_token": "words-nobody-knows"}, {"access_token": "words-nobody-knows", "expires_in": "soon"}),
        {"access_token": "words-nobody-knows", "expires_in": -1},
    ],
)
def test_an_answer_without_a_usable_token_is_a_bad_reply_that_shows_none(upstream: FakeUpstream, data: Any) -> None:
    upstream.status(PATH, 200, data)
    assert "words-nobody-knows" not in repr(vars(fail(BadReply, upstream)))


def test_a_web_page_in_the_place_of_the_endpoint_is_named(upstream: FakeUpstream) -> None:
    upstream.html(PATH)
    assert "Welcome to nginx" in fail(BadReply, upstream).hint
    upstream.raw(PATH, b"not json", status=400)
    assert "not json" in fail(AuthenticationFailed, upstream).message


def test_the_same_guard_holds_for_the_token_as_for_the_call(upstream: FakeUpstream) -> None:
    gives(upstream)
    assert "token_url" in fail(AddressBlocked, upstream, Policy()).hint
    assert upstream.connections == 0
    upstream.hang(PATH)
    fail(TimedOut, upstream, Policy(POLICY.allowed_networks, connect_timeout_s=5, total_timeout_s=0.3))
    upstream.raw(PATH, b" " * 300_000)
    fail(BadReply, upstream)


def test_nothing_that_holds_a_token_shows_it() -> None:
    token = Token({"access_token": SECRET}, datetime.now(UTC))
    for thing in (token, TokenRequest(UpstreamRequest("POST", "https://x.example"), frozenset({SECRET}))):
        assert SECRET not in repr(thing) + str(thing)
    assert SECRET not in digest(SECRET)


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_two_digests_are_one_only_for_the_same_parts(some: list[str], others: list[str]) -> None:
    assert (digest(*some) == digest(*others)) == (some == others)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12))
def test_a_lifetime_is_a_positive_number_of_seconds_or_none(value: Any) -> None:
    found = lifetime_s(value)
    assert found is None or 0 < found <= 86_400


@pytest.mark.parametrize(("value", "seconds"), [(3599, 3599), ("3600", 3600), (1e9, 86_400), (0, None), (True, None)])
def test_lifetimes_come_as_numbers_and_as_digits(value: Any, seconds: float | None) -> None:
    assert lifetime_s(value) == seconds


def test_an_expiry_is_counted_from_now_in_utc() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with time_machine.travel(at, tick=False):
        token = oauth_token(UpstreamResponse(200, {}, b'{"access_token": "t", "expires_in": 60}', 1))
    assert token.expires_at == at + timedelta(seconds=60)
