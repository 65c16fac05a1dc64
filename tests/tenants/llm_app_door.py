"""A client of the llm_app endpoints, through whichever mount a test wants."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from providers.models import LLM, LLMFactory
from tests.people import People, make_token

CLASSIC, ALSO_CLASSIC, RETCODE = "/v1/llm", "/api/v1/llm", "/llm"
WRONG_KEY = "sk-wrong-9876543210zyxwvu"
WRITES = {
    "set_api_key": {"llm_factory": "Fake", "api_key": "k"},
    "add_llm": {"llm_factory": "Fake", "model_type": "chat", "llm_name": "m", "api_key": "k"},
    "delete_llm": {"llm_factory": "Fake", "llm_name": "m"},
    "enable_llm": {"llm_factory": "Fake", "llm_name": "m", "status": 0},
    "delete_factory": {"llm_factory": "Fake"},
}
READS = ("factories", "my_llms", "my_llms?include_details=true", "list")


@dataclass
class Door:
    """Calls as one person (or nobody) through one mount; `last` is the whole response."""

    token: str = ""
    mount: str = CLASSIC
    client: Client = field(default_factory=Client)
    last: Any = None

    def _headers(self, extra: dict[str, str]) -> dict[str, str]:
        return {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **extra}

    def get(self, path: str, **headers: str) -> Any:
        return self._answer(self.client.get(self._url(path), headers=self._headers(headers)))

    def post(self, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str) -> Any:
        data = json.dumps(body).encode() if raw is None else raw
        kind = headers.pop("content_type", "application/json")
        sent = self.client.post(self._url(path), data, content_type=kind, headers=self._headers(headers))
        return self._answer(sent)

    def through(self, mount: str) -> Door:
        return Door(self.token, mount, self.client)

    def _url(self, path: str) -> str:
        return path if path.startswith("/") else f"{self.mount}/{path}"

    def _answer(self, response: Any) -> Any:
        self.last = response
        return json.loads(response.content)


def door(people: People, user: User | None = None, **values: Any) -> Door:
    """As the owner unless said otherwise."""
    return Door(make_token(people.tenant, user=user or people.owner, **values))


def vendor(name: str = "Fake", models: dict[str, str] | None = None, **values: Any) -> LLMFactory:
    """A factory with a key, and catalogue models (`{"fake-chat": "chat"}`)."""
    values.setdefault("quirks", {"version_path": "/v1", "strip_suffix": "___"})
    factory = LLMFactory.objects.create(name=name, **values)
    for llm_name, kinds in (models or {}).items():
        LLM.objects.create(factory=factory, llm_name=llm_name, model_types=kinds.split(","))
    return factory


def server(name: str = "Server", **values: Any) -> LLMFactory:
    """A runtime that tenants run themselves, as VLLM is: no key needed, a suffix on stored names."""
    key = {"name": "api_key", "label": "API key", "secret": True, "required": False}
    settings = {"keyless": True, "base_url_required": True, "name_suffix": "___VLLM", "credential_fields": [key]}
    return vendor(name, **{**settings, **values})
