"""Answers to what a job does: wait for its end a while, or say where to poll."""

from __future__ import annotations

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.request import Request
from rest_framework.response import Response

from core.drf import PROBLEM_JSON, problem
from core.errors import AppError, Unavailable
from core.http import prefers_async
from core.views import place
from jobs.api.serializers import JobSerializer
from jobs.models import Job, JobState
from jobs.services import queue
from providers.errors import Verdict

PREFER = OpenApiParameter(
    "Prefer", str, OpenApiParameter.HEADER, description="respond-async: answer 202 at once with the job to poll."
)
RUNNING = OpenApiResponse(JobSerializer, "Still being tested: poll the job that Location names.")
OUR_FAULTS = frozenset({"internal_error", "unavailable"})


def waited(job: Job, request: Request) -> Job:
    """The job once it is finished, or as it is when the caller does not want to wait any longer."""
    return job if prefers_async(request) else queue.wait(job.pk, timeout_s=settings.PROBE_WAIT)


def accepted(job: Job) -> Response:
    headers = {"Location": place("job-detail", job.pk), "Retry-After": "1"}
    return Response(JobSerializer(job).data, status=202, headers=headers)


def rejected(job: Job) -> Response:
    """What was tested does not work, or could not be tested."""
    probes = job.result.get("probes", [])
    verdict = job.result.get("verdict") or Verdict.UNTESTED.value
    reason = next((probe for probe in reversed(probes) if probe["verdict"] != Verdict.OK), job.error)
    error = AppError(
        reason.get("message") or "The key could not be tested.",
        hint=reason.get("hint", ""),
        code=job.error.get("code") or verdict,
    )
    status = 503 if job.state != JobState.COMPLETED and error.code in {*OUR_FAULTS, verdict} else 422
    if status == Unavailable.status and not error.hint:
        error.hint = "Try again later."
    body = problem(error, status=status) | {"verdict": verdict, "probes": probes, "job": job.pk}
    return Response(body, status=status, content_type=PROBLEM_JSON)
