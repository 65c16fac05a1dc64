"""One call as Langfuse's events: a trace, and the generation in it. Values only.

Source: https://api.reference.langfuse.com/#tag/ingestion — `trace-create` and `generation-create`. Events of one trace
id are put together there, so that an application may name its own (`metadata.trace_id`) and have its calls join it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from core.ids import new_id
from gateway.call import Call
from gateway.snapshot import Tracing
from providers.wire import Operation, Transcript
from usage.records import COUNTS, CallRecord

MAX_CONTENT_BYTES = 512 * 1024  # of what was asked, and of what was answered
MAX_TEXT = 200
MAX_TAGS = 20
LEFT_OUT = "[left out: too large]"
# Langfuse adds up what begins with “input” or “output”.
_UNITS = {
    "input_tokens": "input", "cached_input_tokens": "input_cached_tokens", "cache_write_tokens": "input_cache_creation",
    "audio_input_tokens": "input_audio_tokens", "output_tokens": "output",
    "reasoning_tokens": "output_reasoning_tokens", "audio_output_tokens": "output_audio_tokens",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that has ended, as far as its trace needs it. `heard`: the pieces of a stream."""

    tracing: Tracing
    record: CallRecord
    payload: Mapping[str, Any]
    reply: Any = None
    heard: tuple[Any, ...] = ()
    size_bytes: int = 0


def ended(tracing: Tracing, call: Call, record: CallRecord) -> Ended:
    """Cheap: what is large is only pointed to, and left alone where it is not sent."""
    if not tracing.content:
        metadata = call.payload.get("metadata")
        return Ended(tracing, record, {"metadata": metadata} if isinstance(metadata, dict) else {})
    heard = tuple(call.heard)
    size = call.size_bytes + sum(len(piece) if isinstance(piece, bytes) else 256 * len(piece) for piece in heard)
    return Ended(tracing, record, call.payload, call.reply, heard, size)


def events(ended: Ended) -> list[dict[str, Any]]:
    """The two events of a call."""
    record = ended.record
    metadata = ended.payload.get("metadata")
    given: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
    trace_id = _text(given.get("trace_id")) or record.request_id
    began = datetime.fromtimestamp(record.started_at, UTC)
    done = began + timedelta(milliseconds=record.latency_ms)
    trace: dict[str, Any] = {
        "id": trace_id,
        "timestamp": _time(began),
        "name": _text(given.get("trace_name")) or record.operation,
        "userId": record.end_user or None,
        "sessionId": _text(given.get("session_id")) or None,
        "tags": [tag for one in _list(given.get("tags"))[:MAX_TAGS] if (tag := _text(one))] or None,
    }
    generation: dict[str, Any] = {
        "id": record.id,
        "traceId": trace_id,
        "name": record.operation,
        "startTime": _time(began),
        "endTime": _time(done),
        "model": record.llm_name or record.model,
        "usageDetails": _usage(record),
        "level": "DEFAULT" if record.outcome == "complete" else "ERROR",
        "statusMessage": record.error_code or None,
        "metadata": {
            "request_id": record.request_id,
            "token_id": record.token_id,
            "requested_model": record.model,
            "factory": record.factory,
            "route": record.route,
            "operation": record.operation,
            "stream": record.stream,
            "outcome": record.outcome,
            "status": record.status,
            "latency_ms": record.latency_ms,
            "attempts": [{"target": target, "code": code, "ms": ms} for target, code, ms in record.attempts],
            "usage_estimated": record.usage.estimated,
        },
    }
    if record.cost is not None:
        generation["costDetails"] = {"total": float(record.cost)}
    if record.first_token_ms is not None:
        generation["completionStartTime"] = _time(began + timedelta(milliseconds=record.first_token_ms))
    if ended.tracing.content:
        content = {"input": _sized(_asked(record, ended.payload)), "output": _sized(_answered(record, ended))}
        trace |= content
        generation |= content
    return [_event("trace-create", trace, done), _event("generation-create", generation, done)]


def _event(kind: str, body: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    told = {name: value for name, value in body.items() if value is not None}
    return {"id": new_id(), "timestamp": _time(at), "type": kind, "body": told}


def _usage(record: CallRecord) -> dict[str, int]:
    counts = ((name, getattr(record.usage, name)) for name in COUNTS)
    return {_UNITS.get(name, name): count for name, count in counts if count}


def _asked(record: CallRecord, payload: Mapping[str, Any]) -> Any:
    if record.operation == Operation.CHAT:
        tools = payload.get("tools")
        return {"messages": payload.get("messages"), "tools": tools} if tools else payload.get("messages")
    if record.operation == Operation.RERANK:
        return {"query": payload.get("query"), "documents": payload.get("documents")}
    return payload.get("input")  # recordings and pages of documents stay here


def _answered(record: CallRecord, ended: Ended) -> Any:
    if ended.heard and record.operation == Operation.TRANSCRIPTION:
        return "".join(text for chunk in _chunks(ended.heard) if isinstance(text := chunk.get("delta"), str))
    if ended.heard:
        return _said(ended.heard)
    if record.operation == Operation.CHAT and isinstance(ended.reply, Mapping):
        return _one([choice.get("message") for choice in _dicts(ended.reply.get("choices"))])
    return ended.reply.text if isinstance(ended.reply, Transcript) else None


def _said(pieces: Iterable[Any]) -> Any:
    """The messages that a stream said, put together."""
    messages: dict[int, dict[str, Any]] = {}
    for chunk in _chunks(pieces):
        for choice in _dicts(chunk.get("choices")):
            index, delta = choice.get("index"), choice.get("delta")
            if not isinstance(delta, dict):
                continue
            message = messages.setdefault(index if isinstance(index, int) else 0, {"role": "assistant"})
            for name in ("content", "reasoning_content", "refusal"):
                if isinstance(delta.get(name), str):
                    message[name] = message.get(name, "") + delta[name]
            for call in _dicts(delta.get("tool_calls")):
                _add_tool_call(message.setdefault("tool_calls", {}), call)
    for message in messages.values():
        if "tool_calls" in message:
            message["tool_calls"] = list(message["tool_calls"].values())
    return _one([messages[index] for index in sorted(messages)])


def _add_tool_call(calls: dict[Any, dict[str, Any]], part: Mapping[str, Any]) -> None:
    call = calls.setdefault(part.get("index"), {"id": "", "name": "", "arguments": ""})
    function = part.get("function")
    if isinstance(part.get("id"), str):
        call["id"] = part["id"]
    for name in ("name", "arguments"):
        if isinstance(function, dict) and isinstance(function.get(name), str):
            call[name] += function[name]


def _chunks(pieces: Iterable[Any]) -> Iterable[Mapping[str, Any]]:
    """The objects of a stream, whether it was passed on as events or as chunks. A half event at a cut is left out."""
    texts = []
    for piece in pieces:
        if isinstance(piece, bytes):
            texts.append(piece)
        else:
            yield from _dicts(piece)
    for line in b"".join(texts).splitlines():
        if line.startswith(b"data:"):
            try:
                found = orjson.loads(line[5:].strip())
            except orjson.JSONDecodeError:
                continue
            yield from _dicts([found])


def _sized(value: Any) -> Any:
    if value is None:
        return None
    try:
        size = len(orjson.dumps(value))
    except (orjson.JSONEncodeError, TypeError):
        return LEFT_OUT
    return value if size <= MAX_CONTENT_BYTES else LEFT_OUT


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values or None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in _list(value) if isinstance(one, dict)]


def _text(value: Any) -> str:
    """What an application wrote, if it may stand as an id or a name."""
    return value[:MAX_TEXT] if isinstance(value, str) and value.isprintable() else ""


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
