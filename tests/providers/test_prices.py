"""Prices from the installed price list."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from core import audit
from providers.models import LLM, LLMFactory
from providers.services import prices
from tests.people import actor_of, make_user

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)


def make_llm(llm_name: str = "gpt-4o", *, provider: str = "openai", **fields: Any) -> LLM:
    factory, _ = LLMFactory.objects.get_or_create(name=provider or "Nobody", price_provider=provider)
    return LLM.objects.create(factory=factory, llm_name=llm_name, model_types=["chat"], **fields)


def test_a_known_model_is_quoted_in_dollars_per_million_tokens() -> None:
    quoted = prices.quote("openai", "gpt-4o", moment=MOMENT)
    assert (quoted["input_price"], quoted["output_price"], quoted["cached_input_price"]) == (
        Decimal("2.5"),
        Decimal("10"),
        Decimal("1.25"),
    )
    assert quoted["price_source"] == prices.source()
    assert quoted["priced_at"] == MOMENT


@pytest.mark.parametrize(("provider", "name"), [("openai", "no-such-model"), ("no-such-provider", "gpt-4o"), ("", "m")])
def test_what_the_price_list_does_not_know_is_not_quoted(provider: str, name: str) -> None:
    assert prices.quote(provider, name, moment=MOMENT) == {}


def test_tiers_and_other_units_are_kept_beside_the_price() -> None:
    quoted = prices.quote("google", "gemini-2.5-pro", moment=MOMENT)
    tiers = quoted["price_detail"]["input_mtok"]
    assert quoted["input_price"] == Decimal(tiers["base"])
    assert tiers["tiers"][0]["start"] == 200_000
    cached = prices.quote("anthropic", "claude-sonnet-4-20250514", moment=MOMENT)["price_detail"]
    assert Decimal(cached["cache_write_mtok"]) > 0


def test_prices_that_depend_on_the_hour_are_kept_with_their_hours() -> None:
    night = prices.quote("deepseek", "deepseek-v4-pro", moment=MOMENT.replace(hour=0))
    peak = prices.quote("deepseek", "deepseek-v4-pro", moment=MOMENT.replace(hour=3))
    assert night["price_detail"] == peak["price_detail"]
    assert night["input_price"] == peak["input_price"]  # a refresh at another hour changes nothing
    hours = [(one.get("start_time"), one.get("end_time")) for one in peak["price_detail"]["conditions"]]
    assert hours == [(None, None), ("01:00:00", "04:00:00"), ("06:00:00", "10:00:00")]


def test_a_price_that_will_change_is_known_beforehand() -> None:
    [today, later] = prices.quote("google", "gemini-3.7-flash", moment=MOMENT)["price_detail"]["conditions"]
    assert "start_date" not in today or today["start_date"] <= MOMENT.date().isoformat()
    assert later["start_date"] == "2027-01-01"
    after = prices.quote("google", "gemini-3.7-flash", moment=datetime(2027, 1, 1, tzinfo=UTC))
    assert "conditions" not in after["price_detail"]
    assert after["input_price"] == Decimal(later["prices"]["input_mtok"])


def test_an_embedding_has_no_output_price() -> None:
    assert prices.quote("openai", "text-embedding-3-small", moment=MOMENT)["output_price"] is None


@pytest.mark.django_db
def test_a_refresh_prices_what_is_known_and_leaves_the_rest_unpriced() -> None:
    make_llm()
    make_llm("no-such-model")
    make_llm("anything", provider="")
    report = prices.refresh(actor=audit.SYSTEM)
    assert ([one.name for one in report.changed], report.unpriced) == (["openai / gpt-4o"], 2)
    priced = LLM.objects.get(llm_name="gpt-4o")
    assert (priced.input_price, priced.price_source) == (Decimal("2.5"), prices.source())
    assert priced.priced_at is not None
    assert set(LLM.objects.exclude(llm_name="gpt-4o").values_list("input_price", "price_source")) == {(None, "")}


@pytest.mark.django_db
def test_a_second_refresh_changes_nothing() -> None:
    make_llm()
    prices.refresh(actor=audit.SYSTEM)
    before = LLM.history.count()
    report = prices.refresh(actor=audit.SYSTEM)
    assert (report.changed, report.unchanged) == ((), 1)
    assert LLM.history.count() == before


@pytest.mark.django_db
@pytest.mark.parametrize("source", ["operator", "litellm"])
def test_a_price_that_somebody_else_gave_is_never_overwritten(source: str) -> None:
    llm = make_llm(input_price=Decimal("7"), price_source=source)
    assert prices.refresh(actor=audit.SYSTEM).kept == 1
    llm.refresh_from_db()
    assert (llm.input_price, llm.price_source) == (Decimal("7"), source)


@pytest.mark.django_db
def test_a_cached_price_follows_the_price_list_even_to_unpriced() -> None:
    old: dict[str, Any] = {"input_price": Decimal("99"), "price_source": "genai-prices 0.0.1"}
    make_llm(**old)
    make_llm("no-such-model", **old)
    assert len(prices.refresh(actor=audit.SYSTEM).changed) == 2
    assert LLM.objects.get(llm_name="gpt-4o").input_price == Decimal("2.5")
    gone = LLM.objects.get(llm_name="no-such-model")
    assert (gone.input_price, gone.price_source, gone.priced_at) == (None, "", None)


@pytest.mark.django_db
def test_a_refresh_stands_in_the_history_with_its_user_and_source() -> None:
    user = make_user()
    make_llm()
    prices.refresh(actor=actor_of(user))
    newest = LLM.history.first()
    assert (newest.history_user, newest.history_change_reason) == (user, f"prices: {prices.source()}")


def test_the_price_list_is_not_imported_until_somebody_asks() -> None:
    code = (
        "import django, sys; django.setup(); import providers.services.catalog; sys.exit('genai_prices' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
