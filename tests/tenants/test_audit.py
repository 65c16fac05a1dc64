"""The audit log holds exactly what was committed, and never a secret."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from core import audit
from core.audit import SYSTEM, Actor
from tenants.models import AuditEvent
from tests.people import make_user

KEY = "sk-proj-Zq8vJ3mN5tR7wY1bD4gH6kL9"


@pytest.fixture(autouse=True)
def database(transactional_db: None) -> None:
    pass


def kept(**detail: Any) -> Any:
    audit.record("thing.changed", actor=SYSTEM, **detail)
    return AuditEvent.objects.latest("id").detail


def test_an_event_says_who_did_what_to_what() -> None:
    user = make_user("ada")
    actor = Actor(user_id=user.pk, token_id="t" * 32, label="ada (ci)", address="2001:db8::1")
    audit.record("credential.created", actor=actor, tenant_id="a" * 32, target="OpenAI (default)", models=3)
    event = AuditEvent.objects.get()
    assert (event.action, event.tenant_id, event.user, event.actor) == (
        "credential.created",
        "a" * 32,
        user,
        "ada (ci)",
    )
    assert (event.token_id, event.address, event.target) == ("t" * 32, "2001:db8::1", "OpenAI (default)")
    assert event.detail == {"models": 3}


def test_an_event_of_the_system_names_nobody() -> None:
    audit.record("job.swept", actor=SYSTEM)
    event = AuditEvent.objects.get()
    assert (event.user_id, event.token_id, event.tenant_id, event.actor) == (None, "", "", "system")


def test_what_is_rolled_back_leaves_no_event() -> None:
    with transaction.atomic():
        audit.record("thing.changed", actor=SYSTEM)
        transaction.set_rollback(True)
    assert not AuditEvent.objects.exists()


def test_a_change_that_cannot_be_recorded_is_not_made() -> None:
    with pytest.raises(Exception), transaction.atomic():  # noqa: B017
        make_user("bob")
        audit.record("user.made", actor=Actor(user_id=-1))
        transaction.set_rollback(False)
        transaction.get_connection().check_constraints()
    from django.contrib.auth.models import User

    assert not User.objects.filter(username="bob").exists()


def test_long_texts_are_cut_to_their_columns() -> None:
    audit.record("a" * 100, actor=Actor(label="l" * 300, address="1" * 90), target="t" * 999, note="n" * 9_999)
    event = AuditEvent.objects.get()
    event.full_clean(exclude=["user"])
    assert len(event.detail["note"]) == 500


def test_large_details_are_cut() -> None:
    detail = kept(
        items=list(range(1000)), deep={"a": {"b": {"c": {"d": {"e": 1}}}}}, **{f"k{n}": n for n in range(300)}
    )
    assert len(detail) <= 100
    assert len(detail["items"]) == 100
    assert isinstance(detail["deep"]["a"]["b"]["c"], str)


@pytest.mark.parametrize(
    "detail",
    [
        {"note": f"The key {KEY} was refused."},
        {"nested": {"list": [f"Bearer {KEY}"]}},
        {"header": f"Authorization: Bearer {KEY}"},
        {"api_key": "plain words that look like nothing", "expected": "[redacted]"},
        {"url": f"https://user:{KEY}@example.com/?key={KEY}"},
        {KEY: "as a name"},
        {"error": ValueError(f"no good: {KEY}")},
    ],
)
def test_no_secret_gets_in(detail: dict[str, Any]) -> None:
    stored = str(kept(**detail))
    assert KEY not in stored
    assert "plain words" not in stored


def test_a_secret_in_the_target_or_the_actors_label_does_not_get_in() -> None:
    audit.record("thing.changed", actor=Actor(label=f"who {KEY}"), target=f"what {KEY}")
    event = AuditEvent.objects.get()
    assert KEY not in f"{event.actor} {event.target}"


def test_names_of_models_and_fingerprints_stay_readable() -> None:
    detail = kept(model="jina-embeddings-v3@Jina", fingerprint="0123456789abcdef", last4="kL9x", types=["chat"])
    assert detail == {
        "model": "jina-embeddings-v3@Jina",
        "fingerprint": "0123456789abcdef",
        "last4": "kL9x",
        "types": ["chat"],
    }


@pytest.mark.parametrize("text", ["nul \0 byte", "half a pair \ud800", "Ünïcødé 🎈"])
def test_any_text_can_be_kept(text: str) -> None:
    assert kept(note=text)["note"]
    audit.record("thing.changed", actor=SYSTEM, target=text)
