"""What a call costs, and what it may cost at most."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage.pricing import LARGEST_COST, MONEY_STEP, Price, ceiling, cost
from usage.records import COUNTS, LARGEST_COUNT, Usage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
PLAIN = {"input_price": Decimal("2.5"), "output_price": Decimal(10), "price_source": "genai-prices 0.2.3"}


def price(**fields: Any) -> Price:
    made = Price.of(**{**PLAIN, **fields})
    assert made is not None
    return made


# --- Tokens ---------------------------------------------------------------------------------------------------------


def test_tokens_cost_what_a_million_of_them_does() -> None:
    assert cost(price(), Usage(input_tokens=1000, output_tokens=200), at=NOON) == Decimal("0.0045")


def test_cached_tokens_have_their_own_price_and_else_that_of_the_prompt() -> None:
    used = Usage(input_tokens=0, cached_input_tokens=1_000_000, output_tokens=0)
    assert cost(price(cached_input_price=Decimal("0.25")), used, at=NOON) == Decimal("0.25")
    assert cost(price(), used, at=NOON) == Decimal("2.5")
    assert cost(price(cached_input_price=Decimal(0)), used, at=NOON) == 0


def test_reasoning_costs_what_the_answer_does_unless_it_has_a_price() -> None:
    used = Usage(input_tokens=0, output_tokens=0, reasoning_tokens=1_000_000)
    assert cost(price(), used, at=NOON) == 10
    assert cost(price(price_detail={"output_reasoning_mtok": "3"}), used, at=NOON) == 3


def test_a_fraction_below_the_step_is_rounded_to_even() -> None:
    tiny = price(input_price=Decimal("0.000050"))
    assert [cost(tiny, Usage(input_tokens=count, output_tokens=0), at=NOON) for count in (1, 2, 3)] == [
        Decimal(0),
        MONEY_STEP,
        Decimal("2E-10"),
    ]


@pytest.mark.parametrize(
    ("fields", "used"),
    [
        ({"price_source": ""}, Usage(input_tokens=1, output_tokens=1)),
        ({"input_price": None, "output_price": None}, Usage(input_tokens=1, output_tokens=1)),
        ({"output_price": None}, Usage(input_tokens=1, output_tokens=1)),
        ({}, Usage()),
        ({}, Usage(input_tokens=5)),
        ({}, Usage(output_tokens=5)),
        ({}, Usage(characters=5)),
    ],
)
def test_what_is_unpriced_or_unknown_costs_nobody_knows_what(fields: dict[str, Any], used: Usage) -> None:
    assert cost(Price.of(**{**PLAIN, **fields}), used, at=NOON) is None


def test_an_embedding_needs_no_price_for_an_answer() -> None:
    assert cost(price(output_price=None), Usage(input_tokens=1_000_000), at=NOON) == Decimal("2.5")
    assert cost(price(output_price=None), Usage(input_tokens=1_000_000, output_tokens=0), at=NOON) == Decimal("2.5")


def test_what_is_free_costs_nothing_even_if_nobody_counted() -> None:
    free = price(input_price=Decimal(0), output_price=Decimal(0))
    assert cost(free, Usage(), at=NOON) == 0
    assert cost(free, Usage(input_tokens=5, output_tokens=5), at=NOON) == 0


def test_an_absurd_price_prices_nothing() -> None:
    absurd = price(input_price=Decimal("99999999"))
    assert cost(absurd, Usage(input_tokens=LARGEST_COUNT, output_tokens=0), at=NOON) is None
    assert cost(absurd, Usage(input_tokens=10, output_tokens=0), at=NOON) == Decimal("999.99999")


prices = st.decimals(0, 10**4, places=6)
tokens = st.none() | st.integers(0, 10**7)


@given(prices, prices, prices, *[st.integers(0, 10**7)] * 3)
def test_a_cost_is_the_exact_sum_of_its_parts(
    input_price: Decimal, output_price: Decimal, cached_price: Decimal, sent: int, cached: int, received: int
) -> None:
    made = price(input_price=input_price, output_price=output_price, cached_input_price=cached_price)
    used = Usage(input_tokens=sent, cached_input_tokens=cached, output_tokens=received)
    # In whole numbers of 1e-12 USD, which is what a token costs at most finely.
    exact = sum(
        int(one.scaleb(6)) * count
        for one, count in ((input_price, sent), (cached_price, cached), (output_price, received))
    )
    half_even, rest = divmod(exact, 100)
    half_even += rest > 50 or (rest == 50 and half_even % 2)
    found = cost(made, used, at=NOON)
    if half_even > LARGEST_COST.scaleb(10):
        assert found is None
    else:
        assert found == Decimal(half_even).scaleb(-10)
        assert found == found.quantize(MONEY_STEP)


usages = st.builds(Usage, *[st.none() | st.integers(0, 10**6)] * len(COUNTS))
details = st.fixed_dictionaries(
    {},
    optional={
        "cache_write_mtok": prices.map(str),
        "output_reasoning_mtok": prices.map(str),
        "input_audio_mtok": prices.map(str),
        "requests_kcount": prices.map(str),
        "web_searches_kcount": prices.map(str),
        "input_mtok": st.builds(
            lambda base, start, tier: {"base": str(base), "tiers": [{"start": start, "price": str(tier)}]},
            prices,
            st.integers(0, 10**6),
            prices,
        ),
    },
)


@given(prices, prices, st.none() | prices, st.integers(0, LARGEST_COUNT), st.integers(0, LARGEST_COUNT))
def test_whole_numbers_price_as_decimals_do(
    given_price: Decimal, made_price: Decimal, cached: Decimal | None, count: int, made: int
) -> None:
    quick = price(input_price=given_price, output_price=made_price, cached_input_price=cached)
    slow = price(input_price=given_price, output_price=made_price, cached_input_price=cached)
    assert quick.plain is not None
    assert quick.most is not None
    for name in ("plain", "most"):
        object.__setattr__(slow, name, None)
    used = Usage(input_tokens=count, output_tokens=made)
    costs = [cost(each, used, at=NOON) for each in (quick, slow)]
    assert costs[0] == costs[1]
    assert str(costs[0]) == str(costs[1])
    most = [ceiling(each, input_tokens=count, max_output_tokens=made) for each in (quick, slow)]
    assert most[0] == most[1]


@given(st.none() | prices, st.none() | prices, st.none() | prices, details, usages)
def test_no_call_ever_earns_money(
    input_price: Decimal | None, output_price: Decimal | None, cached: Decimal | None, detail: Any, used: Usage
) -> None:
    made = Price.of(
        input_price=input_price,
        output_price=output_price,
        cached_input_price=cached,
        price_detail=detail,
        price_source="genai-prices 1",
    )
    found = cost(made, used, at=NOON)
    assert found is None or found >= 0


@given(prices, prices, st.none() | prices, details, usages, st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_call_costs_more_than_its_ceiling(
    input_price: Decimal,
    output_price: Decimal,
    cached: Decimal | None,
    detail: Any,
    used: Usage,
    more: int,
    longer: int,
) -> None:
    if "input_mtok" in detail:
        input_price = Decimal(detail["input_mtok"]["base"])
    made = price(input_price=input_price, output_price=output_price, cached_input_price=cached, price_detail=detail)
    spent = cost(made, used, at=NOON)
    most = ceiling(
        made,
        input_tokens=(used.prompt_tokens or 0) + more,
        max_output_tokens=(used.completion_tokens or 0) + longer,
        known=used,
        audio=True,
        at=NOON,
    )
    if spent is not None and most is not None:
        assert spent <= most


# --- Other units, tiers, times --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail", "used", "total"),
    [
        ({"input_mchars": "15"}, Usage(characters=2000), "0.03"),
        ({"audio_hours": "0.36"}, Usage(audio_ms=10_000), "0.001"),
        ({"input_audio_hours": "0.111", "audio_hours": "0.111"}, Usage(audio_ms=3_600_000), "0.111"),
        ({"input_document_kpages": "4"}, Usage(pages=3), "0.012"),
        ({"input_cost_per_query": "0.002"}, Usage(searches=2), "0.004"),
        ({"input_cost_per_character": "0.000015"}, Usage(characters=2000), "0.03"),
        ({"input_cost_per_second": "0.0001"}, Usage(audio_ms=60_000), "0.006"),
        ({"ocr_cost_per_page": "0.001"}, Usage(pages=3), "0.003"),
        ({"requests_kcount": "12"}, Usage(), "0.012"),
        ({"audio_hours": "0.36"}, Usage(input_tokens=5, output_tokens=9, audio_ms=10_000), "0.001"),
    ],
)
def test_models_that_are_billed_in_other_units(detail: dict[str, str], used: Usage, total: str) -> None:
    made = price(input_price=None, output_price=None, price_detail=detail)
    assert cost(made, used, at=NOON) == Decimal(total)
    assert ceiling(made, input_tokens=10**6, max_output_tokens=10**6, known=used) == Decimal(total)


def test_a_price_for_the_call_is_added_to_that_of_its_tokens() -> None:
    made = price(price_detail={"requests_kcount": "12"})
    assert cost(made, Usage(input_tokens=1_000_000, output_tokens=0), at=NOON) == Decimal("2.512")


def test_searches_are_added_where_they_are_known() -> None:
    made = price(price_detail={"web_searches_kcount": "10"})
    assert cost(made, Usage(input_tokens=0, output_tokens=0, searches=2), at=NOON) == Decimal("0.02")
    assert cost(made, Usage(input_tokens=0, output_tokens=0), at=NOON) == 0


def test_what_may_be_billed_in_an_unknown_unit_has_no_ceiling() -> None:
    speech = price(input_price=None, output_price=None, price_detail={"input_mchars": "15"})
    assert ceiling(speech, input_tokens=10, max_output_tokens=10) is None
    assert ceiling(None, input_tokens=10, max_output_tokens=10) is None
    assert ceiling(price(output_price=None), input_tokens=10, max_output_tokens=10) is None
    assert ceiling(price(output_price=None), input_tokens=10, max_output_tokens=0) == Decimal("0.000025")


TIERED = {"input_mtok": {"base": "2.5", "tiers": [{"start": 200_000, "price": "5"}]}}


def test_a_long_prompt_makes_all_of_its_tokens_dearer() -> None:
    made = price(price_detail=TIERED)
    assert cost(made, Usage(input_tokens=200_000, output_tokens=0), at=NOON) == Decimal("0.5")
    assert cost(made, Usage(input_tokens=200_001, output_tokens=0), at=NOON) == Decimal("1.000005")
    cached = Usage(input_tokens=1, cached_input_tokens=200_000, output_tokens=0)
    assert cost(made, cached, at=NOON) == Decimal("1.000005")


@pytest.mark.parametrize(
    "detail",
    [
        {"input_cost_per_token_above_200k_tokens": "0.000005", "output_cost_per_token_above_200k_tokens": "0.00002"},
        {"context_over_200k": {"input": 5, "output": 20}},
    ],
    ids=["LiteLLM", "models.dev"],
)
def test_tiers_of_other_catalogues_are_understood(detail: dict[str, Any]) -> None:
    made = price(price_detail=detail, price_source="litellm")
    assert cost(made, Usage(input_tokens=1000, output_tokens=1000), at=NOON) == Decimal("0.0125")
    assert cost(made, Usage(input_tokens=300_000, output_tokens=1000), at=NOON) == Decimal("1.52")


def test_a_price_that_a_person_set_knows_no_tiers_of_the_old_one() -> None:
    own = price(input_price=Decimal(1), price_detail=TIERED, price_source="operator")
    assert cost(own, Usage(input_tokens=1_000_000, output_tokens=0), at=NOON) == 1
    litellm = {"input_cost_per_token_above_200k_tokens": "0.000005"}
    other = price(input_price=Decimal(1), price_detail=litellm, price_source="operator")
    assert cost(other, Usage(input_tokens=1_000_000, output_tokens=0), at=NOON) == 1


def test_a_time_of_day_has_its_own_price() -> None:
    night = {"input_mtok": "1", "output_mtok": "2"}
    detail = {"conditions": [{"prices": PEAK}, {"start_time": "16:30:00", "end_time": "00:30:00", "prices": night}]}
    made = price(price_detail=detail)
    used = Usage(input_tokens=1_000_000, output_tokens=0)
    midnight = datetime(2026, 11, 20, tzinfo=UTC)
    for hour, minute, total in ((0, 0, "1"), (0, 30, "2.5"), (16, 29, "2.5"), (16, 30, "1"), (23, 59, "1")):
        at = (midnight + timedelta(hours=hour, minutes=minute)).timestamp()
        assert cost(made, used, at=at) == Decimal(total)


PEAK = {"input_mtok": "2.5", "output_mtok": "10"}


def test_a_price_changes_on_its_day() -> None:
    later = {"input_mtok": "5", "output_mtok": "20"}
    made = price(price_detail={"conditions": [{"prices": PEAK}, {"start_date": "2027-01-01", "prices": later}]})
    used = Usage(input_tokens=1_000_000, output_tokens=0)
    assert cost(made, used, at=datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp()) == Decimal("2.5")
    assert cost(made, used, at=datetime(2027, 1, 1, tzinfo=UTC).timestamp()) == 5


def test_a_service_tier_has_its_own_price() -> None:
    detail = {"variants": [{"when": {"service_tier": "flex"}, "prices": {"input_mtok": "1.25"}}]}
    made = price(price_detail=detail)
    used = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert cost(made, used, at=NOON) == Decimal("12.5")
    assert cost(made, used, at=NOON, context={"service_tier": "default"}) == Decimal("12.5")
    assert cost(made, used, at=NOON, context={"service_tier": "flex"}) == Decimal("11.25")


@pytest.mark.parametrize(
    "detail",
    [
        {"cache_write_mtok": value}
        for value in ("x", "-1", "NaN", True, [], {"base": "1", "tiers": [{"start": "a", "price": "1"}]}, {"tiers": []})
    ]
    + [{"conditions": entry} for entry in ("x", [1], [{"prices": 5}], [{"start_date": "soon", "prices": {}}])]
    + [{"variants": [{"when": 7, "prices": {}}]}, {"conditions": [{"start_time": "25:00", "prices": {}}]}],
)
def test_details_that_cannot_be_read_are_left_out(detail: dict[str, Any]) -> None:
    made = price(price_detail=detail)
    used = Usage(input_tokens=0, cache_write_tokens=1_000_000, output_tokens=0)
    assert cost(made, used, at=NOON, context={"service_tier": "flex"}) == Decimal("2.5")
