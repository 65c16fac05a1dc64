"""Every path of the product, except what the gateway answers before Django (see llmadmin.asgi)."""

from typing import Any

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from llmadmin import health, views
from tenants.api.llm_app import urls as llm_app

api: list[Any] = [
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="api-schema"), name="api-docs"),
    path("", include("providers.api.urls")),
    path("", include("jobs.api.urls")),
    path("", include("tenants.api.rest.urls")),
    path("", include("usage.api.urls")),
]

urlpatterns = [
    path("", views.front_page),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("llm/", include(llm_app.retcode_patterns)),
    re_path(r"^(?:api/)?v1/llm/", include(llm_app.classic_patterns)),
    path("v1/user/", include(llm_app.user_patterns)),
    re_path(r"^(?:api/)?v1/langfuse/", include(llm_app.langfuse_patterns)),
    path("api/", include(api)),
    re_path(r"^(api|v1|llm)/", views.nothing_here),
]

handler404 = views.nothing_here
handler500 = views.fault
