"""What an edit of a credential keeps, clears and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InvalidInput
from core.origins import origin_of
from providers.models import LLMFactory
from tenants.models import Credential
from tenants.services import credentials
from tests.people import People
from tests.tenants.setting import ACTOR, make_factory, save_credential

HERE, THERE = "https://here.example/v1", "https://there.example/v1"
FIELDS: list[dict[str, Any]] = [
    {"name": "api_key", "secret": True, "required": True},
    {"name": "api_version", "secret": False},
    {"name": "region", "secret": False, "required": True, "default": "eu"},
    {"name": "project", "secret": False, "required": True},
]
PAIR: list[dict[str, Any]] = [
    {"name": "id", "secret": True, "required": True},
    {"name": "key", "secret": True, "required": True},
]


def saved(people: People) -> Credential:
    values = {"api_key": "sk-original-0123456789", "api_version": "2024-02", "region": "us", "project": "p1"}
    return save_credential(people.tenant, make_factory(credential_fields=FIELDS), None, values=values, base_url=HERE)


def test_blank_clears_what_is_not_secret(people: People) -> None:
    changed = credentials.update(saved(people), actor=ACTOR, values={"api_key": "", "api_version": ""})
    assert changed.fields == {"region": "us", "project": "p1"}
    assert changed.secret is not None


def test_what_is_not_given_stays(people: People) -> None:
    changed = credentials.update(saved(people), actor=ACTOR, values={"api_version": None, "project": "p2"})
    assert changed.fields == {"api_version": "2024-02", "region": "us", "project": "p2"}


def test_blank_takes_a_field_back_to_its_default(people: People) -> None:
    assert credentials.update(saved(people), actor=ACTOR, values={"region": " "}).fields["region"] == "eu"


def test_required_field_cannot_be_cleared(people: People) -> None:
    credential = saved(people)
    with pytest.raises(InvalidInput) as caught:
        credentials.update(credential, actor=ACTOR, values={"project": ""})
    assert set(caught.value.fields or {}) == {"project"}
    credential.refresh_from_db()
    assert credential.fields["project"] == "p1"


def pair_factory(**values: Any) -> LLMFactory:
    return make_factory(credential_fields=PAIR, **values)


def test_half_a_key_does_not_move_to_another_server_alone(people: People) -> None:
    credential = save_credential(people.tenant, pair_factory(), None, values={"id": "AK", "key": "SK"}, base_url=HERE)
    with pytest.raises(InvalidInput) as caught:
        credentials.update(credential, actor=ACTOR, base_url=THERE, values={"key": "SK2"})
    assert set(caught.value.fields or {}) == {"id"}
    credential.refresh_from_db()
    assert credentials.saved_parts(credential) == {"id": "AK", "key": "SK"}


def test_half_a_key_does_not_replace_a_whole_that_cannot_be_read(
    people: People, settings: pytest.FixtureRequest
) -> None:
    from cryptography.fernet import Fernet

    credential = save_credential(people.tenant, pair_factory(), None, values={"id": "AK", "key": "SK"}, base_url=HERE)
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    with pytest.raises(InvalidInput):
        credentials.update(credential, actor=ACTOR, values={"key": "SK2"})


def test_key_does_not_follow_a_factory_that_moved(people: People) -> None:
    factory = pair_factory(base_url=HERE)
    credential = save_credential(people.tenant, factory, None, values={"id": "AK", "key": "SK"})
    factory.base_url = THERE
    factory.save()
    credential = Credential.objects.get(pk=credential.pk)
    assert credentials.saved_parts(credential) == {}
    with pytest.raises(InvalidInput):
        credentials.update(credential, actor=ACTOR, values={"key": "SK2"})
    moved = credentials.update(credential, actor=ACTOR, values={"id": "AK2", "key": "SK2"})
    opened = moved.open_secret()
    assert opened is not None and opened.origin == origin_of(THERE)


@pytest.mark.parametrize("text", ["123456", '"quoted"', "[1]", "null"])
def test_key_from_before_the_factory_had_several_fields_stays_a_key(people: People, text: str) -> None:
    from tenants.services.values import secret_parts

    assert secret_parts(pair_factory(), text) == {"id": text}
