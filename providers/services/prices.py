"""Prices from genai-prices, cached on the model's row in USD per million tokens, with their source and date.

Its bundled data only: nothing is fetched. What it does not know stays unpriced (NULL), which is not the same as free.
A price that somebody else gave (an operator, another catalogue) is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import Any

from django.db import transaction
from simple_history.utils import bulk_update_with_history

from core import audit
from core.clock import now
from core.errors import NotFound
from providers.catalog.checks import PRICE_STEP
from providers.catalog.diff import FieldChange, RowDiff
from providers.catalog.render import PRICE_FIELDS, plain
from providers.models import LLM, LLMFactory
from providers.services.history import history_user

PACKAGE = "genai-prices"
COLUMNS = {"input_price": "input_mtok", "output_price": "output_mtok", "cached_input_price": "cache_read_mtok"}
COMPARED = (*COLUMNS, "price_detail")


@dataclass(frozen=True, slots=True)
class PriceReport:
    """What a look at the price list did, or would do."""

    changed: tuple[RowDiff, ...]
    unchanged: int
    unpriced: int
    kept: int  # priced by somebody else

    def to_json(self) -> dict[str, Any]:
        counts = {"unchanged": self.unchanged, "unpriced": self.unpriced, "kept": self.kept}
        return {"source": source(), "changed": [row.to_json() for row in self.changed], **counts}


def source() -> str:
    return f"{PACKAGE} {version(PACKAGE)}"


def is_cached(price_source: str) -> bool:
    """Whether a price is ours to refresh."""
    return price_source.startswith(f"{PACKAGE} ")


def quote(provider: str, llm_name: str, *, moment: datetime) -> dict[str, Any]:
    """The price columns of a model at that moment; empty when the price list does not know it or has no price."""
    found = _find(provider, llm_name)
    if found is None:
        return {}
    conditions = _conditions(found, moment)
    usual = conditions[0].prices if conditions else found.get_prices(moment)
    listed = {name: price for name, price in vars(usual).items() if price is not None}
    columns = {column: _base(listed.get(unit)) for column, unit in COLUMNS.items()}
    detail = {unit: _plain(price) for unit, price in listed.items() if unit not in COLUMNS.values() or _tiers(price)}
    if len(conditions) > 1:
        detail["conditions"] = [{**_constraint(one), "prices": _prices(one.prices)} for one in conditions]
    variants = [_variant(one) for one in found.price_variants or ()]
    if variants := [one for one in variants if one["prices"]]:
        detail["variants"] = variants
    if not listed:
        return {}
    return {**columns, "price_detail": plain(detail), "price_source": source(), "priced_at": moment}


def fill(llms: Iterable[LLM], *, moment: datetime) -> None:
    """Set the price of models that have none; does not save them."""
    for llm in llms:
        if not llm.is_priced and llm.factory.price_provider:
            for name, value in quote(llm.factory.price_provider, llm.llm_name, moment=moment).items():
                setattr(llm, name, value)


@transaction.atomic
def refresh(*, actor: audit.Actor, factory: str = "", dry_run: bool = False) -> PriceReport:
    """Bring the cached prices up to date with the installed price list, all of them or nothing."""
    llms = LLM.objects.select_related("factory").select_for_update(of=("self",))
    if factory:
        if not LLMFactory.objects.filter(name=factory).exists():
            raise NotFound(f"There is no factory {factory!r}.", code="factory_not_found")
        llms = llms.filter(factory__name=factory)
    moment, rows, changed = now(), [], []
    counts = {"unchanged": 0, "unpriced": 0, "kept": 0}
    for llm in llms:
        if llm.is_priced and not is_cached(llm.price_source):
            counts["kept"] += 1
            continue
        new = quote(llm.factory.price_provider, llm.llm_name, moment=moment) or _blank()
        changes = [
            FieldChange(name, getattr(llm, name), new[name])
            for name in COMPARED
            if plain(getattr(llm, name)) != plain(new[name])
        ]
        if changes:
            for name in PRICE_FIELDS:
                setattr(llm, name, new[name])
            llm.updated_at = moment
            rows.append(llm)
            changed.append(RowDiff((llm.factory.name, llm.llm_name), tuple(changes)))
        else:
            counts["unchanged" if llm.is_priced else "unpriced"] += 1
    if rows and not dry_run:
        _save(rows, actor)
        detail: dict[str, Any] = {"changed": len(rows), **counts}
        audit.record("catalog.priced", actor=actor, target=source(), **detail)
    return PriceReport(tuple(changed), **counts)


def _save(rows: list[LLM], actor: audit.Actor) -> None:
    bulk_update_with_history(
        rows,
        LLM,
        [*PRICE_FIELDS, "updated_at"],
        default_user=history_user(actor),
        default_change_reason=f"prices: {source()}",
    )


def _blank() -> dict[str, Any]:
    return {**dict.fromkeys(PRICE_FIELDS), "price_detail": {}, "price_source": ""}


@cache
def _providers() -> dict[str, Any]:
    # Imported when first needed: it takes a quarter of a second, and most processes never ask for a price.
    from genai_prices.data_snapshot import get_snapshot

    return {provider.id: provider for provider in get_snapshot().providers}


@cache
def _find(provider: str, llm_name: str) -> Any:
    known = _providers()
    return known[provider].find_model(llm_name, all_providers=list(known.values())) if provider in known else None


def _tiers(price: Any) -> list[Any]:
    return list(getattr(price, "tiers", []))


def _base(price: Any) -> Decimal | None:
    """The price below the first tier, as the column stores it."""
    return None if price is None else Decimal(getattr(price, "base", price)).quantize(PRICE_STEP)


def _plain(price: Any) -> Any:
    if tiers := _tiers(price):
        return {"base": price.base, "tiers": [{"start": tier.start, "price": tier.price} for tier in tiers]}
    return getattr(price, "base", price)


def _conditions(model: Any, moment: datetime) -> list[Any]:
    """The prices that hold at times or from a day on, and the one they replace; the last that holds is the price."""
    kept: list[Any] = []
    for one in reversed(model.prices if isinstance(model.prices, list) else []):
        kept.insert(0, one)
        if one.constraint is None or (not _is_daily(one.constraint) and one.constraint.active(moment)):
            break
    return kept


def _is_daily(constraint: Any) -> bool:
    return hasattr(constraint, "start_time")


def _constraint(one: Any) -> dict[str, str]:
    """When it holds, in UTC."""
    if one.constraint is None:
        return {}
    if not _is_daily(one.constraint):
        return {"start_date": one.constraint.start_date.isoformat()}
    return {name: _utc(getattr(one.constraint, name)).isoformat() for name in ("start_time", "end_time")}


def _utc(moment: time) -> time:
    """A time of day as the clock in UTC shows it; one without a zone is UTC already."""
    if moment.tzinfo is None:
        return moment
    return datetime.combine(date(1970, 1, 2), moment).astimezone(UTC).time()


def _prices(prices: Any) -> dict[str, Any]:
    return {unit: _plain(price) for unit, price in vars(prices).items() if price is not None}


def _variant(variant: Any) -> dict[str, Any]:
    """Other prices for the same model, such as a batch or a service tier."""
    return {"when": dict(variant.when), **_constraint(variant), "prices": _prices(variant.prices)}
