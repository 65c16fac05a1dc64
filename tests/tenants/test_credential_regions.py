"""Keys of a vendor whose host is named after the credential's region."""

from __future__ import annotations

import json

import pytest

from core.errors import InvalidInput
from core.origins import origin_of
from providers.models import LLMFactory
from providers.quirks import Quirks
from tenants.models import Credential
from tenants.services import credentials
from tests.people import People
from tests.tenants.setting import ACTOR, make_factory, save_credential

KEYS = {"bedrock_ak": "AKIDEXAMPLE", "bedrock_sk": "a-secret-0123456789"}
EAST, WEST = (f"https://bedrock-runtime.{name}.amazonaws.com" for name in ("us-east-1", "eu-west-1"))


def regional() -> LLMFactory:
    factory = make_factory()
    factory.base_url = EAST
    factory.quirks = {"base_url": "https://bedrock-runtime.{bedrock_region}.amazonaws.com"}
    factory.credential_fields = [
        *({"name": name, "label": name, "secret": True, "required": False} for name in KEYS),
        {"name": "bedrock_region", "label": "Region", "secret": False, "required": True, "default": "us-east-1"},
    ]
    factory.save()
    return factory


def saved(people: People, **values: str) -> Credential:
    return save_credential(people.tenant, regional(), None, values={**KEYS, **values}, base_url="")


def test_the_key_is_sealed_for_the_host_of_its_region(people: People) -> None:
    credential = saved(people, bedrock_region="eu-west-1")
    opened = credential.open_secret()
    assert opened is not None
    assert json.loads(opened.reveal(origin=origin_of(WEST))) == KEYS
    target = credentials.target_for(credential, llm_name="m")
    assert (target.base_url, target.own_base_url) == (WEST, False)
    assert saved_default(people) == EAST


def saved_default(people: People) -> str:
    credential = credentials.create(
        tenant=people.tenant, factory=LLMFactory.objects.latest("pk"), values=KEYS, label="other", actor=ACTOR
    )
    return credential.effective_base_url


def test_another_region_needs_the_key_again(people: People) -> None:
    credential = saved(people)
    with pytest.raises(InvalidInput, match="another server"):
        credentials.update(credential, actor=ACTOR, values={"bedrock_region": "eu-west-1"})
    moved = credentials.update(credential, actor=ACTOR, values={**KEYS, "bedrock_region": "eu-west-1"})
    opened = moved.open_secret()
    assert opened is not None
    assert json.loads(opened.reveal(origin=origin_of(WEST))) == KEYS


@pytest.mark.parametrize("region", ["evil.example", "a/b", "x@evil", "EU-WEST-1", "a" * 40, "eu--1", "-a", "ü"])
def test_a_region_that_could_name_another_host_is_refused(people: People, region: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        saved(people, bedrock_region=region)
    assert "bedrock_region" in (caught.value.fields or {})
    assert LLMFactory.objects.latest("pk").base_url_for({"bedrock_region": region}) == EAST


def test_a_tenants_own_base_url_takes_its_place(people: People) -> None:
    credential = saved(people, bedrock_region="eu-west-1")
    moved = credentials.update(credential, actor=ACTOR, values=KEYS, base_url="https://proxy.example")
    assert moved.effective_base_url == "https://proxy.example"


@pytest.mark.parametrize(
    "template",
    [
        *("https://h.example.com", "http://{r}.example.com", "https://a.{r}", "https://{r}.com", "https://a.{r}.com"),
        *("https://{r}.example.com/{r}", "https://{R}.example.com", "https://{r}.example.com?x", "{r}", "https://{r"),
    ],
)
def test_a_template_may_vary_only_below_the_vendors_domain(template: str) -> None:
    with pytest.raises(ValueError, match=r"quirks\.base_url"):
        Quirks.from_data({"base_url": template})
