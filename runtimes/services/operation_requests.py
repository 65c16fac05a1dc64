"""What may be asked to be done to the models of services, and by whom: checked before there is a job.

A model is named with its service, or as `service~model`; the default service need not be named. What a runtime cannot
do is refused here, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from core.audit import Actor
from core.errors import Conflict, Forbidden, InvalidInput, NotFound
from jobs.services.types import Prepared
from runtimes import drivers
from runtimes.drivers.base import Driver
from runtimes.models import Audience, LLMService, ModelState, ServiceModel
from runtimes.services import calls

APART = "~"
LATEST = ":latest"  # a tag that need not be written
# What managers of tenants may do to services that others use, too, unless the service's options say more.
HARMLESS = frozenset({"load", "refresh"})


@dataclass(frozen=True, slots=True)
class Verb:
    """`known`: the model has to be there. `passing`: its state meanwhile. `idle`: where there is nothing to do."""

    name: str
    known: bool = True
    passing: ModelState | None = None
    idle: ModelState | None = None

    @property
    def capability(self) -> str:
        return f"{self.name}_model"


INSTALL = Verb("install", known=False)
IMPORT = Verb("import", known=False)
UPDATE = Verb("update")
LOAD = Verb("load", passing=ModelState.LOADING, idle=ModelState.LOADED)
UNLOAD = Verb("unload", idle=ModelState.NOT_LOADED)
DELETE = Verb("delete", passing=ModelState.REMOVING)
VERBS = {verb.name: verb for verb in (INSTALL, IMPORT, UPDATE, LOAD, UNLOAD, DELETE)}


def prepare(verb: str, params: Mapping[str, Any], *, actor: Actor, tenant_id: str, is_staff: bool) -> Prepared:
    """Check what is asked, and name it in full.

    Raises NotFound (service, model; also of what the tenant may not see), Forbidden, Conflict (not enabled),
    InvalidInput (no model named; the runtime cannot do it).
    """
    asked = VERBS[verb]
    service_name, model_name = _parts(params)
    service = visible(service_name, tenant_id=tenant_id, is_staff=is_staff)
    _may(service, verb, tenant_id=tenant_id, is_staff=is_staff, options=params.get("options"))
    ready(service)
    able(service, asked)
    if asked.known:
        model_name = _known(service, model_name).name
    given = {**params, "service_name": service.name, "model_name": model_name}
    return Prepared(given, dedupe_key=f"{service.pk}:{model_name}")


def prepare_service(params: Mapping[str, Any], *, actor: Actor, tenant_id: str, is_staff: bool) -> Prepared:
    """Check that there is such a service, for jobs that are about no model."""
    service = visible(str(params["service_name"]), tenant_id=tenant_id, is_staff=is_staff)
    _may(service, "refresh", tenant_id=tenant_id, is_staff=is_staff)
    return Prepared({**params, "service_name": service.name}, dedupe_key=service.pk)


def _parts(params: Mapping[str, Any]) -> tuple[str, str]:
    """The names of service and model; the service's may be in front of the model's."""
    service_name, model_name = str(params.get("service_name") or "").strip(), str(params["model_name"]).strip()
    before, apart, after = model_name.partition(APART)
    if apart and service_name in ("", before):
        service_name, model_name = before, after
    if not model_name:
        raise InvalidInput("No model is named.", fields={"params.model_name": ["Name a model."]})
    return service_name, model_name


def visible(name: str, *, tenant_id: str, is_staff: bool) -> LLMService:
    """The service of that name, or the default one; raises NotFound also for what the tenant may not see."""
    services = LLMService.objects.all() if is_staff else LLMService.objects.for_tenant(tenant_id)
    found = services.filter(name=name) if name else services.filter(is_default=True)
    if (service := found.first()) is not None:
        return service
    if name:
        raise NotFound(f"There is no service “{name[:80]}”.", code="service_not_found")
    message = "Say of which service: there is no default one that you may use."
    raise InvalidInput(message, hint="Name the model as service~model.", fields={"params.service_name": [message]})


def _may(service: LLMService, verb: str, *, tenant_id: str, is_staff: bool, options: Any = None) -> None:
    """Staff may all; a tenant's managers what harms nobody else, or what the service's options let them.

    `options` of a load are not harmless: they may take all the memory there is.
    """
    if is_staff or verb in (service.options.get(calls.MANAGERS_MAY) or ()) or (verb in HARMLESS and not options):
        return
    if service.audience == Audience.SOME and [one.tenant_id for one in service.tenants.all()[:2]] == [tenant_id]:
        return
    what = f"to {verb} its models{' with options' if verb in HARMLESS else ''} takes staff"
    raise Forbidden(
        f"Others use the service “{service.name}”, too: {what}.",
        hint="Ask an administrator, who can also let managers do this.",
        code="staff_only",
    )


def ready(service: LLMService) -> None:
    """Raise Conflict unless the service is enabled."""
    if not service.is_enabled:
        raise Conflict(
            f"The service “{service.name}” is not enabled.", hint="Enable it first.", code="service_not_enabled"
        )


def able(service: LLMService, verb: Verb) -> Driver:
    """The service's driver; raises InvalidInput if it has not this verb."""
    driver = drivers.get(service.type)
    if not calls.can(service, verb.capability):
        able = [name for name in VERBS if calls.can(service, VERBS[name].capability)]
        raise InvalidInput(
            f"{driver.label} cannot {verb.name} models over its API; nothing was sent.",
            hint=f"It can {', '.join(able)}." if able else "Do it with the runtime's own tools, and refresh the list.",
            code="not_supported",
        )
    return driver


def _known(service: LLMService, name: str) -> ServiceModel:
    present = ServiceModel.objects.present().filter(service=service)
    model = present.filter(name=name).first() or present.filter(name=f"{name}{LATEST}").first()
    if model is None:
        raise NotFound(
            f"The service “{service.name}” has no model “{name[:120]}”.",
            hint="If it was installed elsewhere, refresh the list of its models first.",
            code="model_not_found",
        )
    return model


prepare_install = partial(prepare, "install")
prepare_import = partial(prepare, "import")
prepare_update = partial(prepare, "update")
prepare_load = partial(prepare, "load")
prepare_unload = partial(prepare, "unload")
prepare_delete = partial(prepare, "delete")
