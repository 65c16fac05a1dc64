"""Tells whoever keeps a picture of the services that it is out of date. Rooms above listen; none is known here.

Rows that are written with `save()` and `delete()` are told of by Django's signals, and by audit events (`service.…`).
`announce` is for the rest: what writes many rows at once (`update()`, `bulk_create()`, `bulk_update()`) calls it once,
in the transaction that writes, if it changed anything of ROUTED.
"""

from __future__ import annotations

from django.dispatch import Signal

from runtimes.models import LLMService, ServiceModel, ServiceTenant

announced = Signal()

# The columns that decide what can be called, by whom and how. Health is not among them: whether a service answers is
# found out by calling it, and pictures need not be taken anew with each look.
ROUTED: dict[type[LLMService | ServiceModel | ServiceTenant], frozenset[str]] = {
    LLMService: frozenset(
        {"name", "type", "is_enabled", "api_format", "urls", "secret", "api_key_env_var", "short_timeout_s"}
        | {"long_timeout_s", "verify_cert", "allowed_networks", "audience", "options", "is_default", "capabilities"}
    ),
    ServiceModel: frozenset({"service", "name", "model_types", "state", "max_tokens", "tooling", "detail"}),
    ServiceTenant: frozenset({"service", "tenant_id"}),
}


def announce() -> None:
    """Many rows were written at once."""
    announced.send(sender=None)
