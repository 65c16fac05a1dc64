"""What calls cost, judged by the price list that the prices come from: every model that it knows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice
from genai_prices.types import Usage as ListedUsage
from hypothesis import given
from hypothesis import strategies as st

from providers.services.prices import quote
from usage.pricing import MONEY_STEP, Price, cost
from usage.records import Usage

pytestmark = pytest.mark.once

MOMENT = datetime(2026, 11, 20, 12, tzinfo=UTC)
LISTED = [
    (provider.id, model)
    for provider in get_snapshot().providers
    for model in provider.models
    if provider.find_model(model.id) is model and model.get_prices(MOMENT).input_mtok is not None
]
MOMENTS = [datetime(2026, 11, 20, hour, 15, tzinfo=UTC) for hour in (0, 3, 8, 12, 20)]


def judged(listed: ModelPrice, used: Usage) -> Decimal:
    """What genai-prices says, which counts parts within their sums."""
    said = {
        "input_tokens": used.prompt_tokens,
        "output_tokens": used.completion_tokens,
        "cache_read_tokens": used.cached_input_tokens,
        "cache_write_tokens": used.cache_write_tokens,
        "input_audio_tokens": used.audio_input_tokens,
        "output_audio_tokens": used.audio_output_tokens,
        "output_reasoning_tokens": used.reasoning_tokens,
        "web_searches": used.searches,
    }
    return listed.calc_price(ListedUsage(**{name: count for name, count in said.items() if count}))["total_price"]


@given(
    st.sampled_from(LISTED),
    st.sampled_from(MOMENTS),
    st.builds(
        Usage,
        input_tokens=st.integers(0, 400_000),
        cached_input_tokens=st.integers(0, 100_000),
        cache_write_tokens=st.integers(0, 1000),
        output_tokens=st.integers(0, 100_000),
        reasoning_tokens=st.none() | st.integers(0, 1000),
        searches=st.none() | st.integers(0, 5),
    ),
    st.sampled_from([{}, {"service_tier": "flex"}, {"service_tier": "priority"}]),
)
def test_every_listed_model_costs_what_its_price_list_says(
    listed: tuple[str, ModelInfo], at: datetime, used: Usage, context: dict[str, str]
) -> None:
    provider, model = listed
    columns = quote(provider, model.id, moment=MOMENT)
    if columns["output_price"] is None:
        used = Usage(input_tokens=used.input_tokens)
    columns.pop("priced_at")
    made = Price.of(**columns)
    asked = {**context} if context else None
    found = cost(made, used, at=at.timestamp(), context=asked)
    assert found is not None
    expected = judged(model.get_prices(at, asked), used)
    # The columns keep six decimal places of a price, so a call may differ by as much for each of its tokens.
    assert abs(found - expected) <= MONEY_STEP + used.total_tokens * Decimal("5E-13"), (provider, model.id)
