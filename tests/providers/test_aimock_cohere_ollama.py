"""Cohere and Ollama through our own upstream client, judged by a third party's simulator of them.

The simulator hides Cohere's thoughts in the text, its rerank knows no documents unless it is told, and it answers
Ollama's /api/embed as the older /api/embeddings does, which is not asked here.
"""

from __future__ import annotations

import json

import pytest

from providers.calls import call
from providers.dialects import for_type
from providers.errors import AuthenticationFailed, Overloaded, RateLimited, UpstreamError
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.wire import Embeddings, Operation, Ranking
from tests.aimock import DIMENSIONS, Aimock
from tests.providers.test_dialects_aimock import POLICY, TOOLS, Vendor, ask, chat, streamed

VENDORS = [Vendor("cohere", "bearer", "command-a-03-2025", ""), Vendor("ollama", "bearer", "llama3.2", "")]


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.dialect)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    found: Vendor = request.param
    return found


def test_a_chat_is_answered_whole_and_streamed(aimock: Aimock, vendor: Vendor) -> None:
    reply = chat(vendor.target(aimock), ask("Hello", temperature=0.5, max_tokens=50, stop=["x"]))
    assert reply["choices"][0]["message"]["content"] == "Hello from aimock."
    assert reply["choices"][0]["finish_reason"] == "stop"
    answer, finished = streamed(vendor.target(aimock), ask("Hello"))
    assert finished
    assert (answer["message"]["content"], answer["finish_reason"]) == ("Hello from aimock.", "stop")


def test_a_tool_is_called_and_its_result_goes_back(aimock: Aimock, vendor: Vendor) -> None:
    target = vendor.target(aimock)
    question = ask("How is the weather?", tools=TOOLS, tool_choice="auto")
    whole, (piecewise, finished) = chat(target, question)["choices"][0], streamed(target, question)
    assert finished
    for choice in (whole, piecewise):
        assert choice["finish_reason"] == "tool_calls"
        (called,) = choice["message"]["tool_calls"]
        assert called["function"]["name"] == "get_weather"
        assert json.loads(called["function"]["arguments"]) == {"city": "Berlin"}
        assert "The tool knows the weather." in str(choice["message"])
        result = {"role": "tool", "tool_call_id": called["id"], "content": "sunny"}
        again = ask("How is the weather?", choice["message"], result, tools=TOOLS)
        assert chat(target, again)["choices"][0]["message"]["content"] == "It is sunny."


@pytest.mark.parametrize("kind", [LLMType.CHAT, LLMType.IMAGE2TEXT])
def test_a_probe_of_each_type_says_ok(aimock: Aimock, vendor: Vendor, kind: LLMType) -> None:
    target = vendor.target(aimock)
    _, operation = for_type(kind, vendor.dialect)
    check_reply(kind, call(target, operation, probe_payload(kind, target.quirks), policy=POLICY))


def test_embeddings_are_one_for_each_text(aimock: Aimock) -> None:
    payload = {"input": ["one", "two"], "input_type": "query"}
    reply = call(VENDORS[0].target(aimock), Operation.EMBEDDINGS, payload, policy=POLICY)
    assert isinstance(reply, Embeddings)
    assert [len(vector) for vector in reply] == [DIMENSIONS, DIMENSIONS]
    check_reply(LLMType.EMBEDDING, reply)


def test_a_rerank_is_understood(aimock: Aimock) -> None:
    payload = {"query": "q", "documents": ["a", "b"], "top_n": 1}
    reply = call(VENDORS[0].target(aimock), Operation.RERANK, payload, policy=POLICY)
    assert isinstance(reply, Ranking)
    assert reply.usage == {"billed_units": {"search_units": 0}}


def test_ollamas_models_are_listed(aimock: Aimock) -> None:
    models = call(VENDORS[1].target(aimock), Operation.MODELS, {}, policy=POLICY)
    assert isinstance(models, list)
    assert "gpt-4o" in {model.id for model in models}


def test_failures_are_told_apart(aimock: Aimock, vendor: Vendor) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        chat(vendor.target(aimock, key="sk-wrong-0123456789"), ask("Hello"))
    assert "sk-wrong" not in repr(vars(caught.value))
    with pytest.raises(RateLimited) as limited:
        chat(vendor.target(aimock), ask("I ask too often"))
    assert limited.value.retry_after_s == 7
    with pytest.raises(Overloaded):
        chat(vendor.target(aimock), ask("Are you busy?"))


def test_a_stream_that_breaks_off_is_no_whole_answer(aimock: Aimock, vendor: Vendor) -> None:
    try:
        answer, finished = streamed(vendor.target(aimock), ask("Please break off"))
    except UpstreamError as error:
        assert error.step in ("body", "parse")
    else:
        assert not finished
        assert answer["finish_reason"] is None
