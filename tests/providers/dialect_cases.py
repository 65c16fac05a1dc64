"""Golden cases of a dialect and ways to hold it against them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai.lib.streaming._deltas import accumulate_delta
from openai.types.chat import ChatCompletionChunk

from providers import dialects
from providers.dialects.base import StreamDecoder
from providers.errors import UpstreamError
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Operation

GOLDEN = Path(__file__).parent / "golden"
JSON = {"content-type": "application/json"}
Decoded = tuple[list[dict[str, Any]], StreamDecoder, UpstreamError | None]


def golden(dialect: str, name: str) -> Any:
    return json.loads((GOLDEN / dialect / f"{name}.json").read_text())


def target(dialect: str, case: dict[str, Any]) -> Target:
    credential = CredentialFields(case.get("fields", {}))
    quirks = Quirks.from_data(case["quirks"])
    return Target("F", case["model"], case["base_url"], dialect=dialect, quirks=quirks, credential=credential)


def check_request(dialect: str, operation: Operation, case: dict[str, Any]) -> None:
    """What is built is what the vendor documents."""
    request = dialects.get(dialect).build(operation, case["payload"], target(dialect, case))
    expected = case["request"]
    assert (json.loads(request.body) if request.body else None) == expected.get("json")
    assert (request.method, request.url) == (expected["method"], expected["url"])
    assert request.headers == expected["headers"]


def parsed(dialect: str, operation: Operation, case: dict[str, Any]) -> Any:
    sent = case["reply"]
    return dialects.get(dialect).parse(operation, 200, sent["headers"], json.dumps(sent["json"]).encode())


def decoded(make: Callable[[], StreamDecoder], pieces: list[bytes]) -> Decoded:
    """The events of the pieces, the decoder after them, and the error that ended them."""
    decoder = make()
    events: list[dict[str, Any]] = []
    try:
        for piece in pieces:
            events += decoder.feed(piece)
        events += decoder.close()
    except UpstreamError as error:
        return events, decoder, error
    return events, decoder, None


def assembled(events: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer of its chunks, put together as OpenAI's own client does it."""
    answer: dict[str, Any] = {"message": {}, "finish_reason": None, "usage": None}
    for event in events:
        ChatCompletionChunk.model_validate(event)
        answer |= {"id": event["id"], "model": event["model"]}
        if not event["choices"]:
            answer["usage"] = event["usage"]
        for choice in event["choices"]:
            assert choice["index"] == 0
            answer["message"] = accumulate_delta(answer["message"], choice["delta"])
            answer["finish_reason"] = choice["finish_reason"] or answer["finish_reason"]
    return answer


def check_cuts(make: Callable[[], StreamDecoder], data: bytes) -> None:
    """Bytes cut at every place, and into single bytes, give the same events, end and error."""
    events, decoder, error = decoded(make, [data])
    singles = [data[i : i + 1] for i in range(len(data))]
    for pieces in ([data[:cut], data[cut:]] for cut in range(1, len(data))):
        assert decoded(make, pieces)[0] == events, pieces[0][-60:]
    again, other, same = decoded(make, singles)
    assert again == events
    assert other.finished == decoder.finished
    assert (type(same), str(same)) == (type(error), str(error))
