"""The Python door: chats whole and streamed, thoughts, and tools."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from core.errors import InvalidInput
from gateway.bundle import LLMBundle, NotAuthorized
from gateway.bundle.texts import TRUNCATED, TRUNCATED_CHINESE
from providers.errors import UpstreamError
from tests.fakes.upstream import FakeUpstream, Handler
from tests.gateway.calling import Office
from tests.gateway.python_door import (
    HELLO,
    WEATHER,
    answering,
    completion,
    look_again,
    python_door,
    records,
    tool_call,
    with_tools,
)

pytestmark = pytest.mark.once

Make = Callable[..., LLMBundle]


@pytest.fixture
def make(office: Office, settings: Any) -> Iterator[Make]:
    with python_door(office, settings) as bundles:
        yield bundles


class Weather:
    """A session whose calls are kept; each city has its weather, `wait` lets calls meet."""

    def __init__(self, together: int = 1) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._meet = threading.Barrier(together)

    def tool_call(self, name: str, arguments: dict[str, Any]) -> Any:
        self.calls.append((name, arguments))
        self._meet.wait(30)
        if arguments.get("city") == "Atlantis":
            raise ValueError("no such city")
        return {"city": arguments.get("city"), "sky": "clear"}


class Slow:
    """A session of coroutines."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def tool_call(self, name: str, arguments: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        self.calls.append(name)
        return "clear"


def calling(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return completion({"content": None, "tool_calls": list(calls), **more}, finish="tool_calls")


def test_a_stream_is_texts_and_then_the_tokens(make: Make, office: Office) -> None:
    bundle = make()
    *pieces, tokens = bundle.chat_streamly("Be brief.", HELLO)
    assert (pieces, tokens) == (["Hel", "lo!"], 10)
    assert bundle.last_usage.input_tokens == 8

    async def ask() -> list[Any]:
        return [piece async for piece in bundle.async_chat_streamly(None, HELLO)]

    assert asyncio.run(ask()) == ["Hel", "lo!", 10]
    assert [(record.stream, record.outcome) for record in records(office)] == [(True, "complete")] * 2


def test_the_history_that_was_given_stays_as_it_is(make: Make, upstream: FakeUpstream) -> None:
    history = [{"role": "system", "content": "mine"}, *HELLO]
    before = json.dumps(history)
    make().chat("other", history, {"max_tokens": 0, "top_p": None, "stream": True, "extra_body": {"top_k": 5}})
    assert json.dumps(history) == before
    sent = upstream.requests[-1].json
    assert [message["content"] for message in sent["messages"]] == ["mine", "Hello"]
    assert (sent["top_k"], {"max_tokens", "top_p", "stream"} & sent.keys()) == (5, set())
    with pytest.raises(InvalidInput):
        make().chat(None, HELLO, {"extra_headers": {"X-Key": "1"}})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<think>a</think>\n\nYes", "Yes"),
        ("a</think>b</think>Yes", "Yes"),
        ("<think>never ends", ""),
        ("Yes<tool_call>{}</tool_call>!", "Yes!"),
        (None, ""),
        ([{"type": "text", "text": "Yes"}], "Yes"),
    ],
)
def test_whole_answers_have_no_thoughts(make: Make, upstream: FakeUpstream, content: Any, expected: str) -> None:
    answering(upstream, completion({"content": content, "reasoning_content": "hm"}))
    assert make().chat(None, HELLO) == (expected, 10)


@pytest.mark.parametrize(
    ("deltas", "shown", "hidden"),
    [
        (
            [{"reasoning_content": "I "}, {"reasoning_content": "see"}, {"content": "Yes"}, "stop"],
            "<think>I see</think>Yes",
            "Yes",
        ),
        ([{"reasoning": "hm"}, "stop"], "<think>hm</think>", ""),
        (
            [{"content": "<thi"}, {"content": "nk>hm</th"}, {"content": "ink>Yes"}, "stop"],
            "<think>hm</think>Yes",
            "Yes",
        ),
        ([{"content": "<think>hm"}, "stop"], "<think>hm</think>", ""),
        ([{"content": "a < b <t"}, "stop"], "a < b <t", "a < b <t"),
        ([{"content": "A<tool_"}, {"content": "call>{}</tool_call>B"}, "stop"], "AB", "AB"),
    ],
)
def test_streamed_thoughts_are_wrapped_once_or_left_out(
    make: Make, upstream: FakeUpstream, deltas: list[Any], shown: str, hidden: str
) -> None:
    answering(upstream, deltas)
    *pieces, tokens = make().chat_streamly(None, HELLO)
    assert ("".join(pieces), tokens) == (shown, 10)
    *pieces, tokens = make().chat_streamly(None, HELLO, with_reasoning=False)
    assert ("".join(pieces), tokens) == (hidden, 10)


@pytest.mark.parametrize(("text", "note"), [("It is", TRUNCATED), ("答案是二", TRUNCATED_CHINESE)])
def test_an_answer_that_was_cut_says_so_in_its_language(
    make: Make, upstream: FakeUpstream, text: str, note: str
) -> None:
    answering(upstream, completion({"content": text}, finish="length"), [{"content": text}, "length"])
    assert make().chat(None, HELLO)[0] == text + note
    assert "".join(list(make().chat_streamly(None, HELLO))[:-1]) == text + note


def test_tools_are_called_beside_each_other_and_told_in_one_message(
    make: Make, office: Office, upstream: FakeUpstream
) -> None:
    with_tools(office)
    session = Weather(together=2)
    asked = [tool_call("a", "get_weather", '{"city": "Rome"}'), tool_call("b", "get_weather", '{"city": "Oslo"}')]
    answering(upstream, calling(*asked, reasoning_content="hm"), completion({"content": "Clear in both."}))
    bundle = make()
    bundle.bind_tools(session, WEATHER)
    assert bundle.chat(None, HELLO) == ("Clear in both.", 20)
    assert sorted(arguments["city"] for _, arguments in session.calls) == ["Oslo", "Rome"]
    first, second = (request.json for request in upstream.requests)
    assert (first["tools"], first["tool_choice"]) == (WEATHER, "auto")
    user, assistant, *results = second["messages"]
    assert user == HELLO[0]
    assert [(call["index"], call["id"]) for call in assistant["tool_calls"]] == [(0, "a"), (1, "b")]
    assert (assistant["content"], assistant["reasoning_content"]) == (None, "hm")
    assert results == [
        {"role": "tool", "tool_call_id": "a", "content": '{"city": "Rome", "sky": "clear"}'},
        {"role": "tool", "tool_call_id": "b", "content": '{"city": "Oslo", "sky": "clear"}'},
    ]
    assert (bundle.last_call.calls, bundle.last_usage.total_tokens) == (2, 20)
    assert len(records(office)) == 2


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"city": "Rome"', {"city": "Rome"}),
        ("{'city': 'Rome',}", {"city": "Rome"}),
        ('```json\n{"city": "Rome"}\n```', {"city": "Rome"}),
        ("", {}),
    ],
)
def test_arguments_are_read_as_models_write_them(
    make: Make, office: Office, upstream: FakeUpstream, written: str, arguments: dict[str, Any]
) -> None:
    with_tools(office)
    session = Weather()
    answering(upstream, calling(tool_call("a", "get_weather", written)), completion({"content": "Clear."}))
    bundle = make()
    bundle.bind_tools(session, WEATHER)
    assert bundle.chat(None, HELLO)[0] == "Clear."
    assert session.calls == [("get_weather", arguments)]
    sent = upstream.requests[-1].json["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(sent) == arguments


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("get_weather", '{"city": "Atlantis"}', "no such city"),
        ("get_weather", "[1, 2]", "not a JSON object"),
        ("drop_table", "{}", "no tool"),
    ],
)
def test_what_a_tool_fails_with_is_told_to_the_model(
    make: Make, office: Office, upstream: FakeUpstream, name: str, written: str, said: str
) -> None:
    with_tools(office)
    answering(upstream, calling(tool_call("a", name, written)), completion({"content": "Sorry."}))
    bundle = make()
    bundle.bind_tools(Weather(), WEATHER)
    assert bundle.chat(None, HELLO)[0] == "Sorry."
    told = upstream.requests[-1].json["messages"][-1]
    assert told["tool_call_id"] == "a"
    assert told["content"].startswith("Tool call error: \n")
    assert said in told["content"]


def test_rounds_end_with_one_last_answer(make: Make, office: Office, upstream: FakeUpstream) -> None:
    with_tools(office)
    again = calling(tool_call("a", "get_weather", "{}"))
    answering(upstream, again, again, completion({"content": "I give up."}))
    bundle = make(max_rounds=2)
    bundle.bind_tools(Weather(), WEATHER)
    assert bundle.chat(None, HELLO) == ("I give up.", 30)
    last = upstream.requests[-1].json
    assert last["messages"][-1] == {"role": "user", "content": "Exceed max rounds: 2"}
    assert last["tool_choice"] == "none"
    assert (upstream.total_calls, len(records(office))) == (3, 3)


def test_calls_are_shown_only_on_request(make: Make, office: Office, upstream: FakeUpstream) -> None:
    with_tools(office)
    answering(upstream, calling(tool_call("a", "get_weather", '{"city": "Rome"}')), completion({"content": "Clear."}))
    bundle = make(verbose_tool_use=True)
    bundle.bind_tools(Weather(), WEATHER)
    block, _, rest = bundle.chat(None, HELLO)[0].partition("</tool_call>")
    shown = json.loads(block.removeprefix("<tool_call>"))
    assert (shown["name"], shown["args"], rest) == ("get_weather", {"city": "Rome"}, "Clear.")
    assert json.loads(shown["result"])["sky"] == "clear"


STREAMED_CALL: list[Any] = [
    {"reasoning_content": "hm"},
    {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "get_weather", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
    "tool_calls",
]


@pytest.mark.parametrize("verbose", [False, True])
def test_streamed_calls_are_put_together(make: Make, office: Office, upstream: FakeUpstream, verbose: bool) -> None:
    with_tools(office)
    session = Weather()
    answering(upstream, STREAMED_CALL, [{"content": "Clear."}, "stop"])
    bundle = make(verbose_tool_use=verbose)
    bundle.bind_tools(session, WEATHER)
    *pieces, tokens = bundle.chat_streamly_with_tools(None, HELLO)
    assert tokens == 20
    assert session.calls == [("get_weather", {"city": "Rome"})]
    text = "".join(pieces)
    assert text.startswith("<think>hm</think>")
    assert text.endswith("Clear.")
    assert (text.count("<tool_call>"), text.count("Begin to call...")) == ((2, 1) if verbose else (0, 0))
    assert upstream.requests[-1].json["messages"][1]["reasoning_content"] == "hm"
    assert len(records(office)) == 2


def test_calls_with_one_index_are_told_apart_by_their_ids(make: Make, office: Office, upstream: FakeUpstream) -> None:
    with_tools(office)
    session = Weather(together=2)
    whole = [
        {"index": 0, "id": id, "function": {"name": "get_weather", "arguments": json.dumps({"city": city})}}
        for id, city in (("a", "Rome"), ("b", "Oslo"))
    ]
    answering(
        upstream, [{"tool_calls": [whole[0]]}, {"tool_calls": [whole[1]]}, "tool_calls"], [{"content": "!"}, "stop"]
    )
    bundle = make()
    bundle.bind_tools(session, WEATHER)
    assert list(bundle.chat_streamly(None, HELLO)) == ["!", 20]
    assert sorted(arguments["city"] for _, arguments in session.calls) == ["Oslo", "Rome"]


def test_tools_may_be_coroutines_in_both_worlds(make: Make, office: Office, upstream: FakeUpstream) -> None:
    with_tools(office)
    session = Slow()
    bundle = make()
    bundle.bind_tools(session, WEATHER)
    round_trip = (calling(tool_call("a", "get_weather", "{}")), completion({"content": "Clear."}))
    answering(upstream, *round_trip)
    assert bundle.chat_with_tools(None, HELLO)[0] == "Clear."
    answering(upstream, *round_trip)
    assert asyncio.run(bundle.async_chat_with_tools(None, HELLO))[0] == "Clear."
    assert session.calls == ["get_weather"] * 2


def test_a_tool_may_call_a_model(make: Make, office: Office, upstream: FakeUpstream) -> None:
    with_tools(office)
    inner = make()

    class Nested:
        def tool_call(self, name: str, arguments: dict[str, Any]) -> str:
            return inner.chat(None, HELLO)[0]

    replies = (
        calling(tool_call("a", "get_weather", "{}")),
        completion({"content": "in"}),
        completion({"content": "out"}),
    )
    answering(upstream, *replies)
    bundle = make()
    bundle.bind_tools(Nested(), WEATHER)
    assert bundle.chat(None, HELLO)[0] == "out"
    assert upstream.requests[-1].json["messages"][-1]["content"] == "in"


def test_a_model_without_tools_chats_without_them(make: Make, upstream: FakeUpstream) -> None:
    bundle = make()
    bundle.bind_tools(Weather(), WEATHER)
    assert bundle.chat(None, HELLO)[0] == "Hello!"
    assert "tools" not in upstream.requests[-1].json


def test_a_stream_that_breaks_off_says_so(make: Make, office: Office, upstream: FakeUpstream) -> None:
    def half(handler: Handler) -> None:
        handler.close_connection = True
        handler.head(200, "text/event-stream", {})
        handler.wfile.write(b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n')

    upstream.behave("/chat/completions", half)
    pieces = make().chat_streamly(None, HELLO)
    assert next(pieces) == "Hel"
    with pytest.raises(UpstreamError):
        next(pieces)
    text, error, tokens = make(errors="text").chat_streamly(None, HELLO)
    assert text == "Hel"
    assert str(error).startswith("**ERROR**: ERROR_")
    assert isinstance(tokens, int)
    assert [record.outcome for record in records(office)] == ["upstream_cut"] * 2


def begun(upstream: FakeUpstream) -> threading.Event:
    """From now on a stream begins and waits; set when its caller has left."""
    left = threading.Event()

    def behave(handler: Handler) -> None:
        handler.close_connection = True
        handler.head(200, "text/event-stream", {})
        handler.wfile.write(b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\n\n')
        handler.wfile.flush()
        if not handler.rfile.read(1):
            left.set()

    upstream.behave("/chat/completions", behave)
    return left


def test_who_stops_reading_stops_the_call(make: Make, office: Office, upstream: FakeUpstream) -> None:
    left = begun(upstream)
    pieces = make().chat_streamly(None, HELLO)
    assert next(pieces) == "Hel"
    pieces.close()
    assert left.wait(30)

    async def ask() -> None:
        async with aclosing(make().async_chat_streamly(None, HELLO)) as stream:
            async for piece in stream:
                assert piece == "Hel"
                break

    left = begun(upstream)
    asyncio.run(ask())
    assert left.wait(30)
    assert [record.outcome for record in records(office)] == ["client_gone"] * 2


def test_who_is_cancelled_cancels_the_call(make: Make, office: Office, upstream: FakeUpstream) -> None:
    came, left = threading.Event(), threading.Event()

    def behave(handler: Handler) -> None:
        came.set()
        handler.close_connection = True
        if not handler.rfile.read(1):
            left.set()

    upstream.behave("/chat/completions", behave)
    bundle = make()

    async def ask() -> None:
        task = asyncio.create_task(bundle.async_chat(None, HELLO))
        assert await asyncio.to_thread(came.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(left.wait, 30)

    asyncio.run(ask())
    (record,) = records(office)
    assert (record.outcome, record.status) == ("client_gone", 499)


def test_pictures_go_with_the_last_message_of_the_user(make: Make, upstream: FakeUpstream) -> None:
    make("image2text").chat(None, HELLO, images=[b"\xff\xd8\xff\x00"])
    (message,) = upstream.requests[-1].json["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]
    assert message["content"][1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    with pytest.raises(InvalidInput):
        make().chat(None, [{"role": "assistant", "content": "x"}], images=[b"\xff"])


def test_streams_go_to_who_may_have_them(make: Make, office: Office, upstream: FakeUpstream) -> None:
    bundle = make()
    office.tenant.status = "0"
    office.tenant.save()
    look_again()
    with pytest.raises(NotAuthorized):
        list(bundle.chat_streamly(None, HELLO))
    assert upstream.total_calls == 0


def test_an_answer_that_says_nothing_is_one(make: Make, upstream: FakeUpstream) -> None:
    answering(upstream, ["stop"])
    assert list(make().chat_streamly(None, HELLO)) == [10]
