"""Golden exchanges from the vendors' documentation, and streams cut anywhere, for the tests of dialects."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from openai.lib.streaming._deltas import accumulate_delta
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers import dialects, errors
from providers.dialects import Dialect
from providers.dialects.base import StreamDecoder
from providers.errors import UpstreamError
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Operation

GOLDEN = Path(__file__).parent / "golden"
CATALOG_DIR = Path(__file__).resolve().parents[2] / "fixtures" / "catalog"
JSON = {"content-type": "application/json"}
Outcome = tuple[list[dict[str, Any]], StreamDecoder, UpstreamError | None]


def golden(dialect: str, name: str) -> Any:
    return json.loads((GOLDEN / dialect / f"{name}.json").read_text())


@cache
def rows(name: str) -> list[dict[str, Any]]:
    """A factory of the catalogue that we ship, and its models."""
    loaded: list[dict[str, Any]] = json.loads((CATALOG_DIR / f"{name}.json").read_text())
    return loaded


def factory_of(name: str) -> dict[str, Any]:
    """What the catalogue says of a factory."""
    fields: dict[str, Any] = rows(name)[0]["fields"]
    return fields


def quirks_of(row: str, model: str) -> Quirks:
    """A model's quirks over its factory's, from the catalogue that we ship."""
    factory, *models = rows(row)
    found = next((entry["fields"] for entry in models if entry["fields"]["llm_name"] == model), {})
    return Quirks.from_data(factory["fields"].get("quirks")).merge(Quirks.from_data(found.get("quirks")))


def target(case: dict[str, Any], **quirks: Any) -> Target:
    """Where a case's request goes, with the quirks of its catalogue `row`, or else with its own."""
    found = quirks_of(case["row"], case["model"]) if "row" in case else Quirks.from_data(case.get("quirks"))
    merged, credential = found.merge(Quirks.from_data(quirks)), CredentialFields(case.get("fields", {}))
    return Target("F", case["model"], case["base_url"], quirks=merged, credential=credential)


def check_request(dialect: Dialect | str, operation: Operation, case: dict[str, Any]) -> None:
    """What is built is what the vendor documents."""
    request = _of(dialect).build(operation, case["payload"], target(case))
    expected = case["request"]
    assert (json.loads(request.body) if request.body else None) == expected.get("json")
    assert (request.method, request.url) == (expected["method"], expected["url"])
    assert request.headers == expected["headers"]


def parsed(dialect: Dialect | str, operation: Operation, case: dict[str, Any]) -> Any:
    """The reply in the vendor's answer."""
    sent = case["reply"]
    body = base64.b64decode(sent["base64"]) if "base64" in sent else json.dumps(sent["json"]).encode()
    return _of(dialect).parse(operation, 200, sent["headers"], body)


def check_chat(reply: Any, case: dict[str, Any]) -> None:
    assert reply == case["parsed"]
    ChatCompletion.model_validate(reply, strict=True)


def check_error(dialect: Dialect, operation: Operation, case: dict[str, Any]) -> None:
    text = case["text"].encode() if "text" in case else json.dumps(case["json"]).encode()
    headers = {"content-type": "text/plain" if "text" in case else "application/json", **case.get("headers", {})}
    with pytest.raises(UpstreamError) as caught:
        dialect.parse(operation, case["status"], headers, text)
    assert type(caught.value) is getattr(errors, case["error"])
    assert caught.value.retry_after_s == case.get("retry_after_s")
    assert caught.value.step


def decoded(decoder: StreamDecoder, pieces: Iterable[bytes]) -> Outcome:
    events: list[dict[str, Any]] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.close()
    except UpstreamError as error:
        return events, decoder, error
    return events, decoder, None


def check_cuts(make: Callable[[], StreamDecoder], data: bytes, cuts: Iterable[int] = ()) -> Outcome:
    """The same events, end and error whether the bytes come at once, cut at `cuts`, or one by one."""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    one, first, error = decoded(make(), [data])
    for split in ([data[a:b] for a, b in itertools.pairwise(places)], [data[i : i + 1] for i in range(len(data))]):
        events, decoder, other = decoded(make(), split)
        assert events == one
        assert decoder.finished == first.finished
        assert (type(other), str(other)) == (type(error), str(error))
    return one, first, error


def check_every_cut(make: Callable[[], StreamDecoder], data: bytes) -> None:
    """Two pieces, cut at every possible place."""
    whole = decoded(make(), [data])
    for place in range(len(data) + 1):
        events, decoder, error = decoded(make(), [data[:place], data[place:]])
        assert (events, decoder.finished, str(error)) == (whole[0], whole[1].finished, str(whole[2])), place


def assembled(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer of its chunks, put together as OpenAI's own client does it; each chunk is of OpenAI's type."""
    answer: dict[str, Any] = {"message": {}, "finish_reason": None, "usage": None}
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
        answer |= {"id": chunk["id"], "model": chunk["model"]}
        if not chunk["choices"]:
            answer["usage"] = chunk["usage"]
        for choice in chunk["choices"]:
            assert choice["index"] == 0
            answer["message"] = accumulate_delta(answer["message"], choice["delta"])
            answer["finish_reason"] = choice["finish_reason"] or answer["finish_reason"]
    return answer


def said(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The same in short: texts, calls as [id, name, arguments], why it ended, and usage."""
    answer = assembled(chunks)
    message = answer["message"]
    calls = [(call["id"], call["function"]) for call in message.get("tool_calls") or ()]
    return {
        "content": message.get("content") or "",
        "reasoning": message.get("reasoning_content") or "",
        "calls": [[id, function["name"], function["arguments"]] for id, function in calls],
        "finish": answer["finish_reason"],
        "usage": answer["usage"],
    }


def _of(dialect: Dialect | str) -> Dialect:
    return dialects.get(dialect) if isinstance(dialect, str) else dialect
