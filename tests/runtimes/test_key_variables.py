"""Keys in the environment go where the machine's operator lets them go, whoever edits a service, by any door."""

from __future__ import annotations

from typing import Any

import pytest

from core.audit import SYSTEM
from core.errors import InvalidInput
from core.secrets import SecretError
from providers.wire import Operation
from runtimes import drivers
from runtimes.models import LLMService, ServiceModel
from runtimes.services import calls, key_variables, services, yaml_import
from runtimes.services.yaml_reading import read

EVIL = "https://evil.example"


@pytest.mark.parametrize("type", [type for type, one in drivers.installed().items() if one.api_key_env_var])
def test_what_a_driver_declares_goes_to_its_usual_place_alone(type: str) -> None:
    driver = drivers.get(type)
    name = driver.api_key_env_var
    assert key_variables.problem(name, driver.default_urls) == ""
    assert key_variables.problem(name, [*driver.default_urls, EVIL]) == (
        f"The variable {name} may not be sent to https://evil.example:443."
    )


def test_all_names_of_this_machine_are_one_place() -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert key_variables.problem("JAN_API_KEY", [f"http://{host}:1337/v1"]) == ""
        assert key_variables.problem("JAN_API_KEY", [f"http://{host}:1338"]) != ""
    assert key_variables.problem("JAN_API_KEY", ["http://localhost.evil.example:1337"]) != ""


def test_other_variables_go_where_the_setting_says(settings: Any) -> None:
    settings.SERVICE_KEY_VARIABLES = [
        ("LAB_*", "https://lab.example:443"),
        ("LAB_2", "http://10.0.0.5:80"),
        ("ANY", ""),
    ]
    assert key_variables.problem("LAB_1", ["https://lab.example/v1"]) == ""
    assert key_variables.problem("LAB_2", ["https://lab.example", "http://10.0.0.5"]) == ""
    for name, url in (("LAB_1", "http://10.0.0.5"), ("LAB_1", "http://lab.example"), ("LAB_1", EVIL)):
        assert "may not be sent to" in key_variables.problem(name, [url])
    assert key_variables.problem("ANY", [EVIL]) == ""
    assert "not one that services may use" in key_variables.problem("HOME", ["https://lab.example"])
    assert "not one that services may use" in key_variables.problem("lab_1", ["https://lab.example"])


@pytest.mark.parametrize("name", sorted(key_variables.SECRET_NAMES))
def test_the_installations_own_secrets_are_no_keys_whatever_is_set(
    name: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SERVICE_KEY_VARIABLES = [("*", ""), (name, ""), (f"{name}_FILE", "")]
    for variable in (name, f"{name}_FILE"):
        monkeypatch.setenv(variable, __file__)
        with pytest.raises(SecretError, match="a secret of this installation"):
            calls.key(LLMService(name="den", api_key_env_var=variable), EVIL)


def test_a_row_that_was_written_past_the_services_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """By SQL, by a fixture, or before the setting was another one."""
    service = LLMService(name="den", type="openai", urls=[EVIL], api_key_env_var="OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert calls.key(service, EVIL) is None, "there is nothing to be sent"
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    with pytest.raises(SecretError, match="may not be sent to https://evil") as refused:
        calls.key(service, EVIL)
    assert "SERVICE_KEY_VARIABLES" in refused.value.hint and "of-the-environment" not in str(refused.value)
    found = calls.key(service, "https://api.openai.com/v1")
    assert found is not None and found.reveal(origin="https://api.openai.com:443") == "of-the-environment"


def test_the_options_of_a_service_cannot_take_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    quirks = {"base_urls": {"embedding": f"{EVIL}/v1"}}
    service = LLMService(name="den", type="openai", api_key_env_var="OPENAI_API_KEY", options={"quirks": quirks})
    (way,) = calls.ways(ServiceModel(service=service, name="m", model_types=["embedding"], state="loaded"))
    target = way.targets[Operation.EMBEDDINGS]
    assert target.url_for(Operation.EMBEDDINGS, "/embeddings") == "https://api.openai.com/v1/embeddings"
    key = target.credential.secret
    assert key is not None
    with pytest.raises(SecretError):
        key.reveal(origin="https://evil.example:443")


@pytest.mark.django_db
def test_a_service_cannot_take_a_variable_elsewhere() -> None:
    made = {"name": "vendor", "type": "openai", "api_key_env_var": "OPENAI_API_KEY"}
    with pytest.raises(InvalidInput) as refused:
        services.create(actor=SYSTEM, **made, urls=[EVIL])
    assert refused.value.code == "key_variable_not_allowed" and "api_key_env_var" in refused.value.fields
    service = services.create(actor=SYSTEM, **made)
    for change in ({"urls": [EVIL]}, {"type": "ollama"}, {"api_key_env_var": "HOME"}):
        with pytest.raises(InvalidInput) as refused:
            services.update(service_id=service.pk, actor=SYSTEM, **change)
        assert refused.value.code == "key_variable_not_allowed"
    services.update(service_id=service.pk, actor=SYSTEM, urls=[EVIL], api_key_env_var="")


@pytest.mark.django_db
def test_a_file_cannot_either() -> None:
    text = f"llm: {{services: {{x: {{type: openai, urls: ['{EVIL}'], api_key_env_var: OPENAI_API_KEY}}}}}}"
    with pytest.raises(InvalidInput, match="may not be sent to"):
        yaml_import.apply(read(text), actor=SYSTEM)
    assert not LLMService.objects.exists()
