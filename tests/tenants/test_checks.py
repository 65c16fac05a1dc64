"""Every dangerous setting or row has a check with an id and a hint, and sane ones raise none."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.checks import CheckMessage, Error, run_checks
from django.db import connection, models
from simple_history.models import HistoricalRecords

from core.fields import SecretField
from core.origins import origin_of
from core.secrets import seal
from providers.models import INVALID, LLM, LLMFactory
from runtimes.models import LLMService
from tenants.models import Credential
from tests.live.stack import Stack
from tests.people import make_tenant
from tests.runtimes.making import make_service


def found(check_id: str, **options: Any) -> list[CheckMessage]:
    messages = [message for message in run_checks(**options) if message.id == f"llmadmin.{check_id}"]
    assert all(message.hint for message in messages)
    assert all(isinstance(message, Error) == check_id.startswith("E") for message in messages)
    return messages


def stored(check_id: str) -> list[CheckMessage]:
    return found(check_id, databases=["default"])


# --- Settings -------------------------------------------------------------------------------------------------------


def test_the_tests_own_settings_raise_no_error() -> None:
    assert [message for message in run_checks() if (message.id or "").startswith("llmadmin.")] == []


@pytest.mark.parametrize("key", ["", "short", "a" * 60])
def test_e001_a_weak_secret_key(settings: Any, key: str) -> None:
    settings.SECRET_KEY = key
    assert found("E001")


@pytest.mark.parametrize("raw", [b"\0" * 32, b"abcd" * 8, b"short"])
def test_e002_a_weak_encryption_key(settings: Any, raw: bytes) -> None:
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode(), base64.urlsafe_b64encode(raw).decode()]
    (message,) = found("E002")
    assert "Number 2" in message.msg
    assert base64.urlsafe_b64encode(raw).decode() not in str(message)


def test_e003_the_same_encryption_key_twice(settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()] * 2
    assert found("E003")


def test_e003_one_key_for_two_purposes(settings: Any) -> None:
    settings.SECRET_KEY = Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEY = [settings.SECRET_KEY]
    assert found("E003")


@pytest.mark.parametrize(
    "change",
    [{"HOST": "0.0.0.0"}, {"ALLOWED_HOSTS": ["llm.example.com"]}, {"PUBLIC_URL": "https://llm.example.com"}],  # noqa: S104
)
def test_e004_debug_where_others_can_reach_it(settings: Any, change: dict[str, Any]) -> None:
    settings.DEBUG = True
    assert not found("E004")
    for name, value in change.items():
        setattr(settings, name, value)
    assert found("E004")
    settings.DEBUG = False
    assert not found("E004")


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "2000::/3"])
def test_e005_networks_that_open_everything(settings: Any, network: str) -> None:
    settings.ALLOWED_NETWORKS = ["127.0.0.0/8", network]
    (message,) = found("E005")
    assert network in message.msg
    assert not found("E006")


@pytest.mark.parametrize(
    ("network", "cloud"),
    [
        ("169.254.0.0/16", "most clouds"),
        ("169.254.169.254/32", "most clouds"),
        ("100.64.0.0/10", "Alibaba"),
        ("168.63.129.16/32", "Azure"),
        ("192.0.0.0/24", "Oracle"),
        ("fd00::/8", "AWS"),
    ],
)
def test_e006_networks_that_open_metadata_services(settings: Any, network: str, cloud: str) -> None:
    settings.ALLOWED_NETWORKS = [network]
    (message,) = found("E006")
    assert cloud in message.msg


@pytest.mark.parametrize(
    "networks", [[], ["127.0.0.0/8", "::1/128"], ["10.0.0.0/8", "192.168.0.0/16", "fd12:3456::/32"]]
)
def test_networks_of_ones_own_are_fine(settings: Any, networks: list[str]) -> None:
    settings.ALLOWED_NETWORKS = networks
    assert not found("E005")
    assert not found("E006")


def test_w022_many_variables_that_may_go_anywhere(settings: Any) -> None:
    settings.SERVICE_KEY_VARIABLES = [("ONE", ""), ("LAB_*", "https://lab.example:443")]
    assert not found("W022")
    settings.SERVICE_KEY_VARIABLES = [("*_API_KEY", ""), *settings.SERVICE_KEY_VARIABLES]
    (message,) = found("W022")
    assert "send *_API_KEY anywhere" in message.msg


def test_w007_a_public_address_without_tls(settings: Any) -> None:
    assert not found("W007", include_deployment_checks=True)
    settings.PUBLIC_URL = "http://llm.example.com"
    assert not found("W007")
    assert found("W007", include_deployment_checks=True)
    settings.PUBLIC_URL, settings.TRUSTED_PROXIES = "https://llm.example.com", 1
    assert not found("W007", include_deployment_checks=True)


def test_w007_listening_to_everybody_without_tls(settings: Any) -> None:
    settings.HOST = "0.0.0.0"  # noqa: S104
    assert found("W007", include_deployment_checks=True)


def test_w008_several_workers_on_sqlite(settings: Any) -> None:
    settings.WEB_WORKERS = 4
    assert bool(found("W008")) == (connection.vendor == "sqlite")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_w009_keys_that_others_can_read(settings: Any, tmp_path: Path, mode: int) -> None:
    settings.DATA_DIR = tmp_path
    file = tmp_path / "keys.json"
    file.write_text("{}")
    file.chmod(0o600)
    assert not found("W009")
    file.chmod(mode)
    assert found("W009")


def test_w009_a_folder_that_others_can_write_to(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    tmp_path.chmod(0o777)
    assert found("W009")


@pytest.mark.parametrize(
    "change",
    [{"PROBE_WAIT": 2.0, "PROBE_CONNECT_TIMEOUT_S": 5.0}, {"PROBE_CONNECT_TIMEOUT_S": 20.0, "PROBE_TIMEOUT_S": 10.0}],
)
def test_w014_a_probe_that_cannot_finish_in_time(settings: Any, change: dict[str, float]) -> None:
    for name, value in change.items():
        setattr(settings, name, value)
    assert found("W014")


def test_not_waiting_for_probes_at_all_is_fine(settings: Any) -> None:
    settings.PROBE_WAIT = 0
    assert not found("W014")


def test_e015_a_secret_in_a_history_table() -> None:
    class Diary(models.Model):
        secret = SecretField()
        history = HistoricalRecords(app="tenants")

        class Meta:
            app_label = "tenants"

        def __str__(self) -> str:
            return "diary"

    try:
        (message,) = found("E015")
        assert "HistoricalDiary" in message.msg
    finally:
        for name in ("diary", "historicaldiary"):
            apps.all_models["tenants"].pop(name, None)
        apps.clear_cache()


def test_e016_a_lease_that_is_too_short(settings: Any) -> None:
    settings.JOB_HEARTBEAT_S, settings.JOB_LEASE_S = 3.0, 5.0
    assert found("E016")


def test_w017_tls_without_a_trusted_proxy(settings: Any) -> None:
    settings.PUBLIC_URL, settings.TRUSTED_PROXIES = "https://llm.example.com", 0
    assert found("W017", include_deployment_checks=True)
    settings.TRUSTED_PROXIES = 1
    assert not found("W017", include_deployment_checks=True)


def test_w018_any_host_name(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert found("W018")


# --- Stored rows ----------------------------------------------------------------------------------------------------


@pytest.fixture
def credential(db: None) -> Credential:
    factory = LLMFactory.objects.create(name="Acme", base_url="https://api.example.com")
    row = Credential(tenant=make_tenant(), factory=factory)
    row.secret = seal("anything", owner=row.owner, origin=origin_of(factory.base_url))
    row.save()
    return row


def test_w010_stored_keys_that_cannot_be_decrypted(credential: Credential, settings: Any) -> None:
    assert not stored("W010")
    assert not found("W010"), "without --database nothing is read"
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    (message,) = stored("W010")
    assert message.msg.startswith("None of the 1 ")


def test_w010_a_few_that_cannot_be_decrypted(credential: Credential) -> None:
    other = Credential.objects.create(
        tenant=credential.tenant, factory=credential.factory, label="copy", secret=credential.secret
    )
    (message,) = stored("W010")
    assert message.msg.startswith("1 of 2 ")
    assert other.pk in message.msg


@pytest.mark.parametrize("network", ["0.0.0.0/0", "169.254.0.0/16"])
def test_w011_a_factory_that_may_call_everything(credential: Credential, network: str) -> None:
    assert not stored("W011")
    LLMFactory.objects.update(allowed_networks=[network])
    (message,) = stored("W011")
    assert "Acme" in message.msg


def test_w011_a_service_that_may_call_everything(db: None) -> None:
    make_service("http://127.0.0.1:9", name="den", allowed_networks=["0.0.0.0/0"])
    (message,) = stored("W011")
    assert "The service den" in message.msg


def test_w021_a_runtime_that_only_pretends_for_everybody_in_production(settings: Any, db: None) -> None:
    service = make_service("inproc://mock", name="mock", type="mock", audience="all")
    assert not stored("W021")
    settings.PUBLIC_URL = "https://llm.example.com"
    (message,) = stored("W021")
    assert "“mock”" in message.msg
    LLMService.objects.filter(pk=service.pk).update(audience="none")
    assert not stored("W021")


@pytest.mark.parametrize(("check_id", "column"), [("W012", "dialect"), ("W013", "signer")])
def test_w012_w013_parts_that_are_not_installed(credential: Credential, check_id: str, column: str) -> None:
    assert not stored(check_id)
    LLMFactory.objects.update(**{column: "smoke-signals"})
    LLMFactory.objects.create(name="Other", **{column: "smoke-signals"})
    (message,) = stored(check_id)
    assert "“smoke-signals” (2 factories)" in message.msg
    LLMFactory.objects.update(status=INVALID)
    assert not stored(check_id)


@pytest.mark.parametrize(("check_id", "quirk"), [("W012", "dialects"), ("W013", "signers")])
def test_w012_w013_look_into_quirks_too(credential: Credential, check_id: str, quirk: str) -> None:
    missing = {
        quirk: {"speech2text": "smoke-signals", "tts": None, "chat": "openai" if quirk == "dialects" else "none"}
    }
    LLMFactory.objects.update(quirks=missing)
    other = LLMFactory.objects.create(name="Other")
    model = LLM.objects.create(factory=other, llm_name="m", model_types=["chat"], quirks={quirk: {"chat": "flags"}})
    (message,) = stored(check_id)
    assert "“flags” (1 factories), “smoke-signals” (1 factories)" in message.msg
    LLM.objects.filter(pk=model.pk).update(status=INVALID)
    LLMFactory.objects.filter(name="Acme").update(quirks={})
    assert not stored(check_id)


def test_a_signer_with_an_argument_is_installed(credential: Credential) -> None:
    LLMFactory.objects.update(signer="header:x-my-key")
    assert not stored("W013")


# --- As an operator runs them ---------------------------------------------------------------------------------------


def test_check_deploy_is_clean_with_sane_settings(new_stack: Callable[..., Stack]) -> None:
    place = new_stack(env={"PUBLIC_URL": "https://llm.example.com", "TRUSTED_PROXIES": "1", "HOST": "127.0.0.1"})
    assert "no issues" in place.manage("check", "--deploy", "--database", "default")
    place.manage("migrate", "-v0")
    assert "no issues" in place.manage("check", "--deploy", "--database", "default", "--fail-level", "WARNING")
