"""Vendors with formats of their own, played by a third party's simulator, as OpenAI's format to callers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers.models import LLMFactory
from tenants.services import credentials, tenant_llms
from tests.aimock import Aimock
from tests.gateway.calling import ACTOR, Office, Reply
from tests.people import make_tenant, make_token, make_user
from usage.records import Outcome

pytestmark = pytest.mark.once

PATH = "/v1/chat/completions"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


@dataclass(frozen=True)
class Vendor:
    dialect: str
    signer: str
    model: str
    version_path: str = ""


VENDORS = [
    Vendor("anthropic", "header:x-api-key", "claude-sonnet-4-6", "/v1"),
    Vendor("gemini", "header:x-goog-api-key", "gemini-2.5-flash", "/v1beta"),
    Vendor("cohere", "bearer", "command-a-03-2025"),
    Vendor("ollama", "bearer", "llama3.2"),
    Vendor("bedrock", "bearer", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
]


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.dialect)
def place(
    request: pytest.FixtureRequest, transactional_db: None, aimock: Aimock, tmp_path: Path, loopback_allowed: None
) -> tuple[Office, str]:
    """A tenant with one model of the vendor, and the model's name."""
    vendor: Vendor = request.param
    owner = make_user()
    tenant = make_tenant(owner=owner)
    factory = LLMFactory.objects.create(
        name="Vendor", dialect=vendor.dialect, signer=vendor.signer, quirks={"version_path": vendor.version_path}
    )
    url = aimock.base_url.removesuffix("/v1")
    credential = credentials.create(
        tenant=tenant, factory=factory, base_url=url, values={"api_key": aimock.api_key}, actor=ACTOR
    )
    tenant_llms.add(credential=credential, llm_name=vendor.model, model_types=["chat"], actor=ACTOR)
    return Office(tenant, factory, credential, make_token(tenant, user=owner), tmp_path / "spool"), vendor.model


def asked(model: str, text: str, *more: dict[str, Any], **options: Any) -> dict[str, Any]:
    system = {"role": "system", "content": "Be brief."}
    return {"model": f"{model}@Vendor", "messages": [system, {"role": "user", "content": text}, *more], **options}


def chunks(reply: Reply) -> list[ChatCompletionChunk]:
    *events, done = reply.events
    assert (reply.status, done) == (200, "[DONE]"), reply.body
    return [ChatCompletionChunk.model_validate(event, strict=True) for event in events]


def test_a_chat_is_answered_whole_and_streamed(place: tuple[Office, str]) -> None:
    office, model = place
    whole = office.ask(PATH, asked(model, "Hello", max_tokens=50))
    answer = ChatCompletion.model_validate(whole.data, strict=True)
    assert (answer.object, answer.choices[0].message.content) == ("chat.completion", "Hello from aimock.")
    assert answer.choices[0].finish_reason == "stop"

    streamed = chunks(office.ask(PATH, asked(model, "Hello", stream=True)))
    assert "".join(one.choices[0].delta.content or "" for one in streamed) == "Hello from aimock."
    assert [one.choices[0].finish_reason for one in streamed if one.choices[0].finish_reason] == ["stop"]
    assert len({one.id for one in streamed}) == 1
    assert all(one.usage is None for one in streamed)

    counted = chunks(office.ask(PATH, asked(model, "Hello", stream=True, stream_options={"include_usage": True})))
    assert counted[-1].usage is not None
    records = office.records()
    assert [(one.outcome, one.stream) for one in records] == [(Outcome.COMPLETE, stream) for stream in (0, 1, 1)]
    assert len({one.usage.total_tokens for one in records}) == 1 or any(one.usage.estimated for one in records)


def test_a_tool_is_called_and_its_result_goes_back(place: tuple[Office, str]) -> None:
    office, model = place
    whole = ChatCompletion.model_validate(office.ask(PATH, asked(model, "How is the weather?", tools=TOOLS)).data)
    assert whole.choices[0].finish_reason == "tool_calls"
    (call,) = whole.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Berlin"})

    streamed = chunks(office.ask(PATH, asked(model, "How is the weather?", tools=TOOLS, stream=True)))
    parts = [part for one in streamed for part in one.choices[0].delta.tool_calls or ()]
    assert parts[0].id and parts[0].function and parts[0].function.name == "get_weather"
    assert {part.index for part in parts} == {0}
    said = "".join(part.function.arguments or "" for part in parts if part.function)
    assert json.loads(said) == {"city": "Berlin"}

    assistant = {"role": "assistant", "tool_calls": [call.model_dump()]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    again = office.ask(PATH, asked(model, "How is the weather?", assistant, result, tools=TOOLS))
    assert again.data["choices"][0]["message"]["content"] == "It is sunny."


def test_failures_come_in_openais_shape(place: tuple[Office, str], settings: Any) -> None:
    settings.LLM_MAX_RETRIES = 0
    office, model = place
    for stream in (False, True):
        limited = office.ask(PATH, asked(model, "I ask too often", stream=stream))
        assert (limited.status, limited.error["code"]) == (429, "rate_limited")
    broken = office.ask(PATH, asked(model, "break off", stream=True))
    assert "error" in broken.events[-1], "what breaks off does not look whole"
