"""The Python door of this process, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.bundle import LLMBundle, close
from gateway.bundle.door import door
from tenants.models import TenantLLM
from tests.fakes.upstream import FakeUpstream, Handler
from tests.gateway.calling import Office
from usage.models import UsageRecord

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


@contextmanager
def python_door(office: Office, settings: Any) -> Iterator[Callable[..., LLMBundle]]:
    """Makes bundles of the office's tenant: `make("chat")` has the office's model of that type."""
    settings.USAGE_SPOOL_DIR = office.spool
    names = {"chat": "fake-chat", "embedding": "fake-embedding", "rerank": "fake-rerank"}
    names |= {"speech2text": "fake-asr", "tts": "fake-tts", "image2text": "fake-chat"}

    def make(llm_type: str = "chat", llm_name: str | None = None, **options: Any) -> LLMBundle:
        return LLMBundle(office.tenant.pk, llm_type, llm_name or names[llm_type], **options)

    try:
        yield make
    finally:
        close()


def records(office: Office) -> list[UsageRecord]:
    """All calls of the tenant, in their order; closes the door, so that they have reached the ledger."""
    close()
    return list(UsageRecord.objects.for_tenant(office.tenant.pk).order_by("id"))


def look_again() -> None:
    """What was changed until now is seen by the next call."""
    door().run(door().store.refresh)


def with_tools(office: Office) -> None:
    """From now on the chat model calls tools."""
    TenantLLM.objects.filter(tenant=office.tenant, llm_name="fake-chat").update(is_tools=True)


def completion(message: dict[str, Any], *, finish: str = "stop", usage: dict[str, int] | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "fake-chat",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
        "usage": usage or {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10},
    }


def tool_call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def answering(upstream: FakeUpstream, *replies: Any) -> None:
    """Chats are answered with these in turn, and then ever with the last; a list is sent as a stream of deltas."""
    left = list(replies)

    def behave(handler: Handler) -> None:
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, list):
            stream(handler, reply)
        else:
            handler.json(reply)

    upstream.behave("/chat/completions", behave)


def stream(handler: Handler, deltas: list[Any]) -> None:
    """A stream of these deltas; a text is the finish_reason. Usage comes last: 8 and 2 tokens."""
    handler.close_connection = True
    handler.head(200, "text/event-stream", {})
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake-chat"}
    for one in deltas:
        delta, finish = ({}, one) if isinstance(one, str) else (one, None)
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        handler.wfile.write(b"data: " + json.dumps({**base, "choices": [choice]}).encode() + b"\n\n")
    usage = {"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}
    handler.wfile.write(b"data: " + json.dumps({**base, "choices": [], "usage": usage}).encode() + b"\n\n")
    handler.wfile.write(b"data: [DONE]\n\n")
