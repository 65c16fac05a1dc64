"""What a call used, and what it cost: as the upstream counted, or estimated where it did not."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeGuard

from gateway import estimate
from gateway.call import Call
from gateway.relay import Relay
from providers.errors import BadReply, TimedOut, UpstreamError
from providers.wire import Document, Embeddings, Operation, Ranking, Transcript
from usage import pricing
from usage.records import CallRecord, Usage, usage_from_openai

COST, TARGET, ATTEMPTS = "x-llmadmin-cost-usd", "x-llmadmin-target", "x-llmadmin-attempts"
STANDARD = frozenset({"", "auto", "default", "standard"})  # service tiers at the usual price


def of_reply(call: Call, reply: Any) -> Usage:
    """What a whole answer used."""
    if call.operation is Operation.CHAT:
        _note_tier(call, reply.get("service_tier"))
        found = _counted(reply.get("usage"))
        return found if _is_whole(found) else _completed(call, found, _said(reply))
    if call.operation is Operation.SPEECH:
        return _of_speech(call, None)
    if isinstance(reply, Embeddings | Ranking | Transcript | Document) and (found := _counted(reply.usage)):
        return found
    if call.operation is Operation.OCR:
        return Usage(pages=len(reply), estimated=True)
    if call.operation is Operation.TRANSCRIPTION:
        return Usage()  # the length of the recording is not known here
    return of_input(call)


def of_stream(call: Call, relay: Relay[Any]) -> Usage:
    """What a streamed answer used, as far as it came."""
    if call.operation is Operation.SPEECH:
        return _of_speech(call, relay.usage)
    if call.operation is Operation.TRANSCRIPTION:
        return _counted(relay.usage) or Usage()
    found = _counted(relay.usage)
    if not _is_whole(found):
        found = _completed(call, found, relay.said_tokens())  # which looks for the tier, too
    _note_tier(call, relay.tier)
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
    if call.operation is Operation.SPEECH:
        return _of_speech(call, None)
    return Usage(input_tokens=estimate.input_tokens(call.payload, call.size_bytes), estimated=True)


def cost(call: Call, usage: Usage) -> Decimal | None:
    """In USD, by the price of the target that answered; None if it is unpriced or not known."""
    if call.deployment is None:
        return None
    context = context_of(call.tier) if call.tier and call.tier not in STANDARD else None
    return pricing.cost(call.deployment.price, usage, at=call.began_at, context=context)


def context_of(tier: str) -> Mapping[str, str]:
    """How price lists name what costs otherwise; a tier that they do not know costs what the standard one does."""
    return {"processing": tier} if tier == "batch" else {"service_tier": tier}


def headers(call: Call, record: CallRecord | None) -> dict[str, str]:
    """What the caller is told about the call beside its answer."""
    told = {ATTEMPTS: str(len(call.attempts))}
    if call.deployment is not None:
        told[TARGET] = call.deployment.model_id.encode("ascii", "backslashreplace").decode()
    if record is not None:
        told |= cost_header(record.cost)
    return told | call.headers


def cost_header(cost: Decimal | None) -> dict[str, str]:
    return {} if cost is None else {COST: f"{cost:f}"}


def _is_whole(found: Usage | None) -> TypeGuard[Usage]:
    """Whether the upstream counted both sides of a chat."""
    return found is not None and found.input_tokens is not None and found.output_tokens is not None


def _completed(call: Call, found: Usage | None, said_tokens: int) -> Usage:
    """What the upstream counted; a side of the chat that it did not count is estimated."""
    found = found or Usage()
    if found.prompt_tokens is None:
        found.input_tokens = estimate.input_tokens(call.payload, call.size_bytes)
        found.estimated = True
    if found.completion_tokens is None:
        found.output_tokens = said_tokens
        found.estimated = True
    return found


def _of_speech(call: Call, usage: Mapping[str, Any] | None) -> Usage:
    """The characters to be spoken; tokens, too, where the upstream counts them: those of the answer are audio's."""
    found = _counted(usage) or Usage()
    text = call.payload.get("input")
    found.characters = len(text) if isinstance(text, str) else None
    if found.audio_output_tokens is None:
        found.audio_output_tokens, found.output_tokens = found.output_tokens, None
    return found


def _note_tier(call: Call, tier: Any) -> None:
    if tier and isinstance(tier, str):
        call.tier = tier


def _counted(usage: Mapping[str, Any] | None) -> Usage | None:
    return usage_from_openai(usage) if usage else None


def _said(reply: Mapping[str, Any]) -> int:
    choices = reply.get("choices") or ()
    return estimate.streamed_tokens(
        [{"choices": [{"delta": choice.get("message")} for choice in choices if isinstance(choice, Mapping)]}]
    )
