"""What all REST views share: bodies, pages, throttles, and errors as RFC 9457 problem documents."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC
from http import HTTPStatus
from typing import Any, cast

import orjson
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelValidationError
from django.http import Http404, HttpRequest, JsonResponse
from django.utils.dateparse import parse_datetime
from django_filters import IsoDateTimeFilter
from django_filters.fields import IsoDateTimeField
from django_filters.rest_framework import FilterSet
from rest_framework import exceptions, serializers
from rest_framework.filters import OrderingFilter
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import CursorPagination, PageNumberPagination
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import set_rollback

from core import errors
from core.errors import AppError, TooManyRequests
from core.http import client_address
from core.principal import Principal

PROBLEM_JSON = "application/problem+json"
PAGE_SIZE, MAX_PAGE_SIZE = 50, 200
_NAMED_AT_MOST = 20

# --- What comes in --------------------------------------------------------------------------------------------------


class RequestTooLarge(exceptions.APIException):
    status_code = 413
    default_detail = "The body is too large."


class StrictJSONParser(JSONParser):
    """JSON as its specification has it: bounded, UTF-8, no NaN, no lone surrogates, no bottomless nesting."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise RequestTooLarge
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise exceptions.ParseError(str(error)) from error


class JSONAlways(DefaultContentNegotiation):
    """JSON is all there is, so the Accept header cannot ask for anything else."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class StrictSerializer(serializers.Serializer[Any]):
    """The body of a write: a field that it does not have, or that cannot be set, is an error and not ignored."""

    @classmethod
    def read(cls, data: Any) -> dict[str, Any]:
        """The checked fields; raises ValidationError."""
        body = cls(data=data)
        body.is_valid(raise_exception=True)
        return dict(body.validated_data)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            known = {name for name, field in self.fields.items() if not field.read_only}
            unknown = sorted(str(name)[:100] for name in data if name not in known)[:_NAMED_AT_MOST]
            if unknown:
                raise serializers.ValidationError({name: ["There is no such field to set."] for name in unknown})
        return super().to_internal_value(data)


def refuse_unknown(request: Request, known: Collection[str]) -> None:
    """Raises InvalidInput for a query parameter that is none of these: ignored, it would answer another question."""
    unknown = sorted(name[:100] for name in request.query_params if name not in known)[:_NAMED_AT_MOST]
    if unknown:
        raise errors.InvalidInput(
            "The request is not valid.",
            hint=f"The parameters here are: {', '.join(sorted(known))}." if known else "",
            fields={name: ["There is no such parameter."] for name in unknown},
        )


class Ordering(OrderingFilter):
    """A field that a list cannot be ordered by is an error and not ignored."""

    def remove_invalid_fields(self, queryset: Any, fields: Any, view: Any, request: Request) -> list[str]:
        known = [name for name, _ in self.get_valid_fields(queryset, view, {"request": request})]
        for field in fields:
            if field.removeprefix("-") not in known:
                told = f"“{field[:50]}” cannot be ordered by. There are: {', '.join(known)}."
                raise exceptions.ValidationError({self.ordering_param: [told]})
        return list(fields)


class _MomentField(IsoDateTimeField):  # type: ignore[misc]  # the library is untyped
    def clean(self, value: Any) -> Any:
        moment = super().clean(value)
        try:
            return moment and moment.astimezone(UTC)
        except OverflowError as error:
            raise ModelValidationError("This date is out of range.") from error


class MomentFilter(IsoDateTimeFilter):  # type: ignore[misc]
    """An instant in ISO 8601."""

    field_class = _MomentField


class TimelineFilter(FilterSet):  # type: ignore[misc]
    """For tables that only grow."""

    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")


# --- Pages and throttles --------------------------------------------------------------------------------------------


class Pagination(PageNumberPagination):
    page_size = PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE

    def get_page_size(self, request: Request) -> int | None:
        _require_count(request, self.page_size_query_param)
        return super().get_page_size(request)

    def get_page_number(self, request: Request, paginator: Any) -> int | str:
        if request.query_params.get(self.page_query_param) not in self.last_page_strings:
            _require_count(request, self.page_query_param)
        return super().get_page_number(request, paginator)


class TimelinePagination(CursorPagination):
    """For tables that only grow: no count, no deep offsets."""

    page_size = PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE_SIZE
    ordering = "-created_at"

    def get_page_size(self, request: Request) -> int | None:
        _require_count(request, self.page_size_query_param)
        return super().get_page_size(request)

    def decode_cursor(self, request: Request) -> Any:
        cursor: Any = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None and not _is_moment(cursor.position):
            raise exceptions.NotFound(self.invalid_cursor_message)  # somebody edited it
        return cursor


def _require_count(request: Request, name: str) -> None:
    text = request.query_params.get(name, "")
    if text and not (text.isascii() and text.isdigit() and text.strip("0")):
        raise exceptions.ValidationError({name: ["A whole number, 1 or more."]})


def _is_moment(text: str) -> bool:
    """Whether a database can compare it with its own instants."""
    try:
        moment = parse_datetime(text)
        return moment is not None and moment.tzinfo is not None and moment.astimezone(UTC) is not None
    except (ValueError, OverflowError):
        return False


def caller_key(request: Request) -> str:
    """By which a caller is counted: its token, its user, or its address."""
    if isinstance(request.auth, Principal):
        return request.auth.key
    return f"address:{client_address(request)}"


class CallerThrottle(SimpleRateThrottle):
    scope = "caller"

    def __init__(self) -> None:
        from rest_framework.settings import api_settings  # read late, so that settings can change

        self.THROTTLE_RATES = cast(Any, api_settings.DEFAULT_THROTTLE_RATES)
        super().__init__()

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        return f"throttle:{self.scope}:{caller_key(request)}"


class ProbeThrottle(CallerThrottle):
    """For calls that make us call an upstream."""

    scope = "probe"


# --- Errors ---------------------------------------------------------------------------------------------------------


def as_app_error(error: Exception) -> AppError | None:
    """What DRF and Django raise, as a member of our own tree; None for what is a fault of ours."""
    match error:
        case AppError():
            return error
        case exceptions.ValidationError():
            return errors.InvalidInput("The request is not valid.", fields=flatten(error.detail))
        case ModelValidationError():
            fields = error.message_dict if hasattr(error, "error_dict") else {"non_field_errors": error.messages}
            return errors.InvalidInput("The request is not valid.", fields=fields)
        case exceptions.ParseError():
            return errors.InvalidInput("The body is not valid JSON.", hint=str(error.detail), code="malformed")
        case exceptions.UnsupportedMediaType():
            return errors.InvalidInput("Send JSON (Content-Type: application/json).", code="unsupported_media_type")
        case RequestTooLarge() | RequestDataTooBig():
            return errors.InvalidInput("The body is too large.", code="too_large")
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.Unauthenticated(str(error.detail), hint="Send Authorization: Bearer <token>, or log in.")
        case exceptions.PermissionDenied() | PermissionDenied():
            return errors.Forbidden("You may not do this.")
        case exceptions.NotFound() | Http404():
            return errors.NotFound("There is no such thing here.")
        case exceptions.Throttled():
            return TooManyRequests("Too many requests.", retry_after_s=int(getattr(error, "wait", None) or 1) + 1)
    return None


def flatten(detail: Any, path: str = "") -> dict[str, list[str]]:
    """DRF's nested error details as `{"a.b.0": ["text"]}`."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for name, inner in detail.items():
            found.update(flatten(inner, f"{path}.{name}" if path else str(name)))
        return found
    if isinstance(detail, list) and any(isinstance(inner, dict | list) for inner in detail):
        found = {}
        for index, inner in enumerate(detail):
            if inner:
                found.update(flatten(inner, f"{path}.{index}" if path else str(index)))
        return found
    texts = detail if isinstance(detail, list) else [detail]
    return {path or "non_field_errors": [str(text) for text in texts]}


def problem(error: AppError, *, status: int | None = None) -> dict[str, Any]:
    """The problem document of an error (RFC 9457), with our `code`, `hint` and `fields` as extension members."""
    code = status or error.status
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(code).phrase, "status": code}
    body |= {"detail": error.message, "code": error.code}
    if error.hint:
        body["hint"] = error.hint
    if error.fields:
        body["fields"] = error.fields
    return body


def problem_json(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every error of ours and of the framework as a problem document."""
    if isinstance(error, exceptions.MethodNotAllowed):
        body = problem(AppError(str(error.detail), code="method_not_allowed"), status=405)
        return Response(body, status=405, content_type=PROBLEM_JSON, headers={"Allow": ", ".join(allowed(context))})
    known = as_app_error(error)
    if known is None:
        return None
    set_rollback()
    status = {"unsupported_media_type": 415, "too_large": 413}.get(known.code, known.status)
    headers: dict[str, str] = {}
    if isinstance(known, TooManyRequests):
        headers["Retry-After"] = str(known.retry_after_s)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="llmadmin"'
    return Response(problem(known, status=status), status=status, content_type=PROBLEM_JSON, headers=headers)


def problem_page(request: HttpRequest, error: AppError) -> JsonResponse:
    """A problem document from outside of DRF: unknown paths, faults."""
    return JsonResponse(problem(error), status=error.status, content_type=PROBLEM_JSON)


def allowed(context: dict[str, Any]) -> list[str]:
    view = context.get("view")
    return list(getattr(view, "allowed_methods", []))
