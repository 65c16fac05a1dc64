"""The dialects through our own upstream client, judged by a third party's simulator of the vendors."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from core.origins import origin_of
from core.secrets import OpenSecret
from providers import dialects, upstream
from providers.authorisation import deliver
from providers.calls import call
from providers.errors import AuthenticationFailed, Overloaded, RateLimited, UpstreamError
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.upstream import Pool
from providers.wire import Embeddings, Operation, Speech, Transcript, UpstreamRequest
from tests.aimock import DIMENSIONS, SOUND, Aimock
from tests.providers.exchange_cases import POLICY
from tests.providers.exchanges import assembled

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": CITY}}]


@dataclass(frozen=True)
class Vendor:
    """How a dialect reaches the simulator."""

    dialect: str
    signer: str
    model: str
    version_path: str

    def target(self, aimock: Aimock, *, key: str | None = None, model: str = "") -> Target:
        url = aimock.base_url.removesuffix("/v1")
        credential = CredentialFields({}, OpenSecret(key or aimock.api_key, origin_of(url)))
        quirks = Quirks.from_data({"version_path": self.version_path})
        return Target(self.dialect, model or self.model, url, self.dialect, self.signer, quirks, credential)


VENDORS = [
    Vendor("openai", "bearer", "gpt-5", "/v1"),
    Vendor("anthropic", "header:x-api-key", "claude-sonnet-4-6", "/v1"),
    Vendor("gemini", "header:x-goog-api-key", "gemini-2.5-flash", "/v1beta"),
]


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.dialect)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    found: Vendor = request.param
    return found


def ask(text: str, *more: dict[str, Any], **payload: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}, *more],
        **payload,
    }


def chat(target: Target, payload: dict[str, Any]) -> Any:
    return call(target, Operation.CHAT, payload, policy=POLICY)


def streamed(target: Target, payload: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The answer of a stream, decoded as it comes, and whether it was complete."""
    dialect = dialects.get(target.dialect)
    asked = {**payload, "stream": True, "stream_options": {"include_usage": True}}
    request = dialect.build(Operation.CHAT, asked, target)
    decoder = dialect.decoder(Operation.CHAT)
    events: list[dict[str, Any]] = []

    async def converse() -> None:
        async with Pool() as pool:

            async def read(signed: UpstreamRequest) -> None:
                async with await upstream.open(signed, POLICY, pool=pool) as exchange:
                    if exchange.status != 200:
                        dialect.parse(Operation.CHAT, exchange.status, exchange.headers, await exchange.read())
                    async for data in exchange.chunks():
                        events.extend(decoder.feed(data))
                    events.extend(decoder.close())

            await deliver(request, target, POLICY, pool, read)

    asyncio.run(converse())
    return assembled(events), decoder.finished


def test_a_chat_is_answered(aimock: Aimock, vendor: Vendor) -> None:
    reply = chat(vendor.target(aimock), ask("Hello", temperature=0.5, max_tokens=50, stop=["x"]))
    assert reply["choices"][0]["message"]["content"] == "Hello from aimock."
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"]["total_tokens"] >= 0


def test_a_chat_is_streamed(aimock: Aimock, vendor: Vendor) -> None:
    answer, finished = streamed(vendor.target(aimock), ask("Hello"))
    assert finished
    assert (answer["message"]["content"], answer["finish_reason"]) == ("Hello from aimock.", "stop")


@pytest.mark.parametrize("by", [chat, streamed], ids=["whole", "streamed"])
def test_a_tool_is_called_and_its_result_goes_back(aimock: Aimock, vendor: Vendor, by: Any) -> None:
    target = vendor.target(aimock)
    question = ask("How is the weather?", tools=TOOLS, tool_choice="auto")
    if by is chat:
        choice = chat(target, question)["choices"][0]
    else:
        choice, finished = streamed(target, question)
        assert finished
    assert choice["finish_reason"] == "tool_calls"
    message = choice["message"]
    (called,) = message["tool_calls"]
    assert called["function"]["name"] == "get_weather"
    assert json.loads(called["function"]["arguments"]) == {"city": "Berlin"}
    assert "".join(str(message.get(name) or "") for name in ("reasoning_content", "reasoning")) == (
        "The tool knows the weather."
    )
    result = {"role": "tool", "tool_call_id": called["id"], "content": "sunny"}
    again = ask("How is the weather?", message, result, tools=TOOLS)
    assert chat(target, again)["choices"][0]["message"]["content"] == "It is sunny."


@pytest.mark.parametrize("vendor", [vendor for vendor in VENDORS if vendor.dialect != "anthropic"], indirect=True)
def test_a_text_is_embedded(aimock: Aimock, vendor: Vendor) -> None:
    target = vendor.target(aimock, model="an-embedding-model")
    reply = call(target, Operation.EMBEDDINGS, {"input": ["Hello"]}, policy=POLICY)
    assert isinstance(reply, Embeddings)
    assert [len(vector) for vector in reply] == [DIMENSIONS]


def test_speech_and_a_transcript_come_back(aimock: Aimock) -> None:
    openai = VENDORS[0]
    heard = call(openai.target(aimock, model="tts-1"), Operation.SPEECH, {"input": "Hello"}, policy=POLICY)
    assert heard == Speech(SOUND, "audio/mpeg")
    file = probe_payload(LLMType.SPEECH2TEXT, Quirks())
    said = call(openai.target(aimock, model="whisper-1"), Operation.TRANSCRIPTION, file, policy=POLICY)
    assert isinstance(said, Transcript)
    assert said.text == "Nobody speaks."


def test_models_are_listed(aimock: Aimock) -> None:
    models = call(VENDORS[0].target(aimock), Operation.MODELS, {}, policy=POLICY)
    assert isinstance(models, list)
    assert "gpt-4o" in [model.id for model in models]


@pytest.mark.parametrize(
    ("vendor", "kind"),
    [
        *((VENDORS[0], kind) for kind in LLMType if kind not in (LLMType.RERANK, LLMType.OCR)),
        *((vendor, kind) for vendor in VENDORS[1:] for kind in (LLMType.CHAT, LLMType.IMAGE2TEXT)),
        (VENDORS[2], LLMType.EMBEDDING),
    ],
    ids=lambda value: value.dialect if isinstance(value, Vendor) else str(value),
)
def test_a_probe_of_each_type_says_ok(aimock: Aimock, vendor: Vendor, kind: LLMType) -> None:
    """The simulator has OpenAI's own API, which does not rerank, and reads no documents."""
    target = vendor.target(aimock)
    _, operation = dialects.for_type(kind, vendor.dialect)
    check_reply(kind, call(target, operation, probe_payload(kind, target.quirks), policy=POLICY))


def test_a_wrong_key_is_told(aimock: Aimock, vendor: Vendor) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        chat(vendor.target(aimock, key="sk-wrong-0123456789"), ask("Hello"))
    assert "sk-wrong" not in repr(vars(caught.value))


def test_limits_and_overload_are_told_apart(aimock: Aimock, vendor: Vendor) -> None:
    with pytest.raises(RateLimited) as caught:
        chat(vendor.target(aimock), ask("I ask too often"))
    assert caught.value.retry_after_s == 7
    with pytest.raises(Overloaded):
        chat(vendor.target(aimock), ask("Are you busy?"))


def test_a_stream_that_breaks_off_is_no_whole_answer(aimock: Aimock, vendor: Vendor) -> None:
    with pytest.raises(UpstreamError) as caught:
        streamed(vendor.target(aimock), ask("Please break off"))
    assert caught.value.step == "body"
