"""Saving, changing and deleting keys."""

from __future__ import annotations

import pytest

from core.errors import Conflict, InvalidInput
from core.origins import origin_of
from core.secrets import SecretMisdirected, SecretMisplaced, SecretUnreadable
from tenants.models import AuditEvent, Credential, CredentialState, TenantLLM
from tenants.services import credentials, drafts
from tests.people import People
from tests.tenants.setting import ACTOR, make_factory, save_credential, serve

KEY = "sk-original-0123456789"
HERE = {"base_url": "https://here.example/v1"}


def key_of(credential: Credential) -> str:
    opened = credential.open_secret()
    assert opened is not None
    return opened.reveal(origin=origin_of(credential.effective_base_url))


def test_key_is_kept_as_ciphertext_last_four_and_fingerprint(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(), None, values={"api_key": f"  {KEY}\n"}, **HERE)
    credential.refresh_from_db()
    assert credential.secret is not None and KEY not in credential.secret.token
    assert credential.secret_last4 == "6789"
    assert len(credential.secret_fingerprint) == 16
    assert key_of(credential) == KEY


def test_key_is_told_only_to_its_own_origin(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(), None, **HERE)
    opened = credential.open_secret()
    assert opened is not None
    for origin in ("https://there.example:443", "http://here.example:80", "https://here.example:8443", ""):
        with pytest.raises(SecretMisdirected):
            opened.reveal(origin=origin)


def test_ciphertext_copied_to_another_row_is_refused(people: People) -> None:
    factory = make_factory()
    victim = save_credential(people.tenant, factory, None, **HERE)
    thief = save_credential(people.elsewhere, factory, None, **HERE)
    Credential.objects.filter(pk=thief.pk).update(secret=victim.secret)
    thief.refresh_from_db()
    with pytest.raises(SecretMisplaced):
        thief.open_secret()


def test_blank_values_keep_the_key(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(), None, values={"api_key": KEY}, **HERE)
    for values in ({}, {"api_key": ""}, {"api_key": None}):
        credential = credentials.update(credential, actor=ACTOR, values=values, label="renamed")
    assert key_of(credential) == KEY
    assert credential.label == "renamed"


def test_another_path_on_the_same_server_keeps_the_key(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(), None, values={"api_key": KEY}, **HERE)
    credential = credentials.update(credential, actor=ACTOR, base_url="https://here.example/other/v2")
    assert key_of(credential) == KEY


def test_another_server_needs_the_key_again(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(), None, values={"api_key": KEY}, **HERE)
    with pytest.raises(InvalidInput, match="another server"):
        credentials.update(credential, actor=ACTOR, base_url="https://there.example/v1")
    credential.refresh_from_db()
    assert credential.base_url == HERE["base_url"]
    moved = credentials.update(
        credential, actor=ACTOR, base_url="https://there.example/v1", values={"api_key": "sk-another-000000"}
    )
    assert key_of(moved) == "sk-another-000000"


def test_changed_key_is_untested_again(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(), None, **HERE)
    Credential.objects.update(state=CredentialState.QUARANTINED, verdict="bad_key", reason="no", failures=3)
    changed = credentials.update(credential, actor=ACTOR, values={"api_key": "sk-another-000000"})
    assert (changed.state, changed.verdict, changed.failures) == (CredentialState.UNTESTED, "untested", 0)


def test_several_secret_fields_are_kept_together_and_changed_one_by_one(people: People) -> None:
    factory = make_factory(
        credential_fields=[
            {"name": "id", "secret": True, "required": True},
            {"name": "key", "secret": True, "required": True},
            {"name": "region", "secret": False, "default": "eu"},
        ]
    )
    credential = save_credential(people.tenant, factory, None, values={"id": "AK", "key": "SK"}, **HERE)
    assert credential.fields == {"region": "eu"}
    credential = credentials.update(credential, actor=ACTOR, values={"key": "SK2"})
    assert credentials.saved_parts(credential) == {"id": "AK", "key": "SK2"}


def test_several_credentials_of_one_factory_have_their_own_labels(people: People) -> None:
    factory = make_factory()
    first = save_credential(people.tenant, factory, None, base_url="http://gpu-1:8000/v1")
    second = save_credential(people.tenant, factory, None, base_url="http://gpu-2:8000/v1")
    third = save_credential(people.tenant, factory, None, base_url="http://gpu-2:8000/v1")
    assert [first.label, second.label, third.label] == ["default", "gpu-2:8000", "gpu-2:8000-2"]
    for credential in (first, second):
        serve(credential, same_model="chat")
    assert TenantLLM.objects.filter(llm_name="same-model").count() == 2
    with pytest.raises(Conflict):
        save_credential(people.tenant, factory, None, label="default", **HERE)


def test_deleting_takes_the_models_along_and_is_audited(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(), None, **HERE)
    serve(credential, fake_chat="chat")
    credentials.delete(credential, actor=ACTOR)
    assert not Credential.objects.exists() and not TenantLLM.objects.exists()
    actions = list(AuditEvent.objects.filter(tenant_id=people.tenant.pk).values_list("action", flat=True))
    assert actions[0] == "credential.deleted"


def test_damaged_ciphertext_is_unreadable_not_a_key(people: People) -> None:
    from core.secrets import SealedSecret

    credential = save_credential(people.tenant, make_factory(), None, **HERE)
    assert credential.secret is not None
    token = credential.secret.token
    damaged = token[:60] + ("A" if token[60] != "A" else "B") + token[61:]
    Credential.objects.update(secret=SealedSecret(damaged))
    credential.refresh_from_db()
    with pytest.raises(SecretUnreadable):
        credential.open_secret()
    assert list(Credential.objects.for_tenant(people.tenant)) == [credential]


def test_keyless_factory_needs_no_key(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(keyless=True), None, values={}, **HERE)
    assert credential.secret is None and credential.open_secret() is None


def test_unknown_status_is_refused(people: People) -> None:
    credential = save_credential(people.tenant, make_factory(), None, **HERE)
    with pytest.raises(InvalidInput):
        credentials.update(credential, actor=ACTOR, status="yes")


def other_hosts(**base_urls: str) -> dict[str, object]:
    return {"base_url": "https://api.example/v1", "quirks": {"base_urls": base_urls}}


def reveal_for(credential: Credential, url: str) -> str:
    credential.refresh_from_db()
    opened = credential.open_secret()
    assert opened is not None
    return opened.reveal(origin=origin_of(url))


def test_key_goes_to_the_hosts_that_staff_declared_when_it_was_saved(people: People) -> None:
    factory = make_factory(**other_hosts(rerank="https://rerank.example/v2"))
    credential = save_credential(people.tenant, factory, None, values={"api_key": KEY})
    assert reveal_for(credential, "https://api.example/") == KEY
    assert reveal_for(credential, "https://rerank.example/v2/rerank") == KEY
    factory.quirks = {"base_urls": {"rerank": "https://later.example/v2"}}
    factory.save()
    with pytest.raises(SecretMisdirected):
        reveal_for(credential, "https://later.example/v2")


def test_a_declared_host_without_tls_never_gets_the_key(people: People) -> None:
    factory = make_factory(**other_hosts(rerank="http://rerank.example/v2"))
    credential = save_credential(people.tenant, factory, None, values={"api_key": KEY})
    with pytest.raises(SecretMisdirected):
        reveal_for(credential, "http://rerank.example/v2")


def test_a_base_url_of_ones_own_keeps_the_key_from_the_vendors_other_hosts(people: People) -> None:
    factory = make_factory(**other_hosts(rerank="https://rerank.example/v2"))
    credential = save_credential(people.tenant, factory, None, values={"api_key": KEY})
    for base_url in ("https://api.example/other", ""):  # and back: what a key has lost it gets only with a new entry
        credential = credentials.update(credential, actor=ACTOR, base_url=base_url)
        assert reveal_for(credential, "https://api.example/") == KEY
        with pytest.raises(SecretMisdirected):
            reveal_for(credential, "https://rerank.example/v2")
    credentials.update(credential, actor=ACTOR, values={"api_key": KEY})
    assert reveal_for(credential, "https://rerank.example/v2") == KEY


def test_an_edit_does_not_send_a_saved_key_to_a_host_declared_since(people: People) -> None:
    factory = make_factory(**other_hosts(rerank="https://rerank.example/v2"))
    credential = save_credential(people.tenant, factory, None, values={"api_key": KEY})
    factory.quirks = {"base_urls": {"rerank": "https://later.example/v2"}}
    factory.save()
    drafts.submit(
        tenant=people.tenant, factory=factory, values={}, base_url=None, models=[], replaces=credential, actor=ACTOR
    )
    draft = Credential.objects.get(replaces=credential)
    assert reveal_for(draft, "https://api.example/") == KEY
    with pytest.raises(SecretMisdirected):
        reveal_for(draft, "https://later.example/v2")


def test_a_key_may_reach_the_declared_token_endpoint_also_with_a_base_url_of_ones_own(people: People) -> None:
    factory = make_factory(base_url="https://api.example/v1", quirks={"token_url": "https://login.example"})
    credential = save_credential(people.tenant, factory, None, values={"api_key": KEY})
    for base_url in ("https://api.example/other", ""):
        credential = credentials.update(credential, actor=ACTOR, base_url=base_url)
        assert reveal_for(credential, "https://login.example/token") == KEY
    factory.quirks = {"token_url": "https://later.example"}
    factory.save()
    with pytest.raises(SecretMisdirected):
        reveal_for(credential, "https://later.example/token")


def test_a_field_that_moves_the_token_endpoint_needs_the_key_again(people: People) -> None:
    fields = [
        {"name": "api_key", "label": "Key", "secret": True, "required": True},
        {"name": "region", "label": "Region", "secret": False, "required": True},
    ]
    quirks = {"token_url": "https://sts.{region}.vendor.example"}
    factory = make_factory(base_url="https://api.example/v1", quirks=quirks, credential_fields=fields)
    credential = save_credential(people.tenant, factory, None, values={"api_key": KEY, "region": "eu-1"})
    assert reveal_for(credential, "https://sts.eu-1.vendor.example/") == KEY
    with pytest.raises(InvalidInput):
        credentials.update(credential, actor=ACTOR, values={"region": "us-1"})
    with pytest.raises(InvalidInput):
        credentials.update(credential, actor=ACTOR, values={"region": "evil.example/"})
    credential.refresh_from_db()
    credentials.update(credential, actor=ACTOR, values={"region": "us-1", "api_key": KEY})
    assert reveal_for(credential, "https://sts.us-1.vendor.example/") == KEY


def test_a_model_type_may_be_signed_another_way(people: People) -> None:
    factory = make_factory(quirks={"signers": {"speech2text": "header:authorization:Token"}})
    credential = save_credential(people.tenant, factory, None, **HERE)
    for kind, signer in (("speech2text", "header:authorization:Token"), ("chat", "bearer"), (None, "bearer")):
        assert credentials.target_for(credential, llm_name="m", model_type=kind).signer == signer
