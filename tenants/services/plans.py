"""Which models a new credential is to serve."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import InvalidInput
from providers.models import DEFAULT_MAX_TOKENS, LLM, LLMFactory
from tenants.services.tenant_llms import ModelPlan


def whole_catalogue(factory: LLMFactory) -> list[ModelPlan]:
    """Every enabled model that the catalogue has for the factory."""
    return [planned(llm, factory) for llm in factory.llms.valid().order_by("llm_name")]


def of_names(factory: LLMFactory, names: Sequence[str]) -> list[ModelPlan]:
    """The named models of the catalogue; raises InvalidInput for others, whose types nobody has told us."""
    known = {llm.llm_name: llm for llm in factory.llms.valid().filter(llm_name__in=names)}
    if missing := [name for name in names if name not in known]:
        raise InvalidInput(
            f"The catalogue has no such model of {factory.name}: {', '.join(missing[:5])}.",
            hint="Add it as a tenant model, where its types are told.",
            fields={"models": ["Names of the factory's catalogue models."]},
        )
    return [planned(known[name], factory) for name in dict.fromkeys(names)]


def planned(llm: LLM, factory: LLMFactory) -> ModelPlan:
    return ModelPlan(
        llm_name=llm.llm_name + factory.name_suffix,
        model_types=list(llm.model_types),
        max_tokens=llm.max_tokens or DEFAULT_MAX_TOKENS,
        llm_id=llm.pk,
    )
