"""The field that holds which types a model has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from core.clock import now
from providers.llm_types import LLMType

TYPE_CHOICES = [(kind.value, kind.value) for kind in LLMType]


def normalise_types(value: Any) -> list[str]:
    """The known types in `value` (a comma string or an iterable), first stays first; raises ValidationError."""
    parts: Iterable[Any] = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        raise ValidationError("Model types are a list of names.")
    kinds = list(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))
    known = {kind.value for kind in LLMType}
    if unknown := [kind for kind in kinds if kind not in known]:
        raise ValidationError(f"Unknown model type: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    return kinds


class ChangedAtField(models.DateTimeField):  # type: ignore[type-arg]
    """When a row was last saved; unlike `auto_now` it has a default, which `loaddata` needs for a row without it."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        moment = now()
        setattr(model_instance, self.attname, moment)
        return moment


class ModelTypesField(models.CharField):  # type: ignore[type-arg]
    """One or more model types: a list in Python, "chat,image2text" in the database; the first is the primary one.

    No type's name is part of another's, so `__contains` finds one type (a test holds that true).
    """

    _pyi_private_set_type: Any  # what the type checker lets a row be given, and what it then has
    _pyi_private_get_type: list[str]  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 80
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_length"]
        return name, path, args, kwargs

    def from_db_value(self, value: str | None, *args: Any) -> list[str] | None:
        return None if value is None else [part for part in value.split(",") if part]

    def to_python(self, value: Any) -> list[str] | None:
        return None if value is None else normalise_types(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else ",".join(normalise_types(value))

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return value if prepared else self.get_prep_value(value)

    def value_to_string(self, obj: models.Model) -> str:
        return ",".join(self.value_from_object(obj) or [])

    def validate(self, value: Any, model_instance: Any) -> None:
        if not value:
            raise ValidationError("Choose at least one model type.")

    def run_validators(self, value: Any) -> None:
        return None

    def formfield(self, **kwargs: Any) -> Any:
        from django import forms

        return forms.TypedMultipleChoiceField(
            choices=TYPE_CHOICES,
            coerce=str,
            label=kwargs.get("label", self.verbose_name.capitalize()),
            help_text=self.help_text,
            required=True,
            widget=forms.CheckboxSelectMultiple,
        )
