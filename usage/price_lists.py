"""Reading `price_detail` of a catalogue row: prices by bucket, their tiers, conditions and variants. No Django.

The words are those of genai-prices (https://github.com/pydantic/genai-prices), as `providers.services.prices` writes
them down; LiteLLM's and models.dev's names for the same prices are understood too. What cannot be read is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

MILLION = 10**6
Tiers = tuple[tuple[int, Decimal], ...]

# genai-prices: the bucket that a price key prices, and how many units the price is for.
_NATIVE: dict[str, tuple[str, int]] = {
    "input_mtok": ("input_tokens", MILLION),
    "cache_read_mtok": ("cached_input_tokens", MILLION),
    "cache_write_mtok": ("cache_write_tokens", MILLION),
    "input_audio_mtok": ("audio_input_tokens", MILLION),
    "output_mtok": ("output_tokens", MILLION),
    "output_reasoning_mtok": ("reasoning_tokens", MILLION),
    "output_audio_mtok": ("audio_output_tokens", MILLION),
    "input_mchars": ("characters", MILLION),
    "input_audio_hours": ("audio_ms", 3_600_000),
    "audio_hours": ("audio_ms", 3_600_000),
    "web_searches_kcount": ("searches", 1000),
    "input_document_kpages": ("pages", 1000),
    "requests_kcount": ("requests", 1000),
}
# LiteLLM has USD for one unit, models.dev for a million. Token prices are read as for a million, as the columns are.
_FOREIGN: dict[str, tuple[str, int, int]] = {  # the bucket, the factor, and what the product is for
    "cache_creation_input_token_cost": ("cache_write_tokens", MILLION, MILLION),
    "input_cost_per_audio_token": ("audio_input_tokens", MILLION, MILLION),
    "output_cost_per_audio_token": ("audio_output_tokens", MILLION, MILLION),
    "output_cost_per_reasoning_token": ("reasoning_tokens", MILLION, MILLION),
    "input_cost_per_character": ("characters", 1, 1),
    "input_cost_per_second": ("audio_ms", 1, 1000),
    "input_cost_per_query": ("searches", 1, 1),
    "input_cost_per_request": ("requests", 1, 1),
    "ocr_cost_per_page": ("pages", 1, 1),
    "cache_write": ("cache_write_tokens", 1, MILLION),
    "reasoning": ("reasoning_tokens", 1, MILLION),
    "input_audio": ("audio_input_tokens", 1, MILLION),
    "output_audio": ("audio_output_tokens", 1, MILLION),
}
_LITELLM_TIERED = {
    "input_cost_per_token": "input_tokens",
    "output_cost_per_token": "output_tokens",
    "cache_read_input_token_cost": "cached_input_tokens",
    "cache_creation_input_token_cost": "cache_write_tokens",
}
_MODELS_DEV_TIERED = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cached_input_tokens",
    "cache_write": "cache_write_tokens",
}


@dataclass(frozen=True, slots=True)
class Rate:
    """USD for `per` units; a tier's price holds for prompts longer than its start (ascending)."""

    base: Decimal
    per: int
    tiers: Tiers = ()

    def at(self, prompt_tokens: int) -> Decimal:
        """What holds in a call whose prompt is this long."""
        found = self.base
        for start, price in self.tiers:
            if prompt_tokens > start:
                found = price
        return found

    def highest(self, prompt_tokens: int) -> Decimal:
        """The most that may hold in a call whose prompt is no longer than this."""
        if not self.tiers:
            return self.base
        return max([self.base, *(price for start, price in self.tiers if prompt_tokens > start)])


Rates = Mapping[str, Rate]


@dataclass(frozen=True, slots=True)
class Special:
    """Prices that hold instead of others: from a day on, at a time of day (UTC), for a kind of call."""

    rates: Rates
    since: date | None = None
    hours: tuple[time, time] | None = None
    when: Mapping[str, str] = field(default_factory=dict)

    def holds(self, moment: datetime, context: Mapping[str, str]) -> bool:
        if self.since is not None and moment.date() < self.since:
            return False
        if self.hours is not None:
            start, end = self.hours
            now = moment.time()
            if not (start <= now < end if start <= end else now >= start or now < end):
                return False
        return all(context.get(name) == value for name, value in self.when.items())


def rates(detail: Mapping[str, Any]) -> dict[str, Rate]:
    """The price of each bucket that has one here ("requests" is the price of the call itself)."""
    found: dict[str, Rate] = {}
    for key, (bucket, factor, per) in _FOREIGN.items():
        if (price := _amount(detail.get(key))) is not None:
            found[bucket] = Rate(price * factor, per)
    for key, (bucket, per) in _NATIVE.items():
        if (rate := _native(detail.get(key), per)) is not None:
            found[bucket] = rate
    return found


def tiers(detail: Mapping[str, Any]) -> dict[str, Tiers]:
    """Tiers that stand beside a price instead of in it: LiteLLM's `…_above_200k_tokens`, models.dev's
    `context_over_200k`. USD for a million tokens."""
    found: dict[str, list[tuple[int, Decimal]]] = {}
    for key, value in detail.items():
        name, _, rest = key.partition("_above_")
        thousands = rest.removesuffix("k_tokens")
        price = _amount(value)
        if name in _LITELLM_TIERED and rest.endswith("k_tokens") and thousands.isdecimal() and price is not None:
            found.setdefault(_LITELLM_TIERED[name], []).append((int(thousands[:7]) * 1000, price * MILLION))
        thousands = key.removeprefix("context_over_").removesuffix("k")
        if isinstance(value, Mapping) and key.startswith("context_over_") and thousands.isdecimal():
            for inner, bucket in _MODELS_DEV_TIERED.items():
                if (price := _amount(value.get(inner))) is not None:
                    found.setdefault(bucket, []).append((int(thousands[:7]) * 1000, price))
    return {bucket: tuple(sorted(steps)) for bucket, steps in found.items()}


def specials(listed: Any) -> Iterator[Special]:
    """The entries of `conditions` or `variants` that can be read whole: half-read ones would hold too often."""
    for entry in listed if isinstance(listed, list) else ():
        prices = entry.get("prices") if isinstance(entry, Mapping) else None
        if not isinstance(prices, Mapping):
            continue
        when = entry.get("when") or {}
        start, end = _time(entry.get("start_time")), _time(entry.get("end_time"))
        since = _day(entry.get("start_date"))
        unread = (
            ("start_date" in entry and since is None)
            or (("start_time" in entry or "end_time" in entry) and (start is None or end is None))
            or not isinstance(when, Mapping)
        )
        if not unread:
            hours = (start, end) if start is not None and end is not None else None
            yield Special(rates(prices), since, hours, dict(when))


def _native(value: Any, per: int) -> Rate | None:
    if not isinstance(value, Mapping):
        price = _amount(value)
        return None if price is None else Rate(price, per)
    base = _amount(value.get("base"))
    listed = value.get("tiers")
    steps = [_tier(entry) for entry in (listed if isinstance(listed, list) else [])]
    if base is None or None in steps:
        return None
    return Rate(base, per, tuple(sorted(step for step in steps if step is not None)))


def _tier(entry: Any) -> tuple[int, Decimal] | None:
    start = entry.get("start") if isinstance(entry, Mapping) else None
    price = _amount(entry.get("price")) if isinstance(entry, Mapping) else None
    return (start, price) if type(start) is int and price is not None else None


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    return price if price.is_finite() and 0 <= price < Decimal(10) ** 12 else None


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def _time(value: Any) -> time | None:
    try:
        return time.fromisoformat(value).replace(tzinfo=None)
    except (TypeError, ValueError):
        return None
