"""Rows of services for tests."""

from __future__ import annotations

from itertools import count
from typing import Any

from runtimes.models import LLMService, ServiceModel

LOOPBACK = ["127.0.0.0/8"]
_numbers = count(1)


def make_service(*urls: str, **fields: Any) -> LLMService:
    """An enabled service that may be called on loopback; an Ollama if nothing else is said."""
    given = {
        "name": f"service-{next(_numbers)}",
        "type": "ollama",
        "urls": list(urls),
        "allowed_networks": LOOPBACK,
        "is_enabled": True,
        "short_timeout_s": 5,
        "long_timeout_s": 20,
    }
    return LLMService.objects.create(**{**given, **fields})


def make_model(service: LLMService, name: str, **fields: Any) -> ServiceModel:
    given = {"type": "llm", "model_types": ["chat"], "state": "loaded"}
    return ServiceModel.objects.create(service=service, name=name, **{**given, **fields})
