"""Converse through our own upstream client, judged by a third party's simulator; it checks no signature."""

from __future__ import annotations

import json

import pytest

from providers.calls import call
from providers.dialects import for_type
from providers.errors import AuthenticationFailed, RateLimited
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from tests.aimock import Aimock
from tests.providers.test_dialects_aimock import POLICY, TOOLS, Vendor, ask, chat, streamed

BEDROCK = Vendor("bedrock", "bearer", "anthropic.claude-3-5-sonnet-20240620-v1:0", "")


def test_a_chat_is_answered_whole_and_streamed(aimock: Aimock) -> None:
    reply = chat(BEDROCK.target(aimock), ask("Hello", temperature=0.5, max_tokens=50, stop=["x"]))
    assert reply["choices"][0]["message"]["content"] == "Hello from aimock."
    assert reply["choices"][0]["finish_reason"] == "stop"
    answer, finished = streamed(BEDROCK.target(aimock), ask("Hello"))
    assert finished
    assert (answer["message"]["content"], answer["finish_reason"]) == ("Hello from aimock.", "stop")


def test_a_tool_is_called_and_its_result_goes_back(aimock: Aimock) -> None:
    target = BEDROCK.target(aimock)
    question = ask("How is the weather?", tools=TOOLS, tool_choice="auto")
    whole, (piecewise, finished) = chat(target, question)["choices"][0], streamed(target, question)
    assert finished
    for choice in (whole, piecewise):
        assert choice["finish_reason"] == "tool_calls"
        (called,) = choice["message"]["tool_calls"]
        assert called["function"]["name"] == "get_weather"
        assert json.loads(called["function"]["arguments"]) == {"city": "Berlin"}
        said = {"role": "assistant", "tool_calls": [called]}
        again = ask("How is the weather?", said, {"role": "tool", "tool_call_id": called["id"], "content": "sunny"})
        assert chat(target, {**again, "tools": TOOLS})["choices"][0]["message"]["content"] == "It is sunny."


@pytest.mark.parametrize("kind", [LLMType.CHAT, LLMType.IMAGE2TEXT])
def test_a_probe_of_each_type_says_ok(aimock: Aimock, kind: LLMType) -> None:
    target = BEDROCK.target(aimock)
    _, operation = for_type(kind, "bedrock")
    check_reply(kind, call(target, operation, probe_payload(kind, target.quirks), policy=POLICY))


def test_failures_are_told_apart(aimock: Aimock) -> None:
    with pytest.raises(AuthenticationFailed):
        chat(BEDROCK.target(aimock, key="sk-wrong-0123456789"), ask("Hello"))
    with pytest.raises(RateLimited):
        chat(BEDROCK.target(aimock), ask("I ask too often"))
