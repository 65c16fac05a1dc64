"""What a call used and how it ended, as plain values: what the gateway writes and the ledger reads. No Django.

`Usage` is normalised once, here, from what OpenAI's API calls `usage` (dialects translate other vendors' counts to it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any
from zlib import crc32

import orjson

from core.ids import ID_LENGTH

LARGEST_COUNT = 2_000_000_000  # of one call; more is an upstream's mistake, and says nothing
_PLAIN_NAMES = ("prompt_tokens", "completion_tokens", "total_tokens")
_PLAIN = frozenset(_PLAIN_NAMES)  # what most upstreams say, and no more
_VERSION = 1
_COMPLETION_NAMES = ("completion_tokens", "output_tokens")
_COMPLETION = frozenset(_COMPLETION_NAMES)
_AUDIO_LENGTHS = ("seconds", "duration", "prompt_audio_seconds")
_OTHER_UNITS = frozenset(
    {
        *_AUDIO_LENGTHS,
        *("billed_units", "search_units", "num_search_queries"),
        *("pages_processed", "pages", "characters", "input_characters"),
    }
)
_HEX = frozenset("0123456789abcdef")


@dataclass(slots=True)
class Usage:
    """What one call used, in buckets that do not overlap. None is unknown, which is not the same as zero."""

    input_tokens: int | None = None  # of the prompt, without the three below
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_input_tokens: int | None = None
    output_tokens: int | None = None  # of the answer, without the two below
    reasoning_tokens: int | None = None
    audio_output_tokens: int | None = None
    characters: int | None = None  # that were spoken
    audio_ms: int | None = None  # that was heard
    searches: int | None = None  # units in which reranking and web search are billed
    pages: int | None = None  # that were read
    estimated: bool = False  # counted by us, since the upstream said nothing

    @property
    def prompt_tokens(self) -> int | None:
        """All tokens that went in; None if unknown."""
        if self.cached_input_tokens is None and self.cache_write_tokens is None and self.audio_input_tokens is None:
            return self.input_tokens
        return _sum(self.input_tokens, self.cached_input_tokens, self.cache_write_tokens, self.audio_input_tokens)

    @property
    def completion_tokens(self) -> int | None:
        """All tokens that came out; None if unknown."""
        if self.reasoning_tokens is None and self.audio_output_tokens is None:
            return self.output_tokens
        return _sum(self.output_tokens, self.reasoning_tokens, self.audio_output_tokens)

    @property
    def total_tokens(self) -> int:
        """The sum of the token buckets that are known."""
        return (self.prompt_tokens or 0) + (self.completion_tokens or 0)


COUNTS = tuple(field.name for field in fields(Usage) if field.name != "estimated")
"""The names of the buckets, in their order."""

TOKENS = tuple(name for name in COUNTS if name.endswith("_tokens"))


class Outcome(StrEnum):
    """How a metered call ended."""

    COMPLETE = "complete"
    CLIENT_GONE = "client_gone"  # the caller left before the end
    UPSTREAM_CUT = "upstream_cut"  # the upstream broke off after it had begun to answer
    ERROR = "error"  # nothing was delivered


def usage_from_openai(usage: Mapping[str, Any] | None) -> Usage | None:
    """Buckets out of OpenAI's usage object; None when nothing in it can be counted.

    OpenAI counts cached and audio tokens within the prompt, reasoning and audio within the completion
    (https://platform.openai.com/docs/api-reference/chat/object). Details that exceed their sum are cut to it; a count
    that is no whole number, negative or above LARGEST_COUNT is unknown. xAI counts reasoning beside the completion,
    which its total shows (https://docs.x.ai/docs/key-information/consumption-and-rate-limits). Never raises.
    """
    if type(usage) is not dict and (not isinstance(usage, Mapping) or not usage):
        return None
    if usage.keys() == _PLAIN and (found := _plain(*(usage[name] for name in _PLAIN_NAMES))) is not None:
        return found
    prompt = _first(usage, "prompt_tokens", "input_tokens")
    completion = _first(usage, *_COMPLETION_NAMES)
    total = _count(usage, "total_tokens")
    inner = _details(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details")
    outer = _details(usage, "completion_tokens_details", "output_tokens_details", "output_token_details")
    found = Usage()
    if total is not None:
        if prompt is None and (completion is not None or _COMPLETION.isdisjoint(usage)):
            prompt = _rest(total, completion)
        elif completion is None and prompt is not None:
            completion = _rest(total, prompt)
    _split_prompt(found, prompt, usage, inner)
    _split_completion(found, prompt, completion, total, usage, outer)
    if not _OTHER_UNITS.isdisjoint(usage):
        found.audio_ms = _audio_ms(usage)
        billed = _details(usage, "billed_units") or usage
        found.searches = _first(billed, "search_units", "num_search_queries")
        found.pages = _first(usage, "pages_processed", "pages")
        found.characters = _first(usage, "characters", "input_characters")
    elif prompt is None and completion is None:
        return None
    return found if any(getattr(found, name) is not None for name in COUNTS) else None


def _plain(prompt: Any, completion: Any, total: Any) -> Usage | None:
    """The three sums that most upstreams say and no more, if they are right."""
    if type(prompt) is not int or type(completion) is not int or total != prompt + completion:
        return None
    if not (0 <= prompt <= LARGEST_COUNT and 0 <= completion <= LARGEST_COUNT):
        return None
    return Usage(input_tokens=prompt, output_tokens=completion)


def _split_prompt(found: Usage, prompt: int | None, usage: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    if prompt is None:
        return
    cached = _count(details, "cached_tokens")
    if cached is None:  # DeepSeek and Moonshot say it beside the sums
        cached = _first(usage, "prompt_cache_hit_tokens", "cached_tokens")
    written = _first(details, "cache_write_tokens", "cache_creation_tokens")
    audio = _count(details, "audio_tokens")
    found.cached_input_tokens, rest = _part(cached, prompt)
    found.cache_write_tokens, rest = _part(written, rest)
    found.audio_input_tokens, found.input_tokens = _part(audio, rest)


def _split_completion(
    found: Usage,
    prompt: int | None,
    completion: int | None,
    total: int | None,
    usage: Mapping[str, Any],
    details: Mapping[str, Any],
) -> None:
    if completion is None:
        return
    reasoning = _count(details, "reasoning_tokens")
    if reasoning is None:  # Perplexity says it beside the sums
        reasoning = _count(usage, "reasoning_tokens")
    if reasoning:
        beside = (prompt or 0) + completion + reasoning
        if reasoning > completion or total == beside:
            completion += reasoning
            if completion > LARGEST_COUNT:
                return
    audio = _count(details, "audio_tokens")
    found.reasoning_tokens, rest = _part(reasoning, completion)
    found.audio_output_tokens, found.output_tokens = _part(audio, rest)


def _rest(total: int, part: int | None) -> int | None:
    """What a sum leaves beside a part of it."""
    rest = total - (part or 0)
    return rest if rest >= 0 else None


def _part(value: int | None, whole: int) -> tuple[int | None, int]:
    """A part of a whole, cut to it, and what is left."""
    if value is None:
        return None, whole
    value = min(value, whole)
    return value, whole - value


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        value = usage.get(name)
        if isinstance(value, Mapping):
            return value
    return {}


def _count(data: Mapping[str, Any], name: str) -> int | None:
    value = data.get(name)
    if type(value) is float and value.is_integer():  # Cohere writes 12.0
        value = int(value)
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None


def _first(data: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = _count(data, name)
        if value is not None:
            return value
    return None


def _audio_ms(usage: Mapping[str, Any]) -> int | None:
    """How long the audio was, in milliseconds."""
    for name in _AUDIO_LENGTHS:
        value = usage.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT / 1000:
            return round(value * 1000)
    return None


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def called(factory: str, llm_name: str, *, of_service: bool) -> str:
    """How the model that the books name is called: `name@factory` or `service~name`; "" for none.

    Of a service's model the tenant has no row, so the books have no id of one.
    """
    if not llm_name:
        return ""
    return f"{factory}~{llm_name}" if of_service else f"{llm_name}@{factory}"


@dataclass(slots=True)
class CallRecord:
    """One metered call. Neither prompts nor answers are kept."""

    id: str  # of `core.ids.new_id`: by it the ledger knows a call again
    tenant_id: str
    token_id: str  # "" for calls from Python
    tenant_llm_id: int | None  # the one that answered, or the last that was tried
    factory: str
    llm_name: str
    model: str  # as the caller named it
    route: str  # "" when the name was not a route's
    operation: str
    stream: bool
    started_at: float  # epoch seconds
    latency_ms: int
    first_token_ms: int | None
    outcome: str
    status: int  # the HTTP status that the caller got
    error_code: str
    attempts: tuple[tuple[str, str, int], ...]  # ("name@factory", "ok" or an error code, milliseconds), in order
    usage: Usage
    cost: Decimal | None  # USD; None is unpriced or unknown
    request_id: str
    end_user: str = ""

    def to_line(self) -> bytes:
        """One line that tells by itself whether it is whole: a CRC-32, and the values as JSON."""
        used = self.usage
        values = [
            *(_VERSION, self.id, self.tenant_id, self.token_id, self.tenant_llm_id, self.factory, self.llm_name),
            *(self.model, self.route, self.operation, self.stream, self.started_at, self.latency_ms),
            *(self.first_token_ms, self.outcome, self.status, self.error_code, self.attempts),
            *(used.input_tokens, used.cached_input_tokens, used.cache_write_tokens, used.audio_input_tokens),
            *(used.output_tokens, used.reasoning_tokens, used.audio_output_tokens, used.characters, used.audio_ms),
            *(used.searches, used.pages, used.estimated, None if self.cost is None else str(self.cost)),
            *(self.request_id, self.end_user),
        ]
        try:
            payload = orjson.dumps(values)
        except TypeError:  # a text that is no Unicode, a number beyond 64 bits: rather changed than lost
            payload = orjson.dumps(_sayable(values))
        return b"%08x %b\n" % (crc32(payload), payload)


_FIRST_COUNT, _LENGTH = 18, 33


def from_line(line: bytes) -> CallRecord:
    """The record in a line; raises ValueError for a line that is torn, or none of ours."""
    payload = line[9:-1]
    if line[8:9] != b" " or line[-1:] != b"\n" or line[:8] != b"%08x" % crc32(payload):
        raise ValueError("The line is not whole.")
    values = orjson.loads(payload)
    if type(values) is not list or len(values) != _LENGTH or values[0] != _VERSION:
        raise ValueError("The line is of another format.")
    counts = values[_FIRST_COUNT : _FIRST_COUNT + len(COUNTS)]
    estimated, cost, request_id, end_user = values[_FIRST_COUNT + len(COUNTS) :]
    call_id, started_at, attempts = values[1], values[11], values[17]
    if type(call_id) is not str or len(call_id) != ID_LENGTH or not _HEX.issuperset(call_id):
        raise ValueError("The line has no call's id.")
    if type(started_at) not in (float, int) or not 0 <= started_at < 1e11:
        raise ValueError("The line has no time.")
    if any(count is not None and (type(count) is not int or not 0 <= count <= LARGEST_COUNT) for count in counts):
        raise ValueError("The line has a count that is none.")
    try:
        usage = Usage(*[*counts, bool(estimated)])
        tried = tuple((str(model), str(said), int(took)) for model, said, took in attempts)
        price = None if cost is None else Decimal(cost)
    except (TypeError, InvalidOperation) as error:
        raise ValueError("The line has a value of another type.") from error
    if price is not None and (not price.is_finite() or price < 0):
        raise ValueError("The line has a cost that is none.")
    return CallRecord(*[*values[1:17], tried, usage, price, request_id, end_user])


def _sayable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [_sayable(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-(2**53), min(value, 2**53))
    return value if value is None or isinstance(value, bool | float) else str(value)
