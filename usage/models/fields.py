"""Columns of the ledger that Django has no type for: both are exact, and as narrow as they can be."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.db import models

from usage.pricing import MONEY_STEP

SCALE = -MONEY_STEP.as_tuple().exponent  # type: ignore[operator]  # of a finite number
LARGEST_UNITS = 2**63 - 1

if TYPE_CHECKING:
    _MoneyBase = models.Field[Any, Any]
    _IdBase = models.UUIDField[Any, Any]
else:
    _MoneyBase, _IdBase = models.Field, models.UUIDField


def to_units(amount: Decimal) -> int:
    """USD as a whole number of MONEY_STEP; raises ValueError for what is none."""
    if not amount.is_finite():
        raise ValueError(f"{amount} is not an amount of money.")
    units = int(amount.scaleb(SCALE))
    if Decimal(units).scaleb(-SCALE) != amount or abs(units) > LARGEST_UNITS:
        raise ValueError(f"{amount} is no whole number of {MONEY_STEP} USD, or too large.")
    return units


def from_units(units: int) -> Decimal:
    """USD, with all of its decimal places."""
    return Decimal(units).scaleb(-SCALE)


class MoneyInput(forms.DecimalField):
    """USD as people write it: without the zeros that the column keeps."""

    def prepare_value(self, value: Any) -> Any:
        return format(value.normalize(), "f") if isinstance(value, Decimal) and value.is_finite() else value

    def widget_attrs(self, widget: Any) -> dict[str, Any]:
        return {**super().widget_attrs(widget), "step": "any"}


class MoneyField(_MoneyBase):
    """USD as a Decimal; in the database a 64-bit number of MONEY_STEP.

    SQLite keeps decimals as floating-point numbers, whose sums are not exact; whole numbers are, everywhere.
    """

    description = "An exact amount of USD"

    def get_internal_type(self) -> str:
        return "BigIntegerField"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Decimal | None:
        return None if value is None else from_units(int(value))

    def to_python(self, value: Any) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        try:
            return Decimal(str(value))
        except InvalidOperation as error:
            raise ValidationError(f"“{value}” is not an amount of money.") from error

    def get_prep_value(self, value: Any) -> int | None:
        value = self.to_python(super().get_prep_value(value))
        return None if value is None else to_units(value)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else format(value, "f")

    def formfield(self, *args: Any, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": MoneyInput, "decimal_places": SCALE, "max_digits": 19, **kwargs})


class IdField(_IdBase):
    """One of our ids: 32 hexadecimal characters in Python, a UUID of 16 bytes where the database has such."""

    description = "A row's id"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> str | None:
        return value.hex if isinstance(value, UUID) else value

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        return found.hex if isinstance(found, UUID) else found

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return super().get_db_prep_value(None if value is None else super().to_python(value), connection, prepared)
