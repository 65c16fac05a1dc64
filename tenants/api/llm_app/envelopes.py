"""The two envelopes that the llm_app endpoints answer in; which one, the mount says.

    /llm/…                     {"retcode", "retmsg", "data"}   code 1 for whatever is wrong with a request or its data
    /v1/llm/…, /api/v1/llm/…   {"code", "message", "data"}     RAGFlow's classic wire: 101, 102 without data

Codes beyond these are the same in both: 0, 100, 106, 108, 401, 404.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, ClassVar

from django.utils.http import http_date
from rest_framework import exceptions
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response
from rest_framework.views import set_rollback

from core.drf import as_app_error
from core.errors import AppError, Forbidden, StillRunning, TooManyRequests, Unauthenticated, Unavailable
from core.views import place
from tenants.api.llm_app import texts
from tenants.services.llm_app.outcome import MissingArguments

logger = logging.getLogger(__name__)


class Code(IntEnum):
    """RAGFlow's return codes, as far as they are used here."""

    SUCCESS = 0
    EXCEPTION = 100
    ARGUMENT = 101
    DATA = 102
    RUNNING = 106
    PERMISSION = 108
    UNAUTHORIZED = 401
    NOT_FOUND = 404
    TOO_MANY_REQUESTS = 429
    SERVER = 500


class _JSON(BaseRenderer):
    """Answers in JSON whatever the Accept header says."""

    media_type = "application/json"
    format = "json"
    charset = None


class ClassicRenderer(_JSON):
    """Sorted keys at every level, compact, ASCII only, a newline at the end, dates as HTTP writes them."""

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        return json.dumps(data, sort_keys=True, separators=(",", ":"), default=_http_date).encode() + b"\n"


class RetcodeRenderer(_JSON):
    """Compact, with ISO 8601 dates."""

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, default=_iso_date)
        return text.encode(errors="replace")


def _http_date(value: Any) -> str:
    return http_date(_moment(value).timestamp())


def _iso_date(value: Any) -> str:
    return _moment(value).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return value


class Envelope(ABC):
    """How one mount says what happened."""

    renderer: ClassVar[type[_JSON]]
    forgiving: ClassVar[bool]  # whether a body that is no JSON object counts as an empty one
    fault_status: ClassVar[int]
    open_to_browsers: ClassVar[bool]  # whether pages of any origin may call it, with a token and no cookie
    words: ClassVar[texts.Texts]

    @abstractmethod
    def body(self, code: int, message: str, data: Any = None) -> dict[str, Any]: ...

    def success(self, data: Any) -> Response:
        return Response(self.body(Code.SUCCESS, "success", data))

    def accepted(self, job: Any) -> Response:
        """202: being tested, nothing is saved yet."""
        message = "The test is running: poll the job."
        headers = {"Location": place("job-detail", job.pk), "Preference-Applied": "respond-async"}
        return Response(self.body(Code.RUNNING, message, _job(job.pk, job.state)), status=202, headers=headers)

    @abstractmethod
    def wrong(self, error: AppError) -> Response:
        """Something is wrong with the request or its data."""

    def not_found(self, path: str) -> Response:
        return Response(self.body(Code.NOT_FOUND, f"Not Found: {path}"), status=404)

    def failure(self, error: Exception, context: dict[str, Any]) -> Response:
        """DRF's exception handler."""
        set_rollback()
        if isinstance(error, exceptions.MethodNotAllowed):
            return Response(self.body(Code.EXCEPTION, self.words.method_not_allowed))
        match known := as_app_error(error):
            case None:
                logger.error("%s failed", context["request"].path, exc_info=error)
                text = "Something went wrong on our side; the X-Request-Id helps to find it."
                return Response(self.body(Code.EXCEPTION, text), status=self.fault_status)
            case Unauthenticated():
                body = self.body(Code.UNAUTHORIZED, self.words.unauthorized)
                return Response(body, status=401, headers={"WWW-Authenticate": 'Bearer realm="llmadmin"'})
            case Forbidden():
                return Response(self.body(Code.PERMISSION, str(known)))
            case StillRunning():
                return Response(self.body(Code.RUNNING, str(known), _job(known.job_id, "running")))
            case TooManyRequests():
                body = self.body(Code.TOO_MANY_REQUESTS, str(known))
                return Response(body, status=429, headers={"Retry-After": str(known.retry_after_s)})
            case Unavailable():
                return Response(self.body(Code.SERVER, str(known)), status=503)
        return self.wrong(known)


class Retcode(Envelope):
    renderer = RetcodeRenderer
    forgiving = False
    fault_status = 500
    words = texts.SEED
    open_to_browsers = False

    def body(self, code: int, message: str, data: Any = None) -> dict[str, Any]:
        return {"retcode": int(code), "retmsg": message, "data": data}

    def wrong(self, error: AppError) -> Response:
        return Response(self.body(1, self.words.of(error)))


class Classic(Envelope):
    renderer = ClassicRenderer
    forgiving = True
    fault_status = 200
    words = texts.CLASSIC
    open_to_browsers = True

    def body(self, code: int, message: str, data: Any = None) -> dict[str, Any]:
        return {"code": int(code), "message": message, "data": data}

    def wrong(self, error: AppError) -> Response:
        if isinstance(error, MissingArguments):
            return Response(self.body(Code.ARGUMENT, self.words.of(error)))
        return Response({"code": int(Code.DATA), "message": self.words.of(error)})

    def not_found(self, path: str) -> Response:
        return Response({**self.body(Code.NOT_FOUND, f"Not Found: {path}"), "error": "Not Found"}, status=404)


def _job(job_id: str, state: str) -> dict[str, str]:
    return {"job_id": job_id, "state": str(state), "url": place("job-detail", job_id)}


RETCODE, CLASSIC = Retcode(), Classic()
