"""AWS roles: whose id a role is assumed for, and with whose keys."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from core.secrets import SecretMisdirected
from providers import signers
from providers.errors import Unsupported
from providers.signers.exchange import Exchange
from providers.target import Target
from providers.wire import UpstreamRequest
from tenants.models import Credential, Tenant
from tenants.services import credentials
from tests.people import People
from tests.tenants.setting import ACTOR, make_factory

OURS = ("AKIDINSTALLATION", "own/SecretKeyOfTheInstallation")
KEYS = {"bedrock_ak": "AKIDEXAMPLE", "bedrock_sk": "a-secret-0123456789"}
ROLE = "arn:aws:iam::123456789012:role/llm"
FIELDS = [
    {"name": "auth_mode", "label": "Authentication", "secret": False, "required": True, "default": "access_key_secret"},
    *({"name": name, "label": name, "secret": True, "required": False} for name in KEYS),
    {"name": "bedrock_region", "label": "Region", "secret": False, "required": True, "default": "us-east-1"},
    {"name": "aws_role_arn", "label": "Role", "secret": False, "required": False},
]


def saved(tenant: Tenant, **values: str) -> Credential:
    factory = make_factory(
        f"AWS {tenant.pk}",
        base_url="https://bedrock-runtime.us-east-1.amazonaws.com",
        signer="sigv4:bedrock",
        quirks={"token_url": "https://sts.{bedrock_region}.amazonaws.com"},
        credential_fields=FIELDS,
    )
    return credentials.create(
        tenant=tenant, factory=factory, values={"aws_role_arn": ROLE, **values}, base_url="", actor=ACTOR
    )


def exchanged(target: Target) -> tuple[Exchange, dict[str, Any]]:
    request = UpstreamRequest("POST", f"{target.base_url}/model/m/converse", {}, b"{}")
    exchange = signers.get(target.signer).exchange(request, target.credential, target.token_url)
    assert exchange is not None
    asked = exchange.build().request
    assert asked.url == "https://sts.us-east-1.amazonaws.com/"
    return exchange, {**parse_qs((asked.body or b"").decode()), "signed": asked.headers["Authorization"]}


def test_a_tenants_role_is_assumed_with_its_own_id_and_nobody_elses(people: People, settings: Any) -> None:
    settings.ASSUME_ROLE_KEYS = OURS
    found = []
    for tenant in (people.tenant, people.elsewhere):
        target = credentials.target_for(saved(tenant, auth_mode="iam_role"), llm_name="m")
        exchange, form = exchanged(target)
        assert form["ExternalId"] == [tenant.pk]
        assert form["RoleArn"] == [ROLE]
        assert f"Credential={OURS[0]}/" in form["signed"]
        found.append(exchange.identity)
    assert found[0] != found[1]


def test_without_keys_of_its_own_the_installation_refuses(people: People) -> None:
    target = credentials.target_for(saved(people.tenant, auth_mode="iam_role"), llm_name="m")
    with pytest.raises(Unsupported, match="no AWS keys of its own"):
        exchanged(target)


def test_a_tenants_own_keys_assume_a_role_at_the_declared_address(people: People, settings: Any) -> None:
    settings.ASSUME_ROLE_KEYS = OURS
    credential = saved(people.tenant, auth_mode="assume_role", **KEYS)
    _, form = exchanged(credentials.target_for(credential, llm_name="m"))
    assert "ExternalId" not in form
    assert f"Credential={KEYS['bedrock_ak']}/" in form["signed"]


def test_the_installations_keys_are_told_to_the_token_address_only(people: People, settings: Any) -> None:
    settings.ASSUME_ROLE_KEYS = OURS
    credential = saved(people.tenant, auth_mode="iam_role")
    own = credentials.own_keys(credential)
    assert own is not None
    assert json.loads(own.reveal(origin="https://sts.us-east-1.amazonaws.com:443")) == {
        "aws_access_key_id": OURS[0],
        "aws_secret_access_key": OURS[1],
    }
    with pytest.raises(SecretMisdirected):
        own.reveal(origin="https://bedrock-runtime.us-east-1.amazonaws.com:443")
    for quirks in ({}, {"token_url": "http://sts.example"}):
        credential.factory.quirks = quirks
        assert credentials.own_keys(credential) is None
