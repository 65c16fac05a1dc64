"""The paths below each mount, with and without a last slash; whatever else is below it answers in its envelope too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.urls import URLPattern, re_path

from tenants.api.llm_app.envelopes import CLASSIC, RETCODE, Envelope
from tenants.api.llm_app.langfuse import LangfuseViewSet
from tenants.api.llm_app.views import EnvelopeViewSet, LLMAppViewSet, UserViewSet

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
LLM_APP = {
    "factories": ("get", "factories"),
    "set_api_key": ("post", "set_api_key"),
    "add_llm": ("post", "add_llm"),
    "delete_llm": ("post", "delete_llm"),
    "enable_llm": ("post", "enable_llm"),
    "delete_factory": ("post", "delete_factory"),
    "my_llms": ("get", "my_llms"),
    "list": ("get", "choices"),
}
USER = {"tenant_info": ("get", "tenant_info"), "set_tenant_info": ("post", "set_tenant_info")}


LANGFUSE = {"api[_-]key": {"get": "show", "put": "save", "post": "save", "delete": "remove"}}


def _patterns(view: type[EnvelopeViewSet], table: Mapping[str, Any], envelope: Envelope) -> list[URLPattern]:
    shared: dict[str, Any] = {"envelope": envelope}
    found = [
        re_path(rf"^{name}/?$", view.as_view(does if isinstance(does, dict) else dict([does]), **shared))
        for name, does in table.items()
    ]
    nothing = view.as_view(
        dict.fromkeys(METHODS, "nothing_here"), authentication_classes=[], permission_classes=[], **shared
    )
    return [*found, re_path(r"", nothing)]


retcode_patterns = _patterns(LLMAppViewSet, LLM_APP, RETCODE)
classic_patterns = _patterns(LLMAppViewSet, LLM_APP, CLASSIC)
user_patterns = _patterns(UserViewSet, USER, CLASSIC)
langfuse_patterns = _patterns(LangfuseViewSet, LANGFUSE, CLASSIC)
