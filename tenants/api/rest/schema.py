"""How callers are described in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension


class TokenOrSessionScheme(OpenApiAuthenticationExtension):
    target_class = "tenants.api.authentication.TokenOrSession"
    name = ["token", "session"]  # noqa: RUF012

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        return [{"token": []}, {"session": []}]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "An API token of a tenant."},
            {
                "type": "apiKey",
                "in": "cookie",
                "name": settings.SESSION_COOKIE_NAME,
                "description": "The session of somebody who logged in. Writes need the CSRF token as X-CSRFToken.",
            },
        ]
