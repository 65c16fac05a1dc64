"""The front page, and the answers to paths that nobody serves, in the form of the door they came to."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.defaults import bad_request, page_not_found, server_error

from core.drf import problem_page
from core.errors import AppError, InvalidInput, NotFound


def front_page(request: HttpRequest) -> HttpResponse:
    """Browsers come for the admin; programs are told where the doors are."""
    if "text/html" in request.headers.get("Accept", ""):
        return HttpResponseRedirect(reverse("admin:index"))
    doors = {"admin": reverse("admin:index"), "api": "/api/", "docs": reverse("api-docs"), "models": "/v1/models"}
    return JsonResponse(doors)


@csrf_exempt  # there is nothing to protect, and a program is to read 404 and not a page about cookies
def nothing_here(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """404 in the form of the door: problem document, classic envelopes, OpenAI's error object, or a page."""
    if request.path.startswith(WITHOUT_V1):
        error = NotFound("There is nothing at this path. The base URL of OpenAI's clients ends in /v1 here.")
        return _for_openai(error)
    error = NotFound("There is nothing at this path.", hint="See /api/docs/.")
    if (answer := _in_form_of(request, error)) is not None:
        return answer
    return page_not_found(request, exception or error) if _is_for_people(request) else problem_page(request, error)


def refused(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """400 likewise: what Django will not serve, above all a host name that is not ours."""
    error = InvalidInput("This request cannot be served.")
    if isinstance(exception, DisallowedHost):
        hint = "Use the address of PUBLIC_URL, or add this one to ALLOWED_HOSTS."
        error = InvalidInput("The host name of this request is not one that is answered.", hint=hint)
    if (answer := _in_form_of(request, error)) is not None:
        return answer
    return bad_request(request, exception or error) if _is_for_people(request) else problem_page(request, error)


def fault(request: HttpRequest) -> HttpResponse:
    """500 likewise. What went wrong is in the log, under the X-Request-Id of the answer."""
    error = AppError("Something went wrong on our side.", hint="The X-Request-Id helps to find it.", code="internal")
    return _in_form_of(request, error) or server_error(request)


PROBLEMS = ("/api/", "/jobs", "/job_", "/llm/services", "/llm/models")
WITHOUT_V1 = ("/chat/completions", "/completions", "/embeddings", "/models", "/audio/", "/rerank", "/responses", "/ocr")


def _is_for_people(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/") or "text/html" in request.headers.get("Accept", "")


def _in_form_of(request: HttpRequest, error: AppError) -> JsonResponse | None:
    path, status = request.path, error.status
    if path.startswith(("/v1/llm/", "/api/v1/", "/v1/user/")):
        title = HTTPStatus(status).phrase
        body: dict[str, Any] = {"code": status, "data": None, "error": title, "message": f"{title}: {path}"}
        return JsonResponse(body, status=status)
    if path.startswith(PROBLEMS):
        return problem_page(request, error)
    if path.startswith("/llm/"):
        return JsonResponse({"retcode": status, "retmsg": error.message, "data": None}, status=status)
    if path.startswith("/v1/"):
        return _for_openai(error)
    return None


def _for_openai(error: AppError) -> JsonResponse:
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    said = {"message": error.message, "type": kind, "param": None, "code": error.code}
    return JsonResponse({"error": said}, status=error.status)
