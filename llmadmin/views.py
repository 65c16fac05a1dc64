"""The front page, and the answers to paths that nobody serves, in the form of the door they came to."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.defaults import page_not_found, server_error

from core.drf import problem_page
from core.errors import AppError, NotFound


def front_page(request: HttpRequest) -> HttpResponse:
    """Browsers come for the admin; programs are told where the doors are."""
    if "text/html" in request.headers.get("Accept", ""):
        return HttpResponseRedirect(reverse("admin:index"))
    doors = {"admin": reverse("admin:index"), "api": "/api/", "docs": reverse("api-docs"), "models": "/v1/"}
    return JsonResponse(doors)


@csrf_exempt  # there is nothing to protect, and a program is to read 404 and not a page about cookies
def nothing_here(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """404 in the form of the door: problem document, classic envelopes, OpenAI's error object, or a page."""
    return _in_form_of(request, NotFound("There is nothing at this path.", hint="See /api/docs/.")) or page_not_found(
        request, exception or NotFound("There is nothing here.")
    )


def fault(request: HttpRequest) -> HttpResponse:
    """500 likewise. What went wrong is in the log, under the X-Request-Id of the answer."""
    error = AppError("Something went wrong on our side.", hint="The X-Request-Id helps to find it.", code="internal")
    return _in_form_of(request, error) or server_error(request)


def _in_form_of(request: HttpRequest, error: AppError) -> JsonResponse | None:
    path, status = request.path, error.status
    if path.startswith(("/v1/llm/", "/api/v1/", "/v1/user/")):
        title = "Not Found" if status == 404 else "Internal Server Error"
        body: dict[str, Any] = {"code": status, "data": None, "error": title, "message": f"{title}: {path}"}
        return JsonResponse(body, status=status)
    if path.startswith("/llm/"):
        return JsonResponse({"retcode": status, "retmsg": error.message, "data": None}, status=status)
    if path.startswith("/api/"):
        return problem_page(request, error)
    if path.startswith("/v1/"):
        kind = "invalid_request_error" if status == 404 else "server_error"
        return JsonResponse(
            {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}, status=status
        )
    return None
