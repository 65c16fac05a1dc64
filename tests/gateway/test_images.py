"""Pictures in chats: as they are to an upstream of OpenAI's format, in other words to any other."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from providers.models import LLM
from providers.probe_payloads import tiny_png
from tenants.models import TenantLLM
from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import Office, Reply

pytestmark = pytest.mark.once

PNG = base64.b64encode(tiny_png()).decode()
DATA, ADDRESS = f"data:image/png;base64,{PNG}", "https://example.org/picture.png?size=1&of=2"
TYPES = [["image2text"], ["chat", "image2text"], ["chat"]]


def ask(office: Office, *parts: dict[str, Any], **more: Any) -> Reply:
    content = [{"type": "text", "text": "What is this?"}, *parts]
    return office.chat(messages=[{"role": "user", "content": content}], max_tokens=5, **more)


def picture(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def speaks(office: Office, dialect: str) -> None:
    LLM.objects.filter(factory=office.factory, llm_name="fake-chat").update(quirks={"dialects": {"chat": dialect}})


@pytest.mark.parametrize("types", TYPES, ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_pictures_reach_openais_format_as_they_are(
    office: Office, upstream: FakeUpstream, types: list[str], stream: bool
) -> None:
    """A model that is only said to chat may see: its upstream knows."""
    TenantLLM.objects.filter(tenant=office.tenant, llm_name="fake-chat").update(model_types=types)
    parts = [picture(DATA, detail="low", vendor=[1.5]), picture(ADDRESS), {"type": "image_url", "image_url": ADDRESS}]
    assert ask(office, *parts, stream=stream).status == 200
    assert upstream.requests[-1].json["messages"][0]["content"][1:] == parts


def test_a_model_that_does_not_see_says_so_itself(office: Office, upstream: FakeUpstream) -> None:
    said = "This model does not support image input."
    upstream.status("/chat/completions", 400, {"error": {"message": said, "type": "invalid_request_error"}})
    reply = ask(office, picture(DATA))
    assert (reply.status, said in reply.error["message"]) == (400, True)
    assert upstream.total_calls == 1


def test_a_model_that_embeds_sees_nothing(office: Office, upstream: FakeUpstream) -> None:
    messages = [{"role": "user", "content": [picture(DATA)]}]
    reply = office.chat("fake-embedding", messages=messages)
    assert (reply.status, reply.error["code"], upstream.total_calls) == (400, "wrong_model_type", 0)


def test_pictures_are_said_in_anthropics_words(office: Office, upstream: FakeUpstream) -> None:
    speaks(office, "anthropic")
    upstream.status("/messages", 200, {"type": "message", "id": "m", "content": [{"type": "text", "text": "A dot."}]})
    assert ask(office, picture(DATA), picture(ADDRESS)).status == 200
    assert [part["source"] for part in upstream.requests[-1].json["messages"][0]["content"][1:]] == [
        {"type": "base64", "media_type": "image/png", "data": PNG},
        {"type": "url", "url": ADDRESS},
    ]


def test_pictures_are_said_in_ollamas_words_and_never_fetched(office: Office, upstream: FakeUpstream) -> None:
    speaks(office, "ollama")
    said = {"model": "x", "message": {"role": "assistant", "content": "A dot."}, "done": True}
    upstream.status("/api/chat", 200, said)
    assert ask(office, picture(DATA)).status == 200, upstream.requests
    assert upstream.requests[-1].json["messages"][0]["images"] == [PNG]
    refused = ask(office, picture(ADDRESS))
    assert (refused.status, refused.error["code"]) == (400, "unsupported")


@pytest.mark.parametrize("url", ["data:image/png,abc", "data:image/png;base64,##", "", "data:;base64,AAAA"])
def test_a_malformed_picture_is_refused_where_it_has_to_be_read(
    office: Office, upstream: FakeUpstream, url: str
) -> None:
    speaks(office, "anthropic")
    assert ask(office, picture(url)).status == 400
    assert upstream.total_calls == 0
