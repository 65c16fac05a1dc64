"""What a call used, and what it cost: as the upstream counted, or estimated where it did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from gateway import estimate
from gateway.call import Call
from providers.errors import BadReply, TimedOut, UpstreamError
from providers.wire import Document, Embeddings, Operation, Ranking, Transcript
from usage import pricing
from usage.records import CallRecord, Usage, usage_from_openai

COST, TARGET, ATTEMPTS = "x-llmadmin-cost-usd", "x-llmadmin-target", "x-llmadmin-attempts"


def of_reply(call: Call, reply: Any) -> Usage:
    """What a whole answer used."""
    if call.operation is Operation.CHAT:
        return _counted(reply.get("usage")) or _estimated(call, _said(reply))
    if call.operation is Operation.SPEECH:
        text = call.payload.get("input")
        return Usage(characters=len(text) if isinstance(text, str) else None)
    if isinstance(reply, Embeddings | Ranking | Transcript | Document) and (found := _counted(reply.usage)):
        return found
    if call.operation is Operation.OCR:
        return Usage(pages=len(reply), estimated=True)
    if call.operation is Operation.TRANSCRIPTION:
        return Usage()  # the length of the recording is not known here
    return _estimated(call, 0)


def of_stream(call: Call, usage: Mapping[str, Any] | None, said_tokens: Callable[[], int]) -> Usage:
    """What a streamed answer used, as far as it came. What was said is only counted where the upstream did not."""
    found = _counted(usage)
    if found is None or found.completion_tokens is None:
        return _estimated(call, said_tokens())
    return found


def of_failure(call: Call, error: UpstreamError) -> Usage:
    """What a call used that got no answer: nothing if it was refused; what was sent, if the upstream took it."""
    if isinstance(error, TimedOut | BadReply) and error.step in ("headers", "body", "parse"):
        return of_input(call)
    return Usage()


def of_input(call: Call) -> Usage:
    """What was sent, estimated; what came back is unknown."""
    if call.operation in (Operation.TRANSCRIPTION, Operation.OCR):
        return Usage()
    return Usage(input_tokens=estimate.input_tokens(call.payload, call.size_bytes), estimated=True)


def cost(call: Call, usage: Usage) -> Decimal | None:
    """In USD, by the price of the target that answered; None if it is unpriced or not known."""
    if call.deployment is None:
        return None
    return pricing.cost(call.deployment.price, usage, at=call.began_at)


def headers(call: Call, record: CallRecord | None) -> dict[str, str]:
    """What the caller is told about the call beside its answer."""
    told = {ATTEMPTS: str(len(call.attempts))}
    if call.deployment is not None:
        told[TARGET] = call.deployment.model_id.encode("ascii", "backslashreplace").decode()
    if record is not None and record.cost is not None:
        told[COST] = f"{record.cost:f}"
    return told | call.headers


def _counted(usage: Mapping[str, Any] | None) -> Usage | None:
    return usage_from_openai(usage) if usage else None


def _estimated(call: Call, said_tokens: int) -> Usage:
    found = of_input(call)
    if call.operation is Operation.CHAT:
        found.output_tokens = said_tokens
    return found


def _said(reply: Mapping[str, Any]) -> int:
    choices = reply.get("choices") or ()
    return estimate.streamed_tokens(
        [{"choices": [{"delta": choice.get("message")} for choice in choices if isinstance(choice, Mapping)]}]
    )
