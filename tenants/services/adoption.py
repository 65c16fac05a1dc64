"""Takes models of the last list into use, on the path of every other new model: tested first, or saved untested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from core.audit import Actor
from core.errors import Conflict, InvalidInput
from jobs.models import Job
from providers.llm_types import LLMType
from providers.models import DEFAULT_MAX_TOKENS, LLM
from tenants.models import Credential
from tenants.services import credentials, drafts
from tenants.services.discovery import Row, State, diff
from tenants.services.llm_app.outcome import check_supported
from tenants.services.tenant_llms import ModelPlan, bare_name

MAX_ADOPTED = 500


@dataclass(frozen=True, slots=True)
class Adoption:
    """`names` are the models that are, or will be, used; `job` is the test under way, None without one."""

    names: list[str]
    job: Job | None = None


@transaction.atomic
def adopt(credential: Credential, *, models: Sequence[tuple[str, str]], test: bool = True, actor: Actor) -> Adoption:
    """Let the tenant use listed models through the credential: (llm_name, model_type), or "" for all listed types.

    What is used already stays; a further type is added to it. With `test` they are saved once the credential is seen
    to work with them, all or none. Raises InvalidInput for what is not listed or has no call, and Conflict when the
    list is not there or outdated.
    """
    credentials.lock(credential.tenant)
    wanted = _wanted(credential, models)
    plans = [plan for row, kinds in wanted if (plan := _plan(credential, row, kinds, test=test)) is not None]
    names = [row.llm_name for row, _kinds in wanted]
    if not plans:
        return Adoption(names)
    given: dict[str, Any] = {"values": {}, "base_url": None, "models": plans, "replaces": credential, "actor": actor}
    if test:
        return Adoption(names, drafts.submit(tenant=credential.tenant, factory=credential.factory, **given))
    drafts.save_untested(tenant=credential.tenant, factory=credential.factory, **given)
    credentials.record("credential.updated", credential, actor, models=len(plans), tested=False)
    return Adoption(names)


def _wanted(credential: Credential, models: Sequence[tuple[str, str]]) -> list[tuple[Row, list[str]]]:
    """The chosen rows of the list, each with the types asked for."""
    if unknown := [kind for _name, kind in models if kind and kind not in set(LLMType)]:
        hint, fields = f"Known: {', '.join(LLMType)}.", {"models": ["Known model types."]}
        raise InvalidInput(f"Unknown model type: {unknown[0][:40]}", hint=hint, fields=fields, code="unknown_type")
    found = diff(credential)
    if found.listed_at is None:
        raise Conflict("The models have not been listed yet.", hint="List them first.")
    if found.outdated:
        raise Conflict(f"{credential} was changed since its models were listed.", hint="List them again.")
    listed = {
        name: row for row in found.rows if row.state is not State.GONE for name in (row.upstream_name, row.llm_name)
    }
    if missing := list(dict.fromkeys(name for name, _kind in models if name not in listed)):
        raise InvalidInput(
            f"This is not in the list: {', '.join(name[:80] for name in missing[:5])}.",
            hint="Choose among the listed models, list them again, or add this one by its name.",
            fields={"models": ["Names of listed models."]},
        )
    chosen: dict[str, tuple[Row, list[str]]] = {}
    for name, kind in models:
        row, kinds = chosen.setdefault(listed[name].llm_name, (listed[name], []))
        present = row.tenant_llm if row.state is State.PRESENT else None
        kinds.extend([kind] if kind else present.model_types if present is not None else row.model_types)
    if len(chosen) > MAX_ADOPTED:
        raise InvalidInput(f"At most {MAX_ADOPTED} models at once.", fields={"models": ["Too many."]})
    return [(row, list(dict.fromkeys(kinds))) for row, kinds in chosen.values()]


def _plan(credential: Credential, row: Row, kinds: list[str], *, test: bool) -> ModelPlan | None:
    """What the tenant's model is to become; None if it is that already."""
    if not kinds:
        raise InvalidInput(
            f"{row.llm_name} is of no type that is used here.",
            hint="Say which type it is, if it is one.",
            fields={"models": ["A model_type is needed."]},
        )
    present = row.tenant_llm
    if present is None:
        if test:
            check_supported(credential.factory, kinds, adding=True)
        llm = LLM.objects.filter(factory=credential.factory, llm_name=bare_name(row.llm_name)).first()
        return ModelPlan(row.llm_name, kinds, row.max_tokens or DEFAULT_MAX_TOKENS, row.tools, llm.pk if llm else None)
    added = [kind for kind in kinds if kind not in present.model_types]
    if not added:
        return None
    if test:
        check_supported(credential.factory, added, adding=True)
    return ModelPlan(present.llm_name, [*present.model_types, *added], present.max_tokens, llm_id=present.llm_id)
