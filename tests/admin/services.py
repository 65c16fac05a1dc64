"""What tests of the admin of services have in common."""

from __future__ import annotations

from html import unescape
from typing import Any

from django.test import Client

from runtimes.models import LLMService

LIST = "/admin/runtimes/llmservice/"
NETWORKS = "127.0.0.0/8"


def page_of(service: LLMService) -> str:
    return f"{LIST}{service.pk}/change/"


def form_of(**changes: object) -> dict[str, object]:
    """What the browser sends when a service is saved."""
    given: dict[str, object] = {
        **{"name": "local", "type": "ollama", "description": "", "api_format": "", "api_key_env_var": "", "key": ""},
        **{"urls": "http://127.0.0.1:9", "allowed_networks": NETWORKS, "short_timeout_s": 5, "long_timeout_s": 180},
        **{"verify_cert": "on", "enable_discovery": "on", "audience": "none", "options": "{}"},
    }
    return {**given, **changes}


def text_of(answer: Any) -> str:
    return " ".join(unescape(answer.content.decode()).split())


def panel_of(client: Client, service: LLMService, query: str = "") -> str:
    """The table of models on the service's page, as the page asks for it."""
    url = f"{LIST}{service.pk}/page/live/?{query}&keys=models"
    return str(client.get(url).json()["items"]["models"]["html"])
