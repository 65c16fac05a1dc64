"""What kinds of work there are: data in settings.JOB_TYPES, read into `JobType` and looked up by id or alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from core.errors import InvalidInput, NotFound

_NAMED_AT_MOST = 20


class Who(StrEnum):
    """Who may ask for a job of a type, besides our own code. Staff may ask for everything but what nobody may."""

    NOBODY = "nobody"
    STAFF = "staff"
    MANAGERS = "managers"
    MEMBERS = "members"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a type's `prepare` made of a request.

    `params` replace those that were sent, and are what the handler sees. While a job of the same type and tenant with
    the same (not empty) `dedupe_key` is active, it is joined instead of a second one being made. `tenant_id` None
    means: of the tenant that asks; "" a job of the installation.
    """

    params: Mapping[str, Any]
    dedupe_key: str = ""
    tenant_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """One kind of work; every field but the id is a key of its entry in settings.JOB_TYPES.

    `handler` and `prepare` are dotted paths, imported when first needed. `params` is the JSON Schema (2020-12) of an
    object, of which `type: object` and `additionalProperties: false` go without saying. Times are of one attempt.
    """

    id: str
    handler: str
    description: str = ""
    group: str = ""
    aliases: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    prepare: str = ""
    queue: str = "default"
    timeout_s: int = 600
    max_attempts: int = 3
    retry_delay_s: float = 5.0
    stall_after_s: float | None = None
    suspendable: bool = False
    who: Who = Who.NOBODY

    @property
    def name(self) -> str:
        return self.id.rpartition(":")[2]

    @property
    def params_schema(self) -> dict[str, Any]:
        """The full JSON Schema of the params."""
        return {"type": "object", "additionalProperties": False, "properties": {}, **self.params}

    def check(self, params: Any) -> dict[str, Any]:
        """The params with the schema's defaults filled in. Raises InvalidInput that names every field at fault."""
        from jsonschema import Draft202012Validator  # only those who ask for jobs need it

        if not isinstance(params, Mapping):
            raise InvalidInput("The params are not an object.", fields={"params": ["Send an object."]})
        schema = self.params_schema
        defaults = {name: rule["default"] for name, rule in schema["properties"].items() if "default" in rule}
        filled = {**defaults, **params}
        wrong: dict[str, list[str]] = {}
        for error in sorted(Draft202012Validator(schema).iter_errors(filled), key=lambda one: str(one.path)):
            for name, text in _faults(error):
                wrong.setdefault(".".join(["params", *name])[:200], []).append(text[:300])
        if wrong:
            known = ", ".join(schema["properties"]) or "none"
            some = dict(list(wrong.items())[:_NAMED_AT_MOST])
            raise InvalidInput(f"These are no params of a job “{self.id}”.", hint=f"Its params: {known}.", fields=some)
        return filled


def _faults(error: Any) -> list[tuple[list[str], str]]:
    """Where each fault that a validator found is, and in which words. The value itself is never repeated."""
    path = [str(part) for part in error.path]
    rule, value = error.validator, error.validator_value
    match rule:
        case "required":
            return [([*path, name], "This field is required.") for name in value if name not in error.instance]
        case "additionalProperties":
            known = error.schema.get("properties", {})
            return [
                ([*path, str(name)[:100]], "There is no such field.") for name in error.instance if name not in known
            ]
        case "type":
            kinds = value if isinstance(value, list) else [value]
            return [(path, f"It must be of type {' or '.join(kinds)}.")]
        case "enum":
            return [(path, f"It must be one of: {', '.join(map(str, value))}.")]
        case "minLength":
            return [(path, f"It must have at least {value} character{'' if value == 1 else 's'}.")]
        case "maxLength":
            return [(path, f"It must have at most {value} characters.")]
        case _:
            return [(path, f"It breaks the rule “{rule}: {value}”.")]


_read: tuple[Any, dict[str, JobType], dict[str, JobType]] = (None, {}, {})


def _registry() -> tuple[dict[str, JobType], dict[str, JobType]]:
    """All types by id, and by every name they go by; read again when the setting is another one."""
    global _read
    data = settings.JOB_TYPES
    if _read[0] is not data:
        by_id = {id: _from_data(id, entry) for id, entry in data.items()}
        names = {alias: known for known in by_id.values() for alias in known.aliases} | by_id
        _read = (data, by_id, names)
    return _read[1], _read[2]


def _from_data(id: str, entry: Mapping[str, Any]) -> JobType:
    values = {"group": id.rpartition(":")[0], **entry}
    values |= {"aliases": tuple(entry.get("aliases", ())), "who": Who(entry.get("who", Who.NOBODY))}
    return JobType(id=id, **values)


def all_types() -> list[JobType]:
    """Every type, in the order of the setting."""
    return list(_registry()[0].values())


def find(name: str) -> JobType | None:
    """The type with that id or alias."""
    return _registry()[1].get(name)


def named(name: str) -> JobType:
    """The type with that id or alias. Raises InvalidInput that lists the types there are."""
    if found := find(name):
        return found
    raise InvalidInput(
        f"There is no job of the type “{name[:100]}”.",
        hint=f"There are: {', '.join(sorted(_registry()[0]))}.",
        fields={"type": ["There is no such type."]},
    )


def must_find(name: str) -> JobType:
    """The type with that id or alias. Raises NotFound."""
    if found := find(name):
        return found
    raise NotFound("There is no such type of job.")


def prepared(job_type: JobType, params: Mapping[str, Any], *, actor: Any, tenant_id: str, is_staff: bool) -> Prepared:
    """What the type's own hook makes of checked params; raises what the hook raises."""
    if not job_type.prepare:
        return Prepared(params)
    hook = import_string(job_type.prepare)
    made: Prepared = hook(params, actor=actor, tenant_id=tenant_id, is_staff=is_staff)
    return made


def one_at_a_time(params: Mapping[str, Any], *, actor: Any, tenant_id: str, is_staff: bool) -> Prepared:
    """A `prepare` for types of which one job at a time is enough: whoever asks meanwhile joins it."""
    return Prepared(params, dedupe_key="one")
