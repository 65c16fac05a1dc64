"""`/jobs`, `/job_types` and `/job_groups`: below `/api/` (`urlpatterns`), and at the root as well (`at_root`)."""

from __future__ import annotations

from typing import Any

from django.urls import re_path

from core.views import ID_PATTERN, Router
from jobs.api.events import events
from jobs.api.views import JobGroupViewSet, JobTypeViewSet, JobViewSet

RESOURCES: dict[str, tuple[str, type[Any]]] = {
    "jobs": ("job", JobViewSet),
    "job_types": ("job-type", JobTypeViewSet),
    "job_groups": ("job-group", JobGroupViewSet),
}


def _router(prefix: str = "", **more: Any) -> Router:
    router = Router()
    for path, (name, view) in RESOURCES.items():
        router.register(path, type(view.__name__, (view,), more), basename=f"{prefix}{name}")
    return router


urlpatterns = _router().urls
at_root = _router("root-", schema=None).urls  # the OpenAPI document describes each path once
streams = [re_path(rf"^jobs/(?P<pk>{ID_PATTERN})/events/?$", events, name="job-events")]
