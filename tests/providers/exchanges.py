"""Golden exchanges from the vendors' documentation, and streams cut anywhere, for the tests of dialects."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers import errors
from providers.dialects import Dialect
from providers.dialects.base import StreamDecoder
from providers.errors import UpstreamError
from providers.quirks import Quirks
from providers.target import Target
from providers.wire import Operation

GOLDEN = Path(__file__).parent / "golden"
CATALOG_DIR = Path(__file__).resolve().parents[2] / "fixtures" / "catalog"
JSON = {"content-type": "application/json"}
Outcome = tuple[list[dict[str, Any]], StreamDecoder, UpstreamError | None]


def golden(dialect: str, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((GOLDEN / dialect / f"{name}.json").read_text())
    return loaded


def quirks_of(row: str, model: str) -> Quirks:
    """A model's quirks over its factory's, from the catalogue that we ship."""
    factory, *models = json.loads((CATALOG_DIR / f"{row}.json").read_text())
    found = next((entry["fields"] for entry in models if entry["fields"]["llm_name"] == model), {})
    return Quirks.from_data(factory["fields"].get("quirks")).merge(Quirks.from_data(found.get("quirks")))


def target(case: dict[str, Any], **quirks: Any) -> Target:
    """Where a case's request goes, with the quirks of its catalogue `row`, or else with its own."""
    found = quirks_of(case["row"], case["model"]) if "row" in case else Quirks.from_data(case.get("quirks"))
    return Target("F", case["model"], case["base_url"], quirks=found.merge(Quirks.from_data(quirks)))


def check_request(dialect: Dialect, operation: Operation, case: dict[str, Any]) -> None:
    request = dialect.build(operation, case["payload"], target(case))
    expected = case["request"]
    assert (request.method, request.url) == (expected["method"], expected["url"])
    assert request.headers == expected["headers"]
    assert (json.loads(request.body) if request.body else None) == expected.get("json")


def reply(dialect: Dialect, operation: Operation, case: dict[str, Any]) -> Any:
    sent = case["reply"]
    body = base64.b64decode(sent["base64"]) if "base64" in sent else json.dumps(sent["json"]).encode()
    return dialect.parse(operation, 200, sent["headers"], body)


def check_chat(parsed: Any, case: dict[str, Any]) -> None:
    assert parsed == case["parsed"]
    ChatCompletion.model_validate(parsed, strict=True)


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
    """What a client of OpenAI's stream puts together; each chunk is checked to be of OpenAI's type."""
    result: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}, "finish": None, "usage": None}
    for data in chunks:
        chunk = ChatCompletionChunk.model_validate(data, strict=True)
        result["usage"] = chunk.usage.model_dump(exclude_none=True) if chunk.usage else result["usage"]
        for choice in chunk.choices:
            result["content"] += choice.delta.content or ""
            result["reasoning"] += getattr(choice.delta, "reasoning_content", None) or ""
            result["finish"] = choice.finish_reason or result["finish"]
            for call in choice.delta.tool_calls or ():
                assert call.function is not None
                known = result["calls"].setdefault(call.index, [call.id, call.function.name, ""])
                known[2] += call.function.arguments or ""
    result["calls"] = [result["calls"][index] for index in sorted(result["calls"])]
    return result
