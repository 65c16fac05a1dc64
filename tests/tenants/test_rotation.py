"""Rotation puts every secret under the primary key, overwrites nothing newer, and names what it cannot read."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from core.audit import SYSTEM
from core.errors import Conflict
from core.origins import origin_of
from core.secrets import SealedSecret, is_current, seal
from jobs.models import Job, JobState
from jobs.services import runner
from providers.models import LLMFactory
from tenants.models import AuditEvent, Credential, RoutingChange
from tenants.services import rotation
from tests.people import make_tenant, make_user

URL = "https://api.example.com"
ORIGIN = origin_of(URL)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def old_key(settings: Any) -> str:
    """The key that everything was saved under; rows made before `new_key` comes are under it."""
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    return settings.FIELD_ENCRYPTION_KEY[0]


@pytest.fixture
def rows(old_key: str) -> list[Credential]:
    tenant, factory = make_tenant(owner=make_user()), LLMFactory.objects.create(name="Acme", base_url=URL)
    return [make_row(tenant, factory, number) for number in range(5)]


def make_row(tenant: Any, factory: Any, number: int) -> Credential:
    row = Credential(tenant=tenant, factory=factory, label=f"{number}")
    row.secret = seal(f"secret number {number}", owner=row.owner, origin=ORIGIN)
    row.save()
    return row


@pytest.fixture
def new_key(rows: list[Credential], settings: Any) -> str:
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode(), *settings.FIELD_ENCRYPTION_KEY]
    return settings.FIELD_ENCRYPTION_KEY[0]


def text_of(row: Credential) -> str:
    opened = Credential.objects.get(pk=row.pk).open_secret()
    assert opened is not None
    return opened.reveal(origin=ORIGIN)


def test_every_secret_field_there_is_takes_part() -> None:
    assert "tenants.credential.secret" in [column.label for column in rotation.columns()]


def test_afterwards_the_new_key_alone_reads_everything(rows: list[Credential], new_key: str, settings: Any) -> None:
    result = rotation.rotate_all()
    settings.FIELD_ENCRYPTION_KEY = [new_key]
    assert [text_of(row) for row in rows] == [f"secret number {number}" for number in range(5)]
    assert result == {
        "rotated": 5,
        "changed_meanwhile": 0,
        "current": 5,
        "stale": 0,
        "unreadable": 0,
        "unreadable_rows": [],
        "complete": True,
    }


def test_a_second_rotation_changes_nothing(rows: list[Credential], new_key: str) -> None:
    rotation.rotate_all()
    before = list(Credential.objects.values_list("pk", "secret", "updated_at"))
    assert rotation.rotate_all()["rotated"] == 0
    assert list(Credential.objects.values_list("pk", "secret", "updated_at")) == before


def test_a_survey_changes_nothing(rows: list[Credential], new_key: str) -> None:
    before = list(Credential.objects.values_list("pk", "secret"))
    found = rotation.survey()
    assert (found.stale, found.current, found.unreadable) == (5, 0, 0)
    assert list(Credential.objects.values_list("pk", "secret")) == before


@pytest.mark.parametrize("damage", ["gAAAA" + "x" * 120, "plain text", "", "ünïcode"])
def test_a_row_that_no_key_reads_is_named_and_the_rest_goes_on(
    rows: list[Credential], new_key: str, damage: str
) -> None:
    Credential.objects.filter(pk=rows[2].pk).update(secret=None)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tenants_credential SET secret = %s WHERE id = %s", [damage, rows[2].pk])
    result = rotation.rotate_all()
    assert (result["rotated"], result["unreadable"], result["complete"]) == (4, 1, True)
    assert result["unreadable_rows"] == [f"tenants.credential.secret:{rows[2].pk}"]
    assert Credential.objects.get(pk=rows[2].pk).secret == SealedSecret(damage)


def test_a_key_saved_meanwhile_is_not_overwritten(rows: list[Credential], new_key: str) -> None:
    (column,) = (one for one in rotation.columns() if one.label == "tenants.credential.secret")
    (batch,) = column.batches(None)
    row = Credential.objects.get(pk=rows[0].pk)
    row.secret = seal("a newer one", owner=row.owner, origin=ORIGIN)
    row.save()
    assert rotation._rotate(column, batch) == (4, 1)
    assert text_of(row) == "a newer one"


def test_what_an_old_process_saves_meanwhile_is_caught_in_the_next_round(
    rows: list[Credential], new_key: str, old_key: str, settings: Any
) -> None:
    """A process that was not restarted still encrypts with the old key."""
    late = []

    def save_late(_place: Any) -> None:
        if not late:
            both, settings.FIELD_ENCRYPTION_KEY = settings.FIELD_ENCRYPTION_KEY, [old_key]
            late.append(make_row(rows[0].tenant, rows[0].factory, 99))
            Credential.objects.filter(pk=rows[0].pk).update(
                secret=seal("old style", owner=rows[0].owner, origin=ORIGIN)
            )
            settings.FIELD_ENCRYPTION_KEY = both

    assert rotation.rotate_all(save=save_late)["complete"]
    settings.FIELD_ENCRYPTION_KEY = [new_key]
    assert text_of(rows[0]) == "old style"
    assert text_of(late[0]) == "secret number 99"


def test_it_goes_on_where_the_checkpoint_says(rows: list[Credential], new_key: str) -> None:
    places: list[dict[str, Any]] = []
    rotation.rotate_all(save=lambda place: places.append(dict(place)))
    assert places[0]["after"] == max(row.pk for row in rows)
    again = rotation.rotate_all(checkpoint={**places[0], "rotated": 5})
    assert (again["rotated"], again["current"]) == (5, 5)


def test_a_checkpoint_made_for_another_key_does_not_count(rows: list[Credential], new_key: str) -> None:
    place = {"key": "another", "done": ["tenants.credential.secret"], "after": None, "seen": 5, "rotated": 5}
    assert rotation.rotate_all(checkpoint=place)["rotated"] == 5


def test_it_can_be_stopped_between_batches(rows: list[Credential], new_key: str) -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        rotation.rotate_all(pause=stop)


def test_as_a_job_it_reports_and_is_audited(rows: list[Credential], new_key: str, jobs_run_at_once: None) -> None:
    RoutingChange.objects.all().delete()
    job = Job.objects.get(pk=rotation.enqueue(actor=SYSTEM).pk)
    assert (job.state, job.progress, job.result["rotated"]) == (JobState.COMPLETED, 100, 5)
    event = AuditEvent.objects.get(action="secrets.rotated")
    assert event.detail == {"rotated": 5, "current": 5, "unreadable": 0, "complete": True}
    assert RoutingChange.objects.filter(tenant_id="").exists()
    assert all(is_current(secret) for secret in Credential.objects.values_list("secret", flat=True))


def test_a_worker_with_another_primary_key_refuses(
    rows: list[Credential], new_key: str, jobs_run_at_once: None, settings: Any
) -> None:
    job = rotation.prepare(actor=SYSTEM)
    settings.FIELD_ENCRYPTION_KEY = list(reversed(settings.FIELD_ENCRYPTION_KEY))
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, Conflict.default_code)
    assert "FIELD_ENCRYPTION_KEY" in job.error["hint"]


def test_two_rotations_at_once_are_one(rows: list[Credential], new_key: str) -> None:
    assert rotation.prepare(actor=SYSTEM).pk == rotation.prepare(actor=SYSTEM).pk
