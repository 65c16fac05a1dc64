"""What a call cost, exactly, and what it may cost at most. No Django: a price is built once from a model's row.

Parts of a prompt or an answer that have no price of their own (cached tokens, audio, reasoning) cost what the rest of
it costs. The tier that a call falls into by the length of its whole prompt holds for all of its tokens, as vendors do
it. What is unknown has no price, which is not the same as free.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from usage import price_lists
from usage.price_lists import MILLION, Rate, Rates, Special
from usage.records import Usage

MONEY_STEP = Decimal("1E-10")
"""Every cost is a whole multiple of this many USD."""

LARGEST_COST = Decimal(1_000_000)
"""In USD. A call that comes to more has a price that was mistyped, and counts as unpriced."""

_OPERATOR = "operator"  # the source of a price that a person set
_PRICE_STEP = Decimal("0.000001")  # of the columns
_ZERO = Decimal(0)
_LARGEST_PICO = int(LARGEST_COST) * 10**12
_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_INPUT, _OUTPUT = "input_tokens", "output_tokens"
# What a bucket without a price of its own is billed as.
_PARENTS = {
    _INPUT: _INPUT,
    "cached_input_tokens": _INPUT,
    "cache_write_tokens": _INPUT,
    "audio_input_tokens": _INPUT,
    _OUTPUT: _OUTPUT,
    "reasoning_tokens": _OUTPUT,
    "audio_output_tokens": _OUTPUT,
}
_INPUT_PARTS = ("cached_input_tokens", "cache_write_tokens", "audio_input_tokens")
_OUTPUT_PARTS = ("reasoning_tokens", "audio_output_tokens")  # audio last
_INSTEAD = ("characters", "audio_ms", "pages")  # units in which a call is billed instead of tokens
_OTHERS = (*_INSTEAD, "searches")


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs; see `Price.of`."""

    rates: Rates
    source: str = ""
    conditions: tuple[Special, ...] = ()  # the last one that holds is the whole price
    variants: tuple[Special, ...] = ()  # the first one that holds and has it replaces a bucket's price
    plain: tuple[int, int] | None = field(init=False, default=None)
    """What one token in and one out cost, in 1e-12 USD, where nothing else can come into it."""
    most: tuple[int, int] | None = field(init=False, default=None)
    """What any token in and any out may cost at most, audio's apart; likewise."""

    def __post_init__(self) -> None:
        if self.conditions or self.variants or self.rates.keys() & {*_OTHERS, "requests"}:
            return
        given, made = _pico(self.rates.get(_INPUT)), _pico(self.rates.get(_OUTPUT))
        if given is None or made is None:
            return
        object.__setattr__(self, "plain", (given, made))
        ins = [given, *(_pico(self.rates[part]) for part in _INPUT_PARTS[:-1] if part in self.rates)]
        outs = [made, *(_pico(self.rates[part]) for part in _OUTPUT_PARTS[:-1] if part in self.rates)]
        known = [[one for one in side if one is not None] for side in (ins, outs)]
        if len(known[0]) == len(ins) and len(known[1]) == len(outs):
            object.__setattr__(self, "most", (max(known[0]), max(known[1])))

    @classmethod
    def of(
        cls,
        *,
        input_price: Decimal | None = None,
        output_price: Decimal | None = None,
        cached_input_price: Decimal | None = None,
        price_detail: Mapping[str, Any] | None = None,
        price_source: str = "",
    ) -> Price | None:
        """The price in the columns of a catalogue row (USD per million tokens); None when the row is unpriced.

        The columns win: tiers in `price_detail` hold while their base is what the column says, and the times and
        service tiers of a price list end to hold when a person has changed one of the columns.
        """
        if not price_source:
            return None
        detail = price_detail if isinstance(price_detail, Mapping) else {}
        by_hand = price_source == _OPERATOR
        rates = price_lists.rates(detail)
        tiers = {} if by_hand else price_lists.tiers(detail)
        columns = {_INPUT: input_price, _OUTPUT: output_price, "cached_input_tokens": cached_input_price}
        for bucket, price in columns.items():
            listed = rates.pop(bucket, None)
            if price is not None:
                agreed = listed is not None and listed.base.quantize(_PRICE_STEP, context=_EXACT) == price
                rates[bucket] = listed if listed and agreed else Rate(price, MILLION, tiers.get(bucket, ()))
        written = rates.get("cache_write_tokens")
        if written is not None and not written.tiers:
            rates["cache_write_tokens"] = Rate(written.base, written.per, tiers.get("cache_write_tokens", ()))
        if not rates:
            return None
        if by_hand:
            return cls(rates, price_source)
        conditions = tuple(price_lists.specials(detail.get("conditions")))
        return cls(rates, price_source, conditions, tuple(price_lists.specials(detail.get("variants"))))

    def rates_at(self, at: float, context: Mapping[str, str] | None = None) -> Rates:
        """What holds at a moment (epoch seconds) for a kind of call, such as {"service_tier": "flex"}."""
        if not self.conditions and not (context and self.variants):
            return self.rates
        moment = datetime.fromtimestamp(at, UTC)
        rates = next((one.rates for one in reversed(self.conditions) if one.holds(moment, {})), self.rates)
        for one in reversed(self.variants) if context else ():
            if one.holds(moment, context or {}):
                rates = {**rates, **one.rates}
        return rates


def cost(price: Price | None, usage: Usage, *, at: float, context: Mapping[str, str] | None = None) -> Decimal | None:
    """What a call cost in USD, to a whole MONEY_STEP; None if a price or a count that it takes is unknown.

    `at` is when it began (epoch seconds); `context` is what price lists tell calls apart by, as {"service_tier": …}.
    """
    if price is None:
        return None
    if price.plain is not None and _is_plain(usage):
        each_input, each_output = price.plain
        return _of_pico(each_input * (usage.input_tokens or 0) + each_output * (usage.output_tokens or 0))
    rates = price.rates_at(at, context)
    total = _tokens_cost(rates, usage)
    if total is None:
        return None
    known = _INPUT in rates or _OUTPUT in rates or "requests" in rates
    for unit in _OTHERS:
        rate = rates.get(unit)
        count = None if rate is None else getattr(usage, unit)
        if rate is not None and count is not None:
            known = True
            total = _EXACT.add(total, _amount(rate.base, count, rate.per))
    if not known:
        return None
    if (per_request := rates.get("requests")) is not None:
        total = _EXACT.add(total, _amount(per_request.base, 1, per_request.per))
    return _settled(total)


def ceiling(
    price: Price | None,
    *,
    input_tokens: int,
    max_output_tokens: int,
    known: Usage | None = None,
    audio: bool = False,
    at: float | None = None,
    context: Mapping[str, str] | None = None,
) -> Decimal | None:
    """What a call may cost at most in USD, so much of it has to be reserved; None if that cannot be said.

    `known` holds what is counted in other units and known beforehand (characters to speak, pages to read); `audio` says
    that tokens may be audio's, which often cost ten times as much.
    """
    if price is None:
        return None
    if price.most is not None and not audio:
        each_input, each_output = price.most
        return _of_pico(each_input * max(input_tokens, 0) + each_output * max(max_output_tokens, 0))
    rates = price.rates_at(time.time() if at is None else at, context)
    used = known or Usage()
    if _INPUT not in rates and _OUTPUT not in rates:
        unknown = any(unit in rates and getattr(used, unit) is None for unit in _OTHERS)
        return None if unknown else cost(Price(rates), used, at=0)
    total = _ZERO
    for side, parts, count in ((_INPUT, _INPUT_PARTS, input_tokens), (_OUTPUT, _OUTPUT_PARTS, max_output_tokens)):
        if count <= 0:
            continue
        if (rate := rates.get(side)) is None:
            return None
        highest = rate.highest(input_tokens)
        for part in parts if audio else parts[:-1]:
            if (rate := rates.get(part)) is not None:
                highest = max(highest, rate.highest(input_tokens))
        total = _EXACT.add(total, _EXACT.multiply(highest, count))
    total = total.scaleb(-6, context=_EXACT)
    for unit in (*_OTHERS, "requests"):
        if (rate := rates.get(unit)) is not None:
            count = 1 if unit == "requests" else getattr(used, unit)
            total = _EXACT.add(total, _amount(rate.base, count or 0, rate.per))
    return _settled(total)


def _tokens_cost(rates: Rates, usage: Usage) -> Decimal | None:
    """What the tokens cost; 0 if the model is billed in other units."""
    total = _ZERO
    if _INPUT not in rates and _OUTPUT not in rates:
        return total
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    if prompt is None or completion is None:
        needed = (prompt is None and _is_billed(rates, _INPUT)) or (completion is None and _is_billed(rates, _OUTPUT))
        if needed and not any(unit in rates and getattr(usage, unit) is not None for unit in _INSTEAD):
            return None
    for bucket, parent in _PARENTS.items():
        count = getattr(usage, bucket)
        if count:
            rate = rates.get(bucket) or rates.get(parent)
            if rate is None:
                return None
            total = _EXACT.add(total, _EXACT.multiply(rate.at(prompt or 0), count))
    return total.scaleb(-6, context=_EXACT)


def _is_plain(usage: Usage) -> bool:
    """Whether it is made of plain tokens in and out, and nothing else."""
    if usage.input_tokens is None or usage.output_tokens is None or usage.characters is not None:
        return False
    return not (
        usage.cached_input_tokens
        or usage.cache_write_tokens
        or usage.audio_input_tokens
        or usage.reasoning_tokens
        or usage.audio_output_tokens
    )


def _is_billed(rates: Rates, bucket: str) -> bool:
    rate = rates.get(bucket)
    return rate is not None and bool(rate.base or rate.tiers)


def _amount(price: Decimal, count: int, per: int) -> Decimal:
    return _EXACT.divide(_EXACT.multiply(price, count), per)


def _pico(rate: Rate | None) -> int | None:
    """What one token costs, in 1e-12 USD; None if it depends, or is no whole number of them."""
    if rate is None or rate.tiers:
        return None
    each = rate.base.scaleb(6, context=_EXACT)
    return int(each) if each == each.to_integral_value() else None


def _of_pico(amount: int) -> Decimal | None:
    """As `_settled`. Whole numbers, since a call does this twice and decimals cost ten times as much."""
    if amount > _LARGEST_PICO:
        return None
    steps, rest = divmod(amount, 100)
    if rest > 50 or (rest == 50 and steps & 1):
        steps += 1
    return Decimal(steps).scaleb(-10, context=_EXACT)


def _settled(total: Decimal) -> Decimal | None:
    return None if total > LARGEST_COST else total.quantize(MONEY_STEP, context=_EXACT)
