"""The admin site."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from core.admin import AdminSite


class LLMAdminSite(AdminSite):
    site_title = "llmadmin"
    site_header = "llmadmin"
    index_title = "Dashboard"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from llmadmin import dashboard  # its parts register themselves on this site

        return super().index(request, {**dashboard.context(request), **(extra_context or {})})
