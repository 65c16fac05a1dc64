"""What a catalogue row refuses to be."""

from __future__ import annotations

import itertools

import pytest
from django.core.exceptions import ValidationError

from providers.llm_types import LLMType
from providers.models import LLM, LLMFactory

pytestmark = pytest.mark.django_db


def test_a_secret_field_stays_secret() -> None:
    factory = LLMFactory.objects.create(name="V")
    factory.credential_fields = [{"name": "api_key", "label": "API key", "secret": False}]
    with pytest.raises(ValidationError, match="A secret stays one"):
        factory.full_clean()
    factory.credential_fields = [{"name": "region", "label": "Region"}, {"name": "api_key", "secret": True}]
    factory.full_clean()


@pytest.mark.parametrize("networks", ["10.0.0.0/8", [5], ["nonsense"], {"a": 1}])
def test_networks_are_a_list_of_networks(networks: object) -> None:
    with pytest.raises(ValidationError):
        LLMFactory(name="V", allowed_networks=networks).full_clean()


def test_no_types_name_is_part_of_anothers() -> None:
    """By which one type is found in the comma-separated column."""
    assert not any(one in other for one, other in itertools.permutations([kind.value for kind in LLMType], 2))


def test_models_are_found_by_any_of_their_types() -> None:
    factory = LLMFactory.objects.create(name="V")
    LLM.objects.create(factory=factory, llm_name="both", model_types=["chat", "image2text"])
    LLM.objects.create(factory=factory, llm_name="one", model_types=["embedding"])
    assert [row.llm_name for row in LLM.objects.of_type("image2text")] == ["both"]
    assert LLM.objects.get(llm_name="both").model_types == ["chat", "image2text"]
