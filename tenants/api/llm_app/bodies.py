"""What requests may carry: how a body is read, and what each field must be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from core.errors import InvalidInput
from core.ids import ID_LENGTH
from providers.llm_types import LLMType
from providers.models import DEFAULT_MAX_TOKENS
from tenants.models import DEFAULT_MODEL_COLUMNS
from tenants.services import defaults, names
from tenants.services.credentials import MAX_LABEL
from tenants.services.llm_app.outcome import MissingArguments
from tenants.services.tenant_llms import MAX_MAX_TOKENS, MAX_NAME

MAX_BODY_BYTES = 1024 * 1024
MAX_URL, MAX_FACTORY, MAX_SUFFIX = 255, 128, 32


class BodyParser(BaseParser):
    """A form where the request says so, else JSON; raises ParseError."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise InvalidInput("The body is larger than 1 MiB.", code="too_large")
        if (media_type or "").startswith("application/x-www-form-urlencoded"):
            try:
                return QueryDict(raw, encoding="utf-8")
            except SuspiciousOperation as error:
                raise ParseError("too many fields") from error
        if not raw.strip():
            return {}
        try:
            return json.loads(raw.decode("utf-8-sig"), parse_constant=_refused)
        except (ValueError, RecursionError) as error:
            raise ParseError("malformed") from error


def _refused(constant: str) -> None:
    raise InvalidInput(f"{constant} is not a number in JSON.", code="not_json")


def require(body: Mapping[str, Any], *names: str) -> None:
    """Raises MissingArguments for those that are not there; null and blank are there."""
    if absent := [name for name in names if name not in body]:
        raise MissingArguments(absent)


class Text(serializers.CharField):
    """Text and nothing else: a number is not taken for one."""

    default_error_messages = {"invalid": "This must be text."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Name(Text):
    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not text.isprintable():
            raise serializers.ValidationError("This holds line breaks or control characters.")
        return text


class MaxTokens(serializers.Field):
    """A whole number; 0, blank and null stand for “unknown”."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and data.strip().isascii() and data.strip().isdigit():
            data = int(data.strip()[:12])
        whole = isinstance(data, int) or (isinstance(data, float) and math.isfinite(data) and data == int(data))
        if isinstance(data, bool) or not whole or not 0 <= data <= MAX_MAX_TOKENS:
            raise serializers.ValidationError(f"This must be a whole number from 0 to {MAX_MAX_TOKENS}.")
        return int(data) or DEFAULT_MAX_TOKENS

    def to_representation(self, value: int) -> int:
        return value


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


class ModelTypes(serializers.Field):
    """One type, or a list of them."""

    def to_internal_value(self, data: Any) -> list[str]:
        kinds = data if isinstance(data, list) else [data]
        if not kinds or len(kinds) > len(LLMType) or not all(_is_word(kind) for kind in kinds):
            raise serializers.ValidationError("This must be a model type, or a list of them.")
        return list(dict.fromkeys(kind.strip() for kind in kinds))

    def to_representation(self, value: list[str]) -> list[str]:
        return value


class Status(serializers.Field):
    """1 or 0, as a number or as text."""

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, bool) or not isinstance(data, str | int) or str(data) not in ("0", "1"):
            raise serializers.ValidationError("This must be “1” (enabled) or “0” (disabled).")
        return str(data)

    def to_representation(self, value: str) -> str:
        return value


class Body(serializers.Serializer):
    """Fields that are not named are credential fields, or ignored."""

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """The checked fields; raises ValidationError."""
        checked = cls(data={name: value for name, value in body.items() if value is not None or name in cls.NEEDED})
        checked.is_valid(raise_exception=True)
        return checked.validated_data

    NEEDED = ("llm_factory", "llm_name", "model_type", "tenant_id")


class FactoryBody(Body):
    llm_factory = Name(max_length=MAX_FACTORY)


class SetApiKeyBody(FactoryBody):
    base_url = Text(max_length=MAX_URL, allow_blank=True, default="")
    source_fid = Name(max_length=MAX_FACTORY, allow_blank=True, default="")
    verify = serializers.BooleanField(default=False)
    test = serializers.BooleanField(default=True)


class AddLLMBody(FactoryBody):
    llm_name = Name(max_length=MAX_NAME - MAX_SUFFIX)
    model_type = ModelTypes()
    api_base = Text(max_length=MAX_URL, allow_blank=True, required=False)
    max_tokens = MaxTokens(default=DEFAULT_MAX_TOKENS)
    is_tools = serializers.BooleanField(required=False)
    instance = Name(max_length=MAX_LABEL, allow_blank=True, default="")
    verify = serializers.BooleanField(default=False)
    test = serializers.BooleanField(default=True)


class ModelBody(FactoryBody):
    llm_name = Name(max_length=MAX_NAME)
    instance = Name(max_length=MAX_LABEL, allow_blank=True, default="")


class StatusBody(ModelBody):
    status = Status(default="1")


class TenantInfoBody(Body):
    tenant_id = Name(max_length=ID_LENGTH)
    name = Name(max_length=names.MAX_LENGTH, required=False)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """`values` holds the default models; null stands for none, as in a tenant that never chose one."""
        given = super().read({name: "" if value is None and name in COLUMNS else value for name, value in body.items()})
        values = {column: given.pop(column) for column in COLUMNS if column in given}
        return {**given, "values": values}

    def get_fields(self) -> dict[str, serializers.Field]:
        columns = {column: Name(max_length=defaults.MAX_LENGTH, allow_blank=True, required=False) for column in COLUMNS}
        return {**super().get_fields(), **columns}


COLUMNS = tuple(DEFAULT_MODEL_COLUMNS.values())
