"""Imports services from YAML: shows what would change, and changes exactly that, all of it or nothing. And the export.

    diff = preview(read(data))                                     # writes nothing
    apply(read(data), actor=actor, expected=diff.fingerprint)      # Conflict if it would do something else by now

A service that is new is enabled if nothing stands against it; nobody may call it, unless the file says who. A preview
does the whole import and takes it back, so whatever would be refused is refused there. Keys are shown by their ends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from django.db import transaction

from core import audit
from core.audit import SYSTEM, Actor
from core.errors import AppError, Conflict, InvalidInput
from core.secrets import fingerprint
from providers.catalog.diff import FieldChange
from runtimes import drivers
from runtimes.models import CallDefaults, LLMService
from runtimes.services import services
from runtimes.services.yaml_reading import COLUMNS, UPSTREAM, Config, ServiceEntry, compact

# What installations elsewhere call the same thing.
ALSO_CALLED = {"cortexso": "cortex", "llamacppserver": "llamacpp", "llamaserver": "llamacpp", "textembeddings": "tei"}
STAYS = "It stays disabled: say “enabled: true”, or enable it in the admin."
ASLEEP = "It is the default service and disabled: calls and jobs that name no service do not reach it."
NOBODY = "Nobody may call it yet: choose its audience."


@dataclass(frozen=True, slots=True)
class RowChange:
    """One service, or the defaults of calls (“llm”), and what of it changes; for a new one, all that it will have."""

    name: str
    fields: tuple[FieldChange, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "defaults" if self.name == "llm" else "service"


@dataclass(frozen=True, slots=True)
class ConfigDiff:
    """What an import does. `fingerprint` changes when anything that it shows does."""

    added: tuple[RowChange, ...]
    changed: tuple[RowChange, ...]
    unchanged: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]  # (service, what is to be known of it)

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.changed)

    @property
    def fingerprint(self) -> str:
        rows = [
            [row.name, dict(row.values), [[one.field, one.old, one.new] for one in row.fields]]
            for row in (*self.added, *self.changed)
        ]
        return hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()[:32]

    def lines(self) -> Iterator[str]:
        """The report for a terminal, line by line; the summary last."""
        for row in self.added:
            yield f"+ {row.kind} {row.name}: " + ", ".join(
                f"{name}={_shown(value)}" for name, value in row.values.items()
            )
        for row in self.changed:
            for one in row.fields:
                yield f"~ {row.kind} {row.name}: {one.field}: {_shown(one.old)} → {_shown(one.new)}"
        for name, text in self.notes:
            yield f"! service {name}: {text}"
        yield f"{len(self.added)} added, {len(self.changed)} changed, {len(self.unchanged)} unchanged"


def preview(config: Config, *, only_new: bool = False) -> ConfigDiff:
    """What importing it would do; raises InvalidInput where it would be refused. Writes nothing."""
    with transaction.atomic():
        diff = _do(config, actor=SYSTEM, only_new=only_new)
        transaction.set_rollback(True)
    return diff


@transaction.atomic
def apply(config: Config, *, actor: Actor, expected: str = "", only_new: bool = False) -> ConfigDiff:
    """Import it; Conflict if it would not do what was shown (`expected`, a fingerprint). `only_new` leaves alone
    whatever is there already, services and defaults alike."""
    diff = _do(config, actor=actor, only_new=only_new)
    if expected and diff.fingerprint != expected:
        raise Conflict(
            "The services have changed since this import was previewed.",
            hint="Preview the import again, then apply it.",
            code="stale_preview",
        )
    if not diff.is_empty:
        audit.record("service.imported", actor=actor, added=len(diff.added), changed=len(diff.changed))
    return diff


def export() -> str:
    """All services as a file that can be imported. Stored keys are left out: nobody reads them again."""
    written = {service.name: _exported(service) for service in LLMService.objects.order_by("name")}
    defaults = CallDefaults.current()
    said: dict[str, Any] = {
        "default_service": LLMService.objects.filter(is_default=True).values_list("name", flat=True).first(),
        "temperature": defaults.temperature,
        "max_tokens": defaults.max_tokens,
    }
    section = {**{name: value for name, value in said.items() if value is not None}, "services": written}
    return yaml.safe_dump({"llm": section}, sort_keys=False, allow_unicode=True, width=120)


def _do(config: Config, *, actor: Actor, only_new: bool) -> ConfigDiff:
    known = {service.name: service for service in LLMService.objects.select_for_update()}
    added, changed, unchanged, notes = [], [], [], []
    for entry in config.services:
        before = known.get(entry.name)
        if before is not None and only_new:
            unchanged.append(entry.name)
            continue
        was = {} if before is None else _state(before)
        service = _write(entry, before, actor)
        now = _state(service)
        if before is None:
            values = {name: value for name, value in now.items() if value not in ("", None, [], {})}
            added.append(RowChange(entry.name, values=values))
            if service.audience == "none":
                notes.append((entry.name, NOBODY))
        elif fields := _changes(was, now):
            changed.append(RowChange(entry.name, fields))
        else:
            unchanged.append(entry.name)
        if not service.is_enabled and entry.enabled is None:
            blocked = services.blocked(service)
            notes.extend((entry.name, f"{url}: {why}; not enabled.") for url, why in blocked.items())
            if before is not None and not blocked:
                notes.append((entry.name, STAYS))
    if not only_new and (fields := _defaults(config.said, actor)):
        changed.insert(0, RowChange("llm", fields))
        asleep = LLMService.objects.filter(is_default=True, is_enabled=False).values_list("name", flat=True)
        notes.extend((name, ASLEEP) for name in asleep)
    return ConfigDiff(tuple(added), tuple(changed), tuple(unchanged), tuple(notes))


def _write(entry: ServiceEntry, before: LLMService | None, actor: Actor) -> LLMService:
    try:
        if before is None:
            given = {"type": _type(entry), **entry.values}
            service = services.create(actor=actor, key=entry.key or "", name=entry.name, **given)
        else:
            service = before
        key = None if before is None or entry.key is None or _is_key(before, entry.key) else entry.key
        values = {} if before is None else entry.values
        networks = entry.allowed_networks
        service = services.update(service_id=service.pk, actor=actor, key=key, allowed_networks=networks, **values)
        if entry.audience is not None:
            service = services.set_audience(service_id=service.pk, audience=entry.audience, actor=actor)
        wanted = entry.enabled if before is not None or entry.enabled is not None else not services.blocked(service)
        if wanted is not None:
            service = (services.enable if wanted else services.disable)(service_id=service.pk, actor=actor)
    except AppError as error:
        where = f"llm.services.{entry.name} (line {entry.line})"
        fields = {f"{where}: {name}" if name else where: texts for name, texts in error.fields.items()}
        raise InvalidInput(f"{where}: {error.message}", hint=error.hint, code=error.code, fields=fields) from None
    return LLMService.objects.get(pk=service.pk)


def _type(entry: ServiceEntry) -> str:
    known = {compact(type): type for type in drivers.installed()}
    name = compact(entry.name)
    found = entry.values.get("type") or known.get(ALSO_CALLED.get(name, name))
    if found is None:
        raise InvalidInput(
            "Its name does not say which driver speaks to it.",
            hint=f"Add “type”, one of: {', '.join(sorted(drivers.installed()))}.",
        )
    return str(found)


def _is_key(service: LLMService, key: str) -> bool:
    """Whether it is the stored one, so that an import that says nothing new changes nothing."""
    return service.secret_fingerprint == (fingerprint(key.strip()) if key.strip() else "")


def _defaults(said: Mapping[str, Any], actor: Actor) -> tuple[FieldChange, ...]:
    """Write what the file says of all calls; what changed."""
    defaults = CallDefaults.current()
    was = {
        "default_service": LLMService.objects.filter(is_default=True).values_list("name", flat=True).first() or "",
        "temperature": defaults.temperature,
        "max_tokens": defaults.max_tokens,
    }
    now = {**was, **said}
    if "default_service" in said:
        service = LLMService.objects.filter(name=said["default_service"]).first()
        if service is None and said["default_service"]:
            raise InvalidInput(
                f"llm.default_service: there is no service “{str(said['default_service'])[:80]}”.",
                fields={"llm.default_service": ["There is no such service."]},
            )
        services.set_default(service_id=service.pk if service is not None else None, actor=actor)
    services.set_call_defaults(temperature=now["temperature"], max_tokens=now["max_tokens"], actor=actor)
    return _changes(was, now)


def _changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    return tuple(FieldChange(name, was[name], now[name]) for name in now if was[name] != now[name])


def _state(service: LLMService) -> dict[str, Any]:
    """What is shown of a service, by the names of the file."""
    shown = {name: getattr(service, column) for name, (column, _) in {**COLUMNS, **UPSTREAM}.items()}
    key = f"…{service.secret_last4} ({service.secret_fingerprint[:8]})" if service.secret is not None else ""
    return {
        **shown,
        "api_key": key,
        "enabled": service.is_enabled,
        "audience": service.audience,
        "allowed_networks": list(service.allowed_networks),
    }


def _exported(service: LLMService) -> dict[str, Any]:
    shown = _state(service)
    upstream = {name: shown.pop(name) for name in UPSTREAM}
    del shown["api_key"]
    return {**{name: value for name, value in shown.items() if value not in ("", [], {})}, "upstream": upstream}


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | list | dict) else str(value or "nothing")
