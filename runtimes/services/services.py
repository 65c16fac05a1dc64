"""Writes services: who they are, where they are reached, with which key, by whom. Every change is an audit event.

A stored key is sealed for the origins that the service has when it is entered: whoever points the service elsewhere
enters it again, or takes it away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from core import audit
from core.audit import Actor
from core.errors import InvalidInput, NotFound
from core.netguard import BlockedAddress, Networks, check, parse_networks
from jobs.services.plain import storable
from providers import dialects
from runtimes import drivers
from runtimes.models import Audience, CallDefaults, Health, LLMService, ServiceTenant
from runtimes.models.defaults import THE_ONE
from runtimes.services import calls, changes, key_variables, sealing

FIELDS = (
    *("name", "type", "description", "api_format", "urls", "api_key_env_var", "short_timeout_s", "long_timeout_s"),
    *("verify_cert", "enable_discovery", "options"),
)
_REACHED_BY = frozenset({"type", "urls", "api_key_env_var", "verify_cert"})
MAX_TENANTS = 1_000
_LOCAL_NAMES, _LOOPBACK = ("localhost", "localhost.localdomain"), ("::1", "127.0.0.1")


@sensitive_variables("key")
@transaction.atomic
def create(*, actor: Actor, key: str = "", **values: Any) -> LLMService:
    """A service that is not enabled yet. `values` are of FIELDS. Raises InvalidInput that names the fields at fault."""
    service = LLMService(audience=Audience.NONE)
    _fill(service, values)
    _check(service)
    if key:
        sealing.put_key(service, key)
    service.save(force_insert=True)
    audit.record("service.created", actor=actor, target=service.name, type=service.type, urls=service.urls)
    return service


@sensitive_variables("key")
@transaction.atomic
def update(
    *,
    service_id: str,
    actor: Actor,
    key: str | None = None,
    allowed_networks: Iterable[str] | None = None,
    **values: Any,
) -> LLMService:
    """Change a service. `key` None leaves the stored one, "" takes it away; `allowed_networks` as `approve_networks`.

    Raises NotFound, or InvalidInput: also where the stored key is not for the new URLs, and none is entered with them.
    """
    service = _locked(service_id)
    before = {name: getattr(service, name) for name in FIELDS}
    had = list(service.allowed_networks)
    _fill(service, values)
    if allowed_networks is not None:
        service.allowed_networks = _networks(allowed_networks)
    _check(service)
    approved = service.allowed_networks != had
    changed = {name for name in FIELDS if getattr(service, name) != before[name]}
    if key is not None:
        sealing.put_key(service, key)
    elif changed & {"urls", "type"}:
        sealing.require_same_places(service)
    if service.is_enabled and (approved or changed & {"urls", "type"}):
        _may_be_called(service)
    if not changed and key is None and not approved:
        return service
    told = sorted(changed | ({"key"} if key is not None else set()))
    if changed & _REACHED_BY or key is not None or approved:
        service.next_check_at = service.listed_at = None
    service.save()
    if told:
        audit.record("service.updated", actor=actor, target=service.name, changed=told, **_seen_of_key(service, key))
    if approved:
        after = service.allowed_networks
        audit.record("service.networks_approved", actor=actor, target=service.name, before=had, after=after)
    return service


@sensitive_variables("key")
def set_key(*, service_id: str, key: str, actor: Actor) -> LLMService:
    """Store a key, or take it away (“”)."""
    return update(service_id=service_id, actor=actor, key=key)


def approve_networks(*, service_id: str, networks: Iterable[str], actor: Actor) -> LLMService:
    """Let a service be reached on these non-public networks, and on no others. For staff: doors ask for the permission.

    Raises InvalidInput for what is no network, and where an enabled service could no longer be called.
    """
    return update(service_id=service_id, actor=actor, allowed_networks=networks)


@transaction.atomic
def enable(*, service_id: str, actor: Actor) -> LLMService:
    """Watch it, list its models, and let its audience call them. Raises InvalidInput if it cannot be reached so."""
    service = _locked(service_id)
    if service.is_enabled:
        return service
    _check(service)
    _may_be_called(service)
    service.is_enabled, service.found_at, service.next_check_at = True, None, None
    service.save()
    audit.record("service.enabled", actor=actor, target=service.name)
    return service


@transaction.atomic
def disable(*, service_id: str, actor: Actor) -> LLMService:
    """Leave it alone: what it has stays known, and nobody can call it."""
    service = _locked(service_id)
    if not service.is_enabled:
        return service
    service.is_enabled, service.health, service.failures, service.error = False, Health.UNKNOWN, 0, {}
    service.latency_ms = service.up_since = service.next_check_at = None
    service.save()
    audit.record("service.disabled", actor=actor, target=service.name)
    return service


@transaction.atomic
def delete(*, service_id: str, actor: Actor) -> None:
    """Forget it, its models and its key."""
    service = _locked(service_id)
    name = service.name
    service.delete()
    audit.record("service.deleted", actor=actor, target=name)


@transaction.atomic
def set_audience(
    *, service_id: str, audience: str, actor: Actor, tenant_ids: Collection[str] | None = None
) -> LLMService:
    """Who may call it: all tenants, some (`tenant_ids`; None leaves those who may), or nobody."""
    service = _locked(service_id)
    if audience not in Audience.values:
        raise InvalidInput(
            f"There is no audience “{audience}”.",
            hint=f"It is one of: {', '.join(Audience.values)}.",
            fields={"audience": ["Not one of the choices."]},
        )
    had = set(ServiceTenant.objects.filter(service=service).values_list("tenant_id", flat=True))
    wanted = had if tenant_ids is None else {tenant_id for tenant_id in tenant_ids if tenant_id}
    if len(wanted) > MAX_TENANTS:
        raise InvalidInput(f"At most {MAX_TENANTS} tenants can be chosen.", hint="Let all tenants use it.")
    if service.audience == audience and wanted == had:
        return service
    ServiceTenant.objects.filter(service=service, tenant_id__in=had - wanted).delete()
    ServiceTenant.objects.bulk_create(ServiceTenant(service=service, tenant_id=one) for one in sorted(wanted - had))
    service.audience = audience
    service.save(update_fields=["audience", "updated_at"])
    changes.announce()
    audit.record(
        "service.audience_changed",
        actor=actor,
        target=service.name,
        audience=audience,
        added=sorted(wanted - had)[:50],
        removed=sorted(had - wanted)[:50],
    )
    return service


@transaction.atomic
def set_default(*, service_id: str | None, actor: Actor) -> None:
    """Where calls go that name no model; None: to whichever service has one loaded."""
    service = None if service_id is None else _locked(service_id)
    if service is not None and service.is_default:
        return
    had = LLMService.objects.select_for_update().filter(is_default=True).first()
    if had is service:
        return
    if had is not None:
        had.is_default = False
        had.save(update_fields=["is_default", "updated_at"])
    if service is not None:
        service.is_default = True
        service.save(update_fields=["is_default", "updated_at"])
    audit.record("service.default_changed", actor=actor, target=service.name if service is not None else "")


@transaction.atomic
def set_call_defaults(*, temperature: float | None, max_tokens: int | None, actor: Actor) -> CallDefaults:
    """What calls get that name no model and say nothing of this."""
    defaults = CallDefaults.current()
    if (defaults.temperature, defaults.max_tokens) == (temperature, max_tokens):
        return defaults
    defaults.pk, defaults.temperature, defaults.max_tokens = THE_ONE, temperature, max_tokens
    with _refused():
        defaults.clean_fields()
    defaults.save()
    changes.announce()
    audit.record("service.defaults_changed", actor=actor, temperature=temperature, max_tokens=max_tokens)
    return defaults


def named(name: str) -> LLMService:
    """The service of that name; raises NotFound."""
    service = LLMService.objects.filter(name=name).first()
    if service is None:
        raise NotFound(f"There is no service “{name[:80]}”.", code="service_not_found")
    return service


def blocked(service: LLMService) -> dict[str, str]:
    """Why some of its URLs may not be called, by URL. A host's name is looked up when it is called, not here."""
    driver = drivers.installed().get(service.type)
    allowed = parse_networks([*settings.ALLOWED_NETWORKS, *service.allowed_networks])
    found = {}
    for url in calls.urls(service, driver) if driver is not None and not driver.in_process else ():
        if reason := _reason(urlsplit(url).hostname or "", allowed):
            found[url] = reason
    return found


def _reason(host: str, allowed: Networks) -> str:
    problem = ""
    for address in _LOOPBACK if host in _LOCAL_NAMES else (host,):
        try:
            ip_address(address)
            check(address, allowed)
        except BlockedAddress as error:
            problem = str(error)
        except ValueError:  # a name
            return ""
        else:
            return ""
    return problem


def _locked(service_id: str) -> LLMService:
    service = LLMService.objects.select_for_update().filter(pk=service_id).first()
    if service is None:
        raise NotFound("There is no such service.", code="service_not_found")
    return service


def _fill(service: LLMService, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name not in FIELDS:
            raise InvalidInput(f"A service has no field “{name}”.", fields={name: ["There is no such field."]})
        setattr(service, name, value)


def _networks(texts: Iterable[str]) -> list[str]:
    try:
        return [str(network) for network in parse_networks(texts)]
    except (ValueError, TypeError) as error:
        message = f"Not a list of networks: {error}"
        raise InvalidInput(message, fields={"allowed_networks": [message]}) from None


def _check(service: LLMService) -> None:
    """Raise InvalidInput unless the row makes sense as a whole."""
    wrong: dict[str, list[str]] = {}
    if service.type not in drivers.installed():
        wrong["type"] = [f"There is no driver “{service.type}”. There are: {', '.join(sorted(drivers.installed()))}."]
    if service.api_format and not dialects.is_installed(service.api_format):
        wrong["api_format"] = [f"The wire format “{service.api_format}” is not installed."]
    for name in ("name", "description", "api_key_env_var"):
        if storable(text := getattr(service, name)) != text:
            wrong[name] = ["It holds characters that no database takes."]
    if wrong:
        raise InvalidInput("The service cannot be saved like this.", fields=wrong)
    calls.check_options(service.options)
    with _refused():
        service.full_clean(exclude=["secret"])
    _check_variable(service)


def _check_variable(service: LLMService) -> None:
    name, places = service.api_key_env_var, calls.urls(service, drivers.get(service.type))
    if name and (problem := key_variables.problem(name, places)):
        hint = key_variables.remedy(name)
        raise InvalidInput(
            problem, hint=hint, code="key_variable_not_allowed", fields={"api_key_env_var": [f"{problem} {hint}"]}
        )


class _refused:
    """What the row's own validation finds becomes an InvalidInput."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValidationError):
            fields = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
            raise InvalidInput("It cannot be saved like this.", fields=fields) from None


def _may_be_called(service: LLMService) -> None:
    if found := blocked(service):
        url, reason = next(iter(found.items()))
        raise InvalidInput(
            f"{url} may not be called: {reason}.",
            hint="Staff can approve the network it is in, such as 127.0.0.0/8 for a runtime on this machine.",
            code="network_not_approved",
            fields={"allowed_networks": [f"{each}: {why}." for each, why in found.items()]},
        )


def _seen_of_key(service: LLMService, key: str | None) -> dict[str, Any]:
    return {} if key is None else {"key_fingerprint": service.secret_fingerprint, "key_last4": service.secret_last4}
