"""Every path of the product, except what the gateway answers before Django (see llmadmin.asgi)."""

from typing import Any

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.decorators.cache import cache_page
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from jobs.api import urls as jobs
from llmadmin import health, views
from runtimes.api import urls as runtimes
from tenants.api.llm_app import urls as llm_app

api: list[Any] = [
    path(
        "schema/", cache_page(600, cache="process")(SpectacularAPIView.as_view()), name="api-schema"
    ),  # takes half a second to make
    path("docs/", SpectacularSwaggerView.as_view(url_name="api-schema"), name="api-docs"),
    path("", include("providers.api.urls")),
    path("", include(jobs.urlpatterns)),
    path("", include("tenants.api.rest.urls")),
    path("", include("usage.api.urls")),
    path("", include(runtimes.registry)),
]

urlpatterns = [
    path("", views.front_page),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("llm/", include(runtimes.urlpatterns)),
    path("llm/", include(llm_app.retcode_patterns)),
    re_path(r"^(?:api/)?v1/llm/", include(llm_app.classic_patterns)),
    path("v1/user/", include(llm_app.user_patterns)),
    re_path(r"^(?:api/)?v1/langfuse/", include(llm_app.langfuse_patterns)),
    re_path(r"^(?:api/)?", include(jobs.streams)),
    path("api/", RedirectView.as_view(pattern_name="api-docs")),
    path("api/", include(api)),
    path("", include(jobs.at_root)),
    re_path(r"^(api|v1|llm|jobs|job_types|job_groups)/", views.nothing_here),
]

handler400 = views.refused
handler404 = views.nothing_here
handler500 = views.fault
