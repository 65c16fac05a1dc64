from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.checks import run_checks

from llmadmin import bootstrap
from providers.models import LLM, LLMFactory
from tenants.models import ApiToken, AuditEvent, Membership, Tenant
from tenants.services import tokens
from tests.people import People
from tests.tenants.setting import make_factory, save_credential

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def silent(_: str) -> None:
    """Nobody is told."""


def test_the_first_time_makes_logins_that_work(own_folder: Path, rf: Any) -> None:
    first = bootstrap.create_logins()
    assert first is not None
    admin = authenticate(rf.get("/"), username=first.admin_user, password=first.admin_password)
    assert isinstance(admin, User)
    assert (admin.is_staff, admin.is_superuser) == (True, True)
    assert Membership.objects.get(tenant=first.tenant_id, user=admin).role == "owner"
    assert tokens.authenticate(first.api_token) is not None
    file = own_folder / "first-run.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["api_token"] == first.api_token


def test_the_logins_are_random_and_kept_nowhere_else() -> None:
    first = bootstrap.create_logins()
    assert first is not None
    assert len(first.admin_password) >= 20
    assert first.admin_password not in repr(first)
    assert first.api_token not in str(list(ApiToken.objects.values()))
    assert first.api_token not in str(list(AuditEvent.objects.values()))


def test_the_second_time_makes_nothing(own_folder: Path) -> None:
    bootstrap.create_logins()
    before = (own_folder / "first-run.json").read_text()
    assert bootstrap.create_logins() is None
    assert (own_folder / "first-run.json").read_text() == before
    assert (User.objects.count(), Tenant.objects.count(), ApiToken.objects.count()) == (1, 1, 1)


def test_a_deleted_file_is_not_written_again(own_folder: Path) -> None:
    bootstrap.create_logins()
    (own_folder / "first-run.json").unlink()
    assert bootstrap.create_logins() is None
    assert not (own_folder / "first-run.json").exists()


def test_a_file_of_logins_that_nobody_deleted_is_told_of_where_it_matters(own_folder: Path) -> None:
    def told(**more: Any) -> list[str]:
        messages = run_checks(**more)
        return [str(one) for one in messages if one.id == "llmadmin.W023"]

    first = bootstrap.create_logins()
    assert first is not None
    assert told() == []
    [warning] = told(include_deployment_checks=True)
    assert "first-run.json" in warning
    assert first.admin_password not in warning
    (own_folder / "first-run.json").unlink()
    assert told(include_deployment_checks=True) == []


def test_logins_of_a_database_that_is_gone_are_replaced(own_folder: Path) -> None:
    (own_folder / "first-run.json").write_text("of another database")
    first = bootstrap.create_logins()
    assert first is not None
    assert json.loads((own_folder / "first-run.json").read_text())["tenant_id"] == first.tenant_id


def test_the_fixtures_are_loaded_once_and_not_read_again() -> None:
    assert bootstrap.load_catalogue(silent) is True
    assert LLM.objects.count() > 1000
    assert bootstrap.load_catalogue(silent) is False


def test_what_was_deleted_or_edited_here_stays_so() -> None:
    bootstrap.load_catalogue(silent)
    factory = LLMFactory.objects.filter(llms__isnull=False).first()
    assert factory is not None
    gone = factory.llms.first()
    assert gone is not None
    gone.delete()
    LLMFactory.objects.filter(pk=factory.pk).update(rank=4242)
    assert bootstrap.load_catalogue(silent) is False
    factory.refresh_from_db()
    assert factory.rank == 4242
    assert not LLM.objects.filter(pk=gone.pk).exists()


def test_changed_fixtures_add_what_is_missing_and_keep_edits(settings: Any, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    source = next(file for file in sorted(settings.CATALOG_DIR.glob("*.json")) if "deepseek" in file.name)
    rows = json.loads(source.read_text())
    (folder / "one.json").write_text(json.dumps(rows[:-1]))
    settings.CATALOG_DIR = folder
    bootstrap.load_catalogue(silent)
    LLMFactory.objects.update(rank=4242)
    before = LLM.objects.count()
    (folder / "one.json").write_text(json.dumps(rows))
    assert bootstrap.load_catalogue(silent) is True
    assert LLM.objects.count() == before + 1
    assert LLMFactory.objects.get().rank == 4242


@pytest.mark.django_db(transaction=True)
def test_preparing_a_prepared_installation_changes_nothing() -> None:
    told: list[str] = []
    assert bootstrap.bootstrap(told.append) is not None
    told.clear()
    assert bootstrap.bootstrap(told.append) is None
    assert told == []


def test_keys_that_do_not_fit_the_database_are_said_at_the_start(people: People, settings: Any) -> None:
    said: list[str] = []
    save_credential(people.tenant, make_factory(), None, base_url="https://here.example/v1")
    bootstrap.warn(said.append)
    assert said == []
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]  # as of a fresh folder beside an old database
    bootstrap.warn(said.append)
    assert len(said) == 1
    assert said[0].startswith("Warning: ") and "can be decrypted" in said[0]
