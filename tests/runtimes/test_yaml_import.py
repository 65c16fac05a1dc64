"""The `llm:` section of a YAML file: read with errors that name their line, shown as a difference, applied as shown."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings as configured
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from core.audit import SYSTEM
from core.errors import Conflict, InvalidInput
from llmadmin import bootstrap
from runtimes.drivers import installed
from runtimes.models import CallDefaults, LLMService
from runtimes.services import services, yaml_import
from runtimes.services.discovery import place
from runtimes.services.yaml_import import apply, export, preview
from runtimes.services.yaml_reading import Config, read
from tests.runtimes.making import make_service

KEY = "a-key-for-the-vendor-0123456789"
# As the description of the configuration shows it.
EXAMPLE = """\
llm:
  default_service: "ollama"
  temperature: 0.7
  max_tokens: 4096
  services:
    ollama:
      api_format: "openai"
      urls: ["http://localhost:11434"]
      upstream:
        short_timeout_sec: 5
        long_timeout_sec: 180
        verify_cert: true
        enable_discovery: true

    openai:
      api_format: "openai"
      api_key_env_var: "OPENAI_API_KEY"
      urls: ["https://api.openai.com"]
      upstream:
        short_timeout_sec: 10
        long_timeout_sec: 300
        verify_cert: true
        enable_discovery: false

logging:
  main: {console_level: info}
"""


def one(text: str) -> Config:
    """A file with one service, given by its members."""
    lines = "\n".join(f"      {line}" for line in text.strip().splitlines())
    return read(f"llm:\n  services:\n    vendor:\n{lines}\n")


# --- Reading --------------------------------------------------------------------------------------------------------


def test_the_example_is_read_as_it_is_meant() -> None:
    config = read(EXAMPLE)
    assert config.said == {"default_service": "ollama", "temperature": 0.7, "max_tokens": 4096}
    ollama, openai = config.services
    assert (ollama.name, ollama.line) == ("ollama", 7)
    assert ollama.values == {
        "api_format": "openai",
        "urls": ["http://localhost:11434"],
        "short_timeout_s": 5,
        "long_timeout_s": 180,
        "verify_cert": True,
        "enable_discovery": True,
    }
    assert openai.values["api_key_env_var"] == "OPENAI_API_KEY"
    assert openai.values["enable_discovery"] is False


@pytest.mark.parametrize(
    ("text", "path", "line", "why"),
    [
        ("llm:\n  temprature: 1\n", "llm.temprature", 2, "unknown"),
        ("llm:\n  temperature: hot\n", "llm.temperature", 2, "number"),
        ("llm:\n  max_tokens: true\n", "llm.max_tokens", 2, "whole number"),
        ("llm:\n  services:\n    a: {options: {b: 2024-99-99}}\n", "llm.services.a.options", 3, "plain value"),
        ("llm:\n  services:\n    a: {options: {b: 2024-01-01}}\n", "llm.services.a.options", 3, "plain value"),
        ("llm:\n  services: [a]\n", "llm.services", 2, "names with values"),
        ("llm:\n  services:\n    a:\n      url: x\n", "llm.services.a.url", 4, "unknown"),
        ("llm:\n  services:\n    a:\n      urls: x\n", "llm.services.a.urls", 4, "list"),
        ("llm:\n  services:\n    a:\n      urls: [1]\n", "llm.services.a.urls", 4, "list"),
        ("llm:\n  services:\n    a:\n      upstream:\n        ttl: 1\n", "llm.services.a.upstream.ttl", 5, "unknown"),
        (
            "llm:\n  services:\n    a:\n      upstream:\n        verify_cert: 1\n",
            "llm.services.a.upstream.verify_cert",
            5,
            "true or false",
        ),
        ("llm:\n  services:\n    a: {audience: everybody}\n", "llm.services.a.audience", 3, "one of all, some, none"),
        ("llm:\n  services:\n    a: {}\n    a: {}\n", "llm.services.a", 4, "twice"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_path(text: str, path: str, line: int, why: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read(text)
    assert list(error.value.fields) == [path]
    assert error.value.fields[path][0].startswith(f"line {line}: ")
    assert why in error.value.fields[path][0]
    assert path in error.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "llm",
        "logging: {}",
        "llm: [",
        "a: &x 1\nllm: *x",
        "llm: !!python/object:os.system {}",
        b"\xff\xfe",
        "a: b: c",
    ],
)
def test_what_is_no_such_file_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInput):
        read(text)


def test_no_error_quotes_a_key() -> None:
    for text in (f"llm:\n  services:\n    a:\n      api_key: [{KEY}]\n", f"llm: {{api_key: {KEY}", f"{KEY}: : :"):
        with pytest.raises(InvalidInput) as error:
            read(text)
        assert KEY not in f"{error.value} {error.value.fields}"


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as error:
        one("a: 1\nb: 2\nurls: 3")
    assert set(error.value.fields) == {f"llm.services.vendor.{name}" for name in ("a", "b", "urls")}


@given(st.text(max_size=200) | st.from_regex(r"llm:\n( {2}[a-z_]{1,12}:( [a-z0-9\[\]{}:,\"]{0,12})?\n){0,6}"))
def test_no_text_is_too_odd(text: str) -> None:
    try:
        config = read(text)
    except InvalidInput:
        return
    assert isinstance(config, Config)


# --- The difference, and what is applied ----------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_preview_writes_nothing() -> None:
    diff = preview(read(EXAMPLE))
    assert [row.name for row in diff.added] == ["ollama", "openai"]
    assert not LLMService.objects.exists()
    assert not CallDefaults.objects.exists()


@pytest.mark.django_db
def test_the_example_is_applied_once_and_for_all() -> None:
    diff = apply(read(EXAMPLE), actor=SYSTEM)
    ollama, openai = LLMService.objects.order_by("name")
    assert (ollama.type, ollama.is_default, ollama.is_enabled) == ("ollama", True, False)
    assert (openai.type, openai.is_default, openai.is_enabled) == ("openai", False, True)
    assert {ollama.audience, openai.audience} == {"none"}
    assert any(name == "ollama" and "not enabled" in text for name, text in diff.notes), "its network is not approved"
    assert (CallDefaults.current().temperature, CallDefaults.current().max_tokens) == (0.7, 4096)
    again = apply(read(EXAMPLE), actor=SYSTEM)
    assert again.is_empty
    assert set(again.unchanged) == {"ollama", "openai"}


@pytest.mark.django_db
def test_what_the_file_does_not_say_stays() -> None:
    service = make_service("https://a.example", name="vendor", type="openai", description="mine", short_timeout_s=9)
    diff = apply(one("upstream: {long_timeout_sec: 77}"), actor=SYSTEM)
    (row,) = diff.changed
    assert [(each.field, each.old, each.new) for each in row.fields] == [("long_timeout_sec", 20, 77)]
    service.refresh_from_db()
    assert (service.description, service.short_timeout_s, service.long_timeout_s) == ("mine", 9, 77)
    assert service.is_enabled


@pytest.mark.django_db
def test_what_stays_disabled_is_said() -> None:
    make_service("https://a.example", name="vendor", type="openai", is_enabled=False)
    apply(read("llm: {default_service: vendor, services: {}}"), actor=SYSTEM)
    diff = preview(read("llm: {temperature: 0.5, services: {vendor: {description: mine}}}"))
    assert [(name, text.split(":")[0]) for name, text in diff.notes] == [
        ("vendor", "It stays disabled"),
        ("vendor", "It is the default service and disabled"),
    ]
    assert preview(read("llm: {services: {vendor: {description: mine, enabled: true}}}")).notes == ()


@pytest.mark.django_db
def test_a_key_is_stored_sealed_and_shown_by_its_end() -> None:
    config = one(f"type: openai\nurls: [https://a.example]\napi_key: {KEY}")
    diff = preview(config)
    told = "\n".join(diff.lines())
    assert KEY not in told
    assert "…6789" in told
    assert KEY not in repr(config)
    apply(config, actor=SYSTEM)
    opened = LLMService.objects.get().open_secret()
    assert opened is not None
    assert opened.reveal(origin="https://a.example:443") == KEY
    assert apply(config, actor=SYSTEM).is_empty
    with pytest.raises(InvalidInput) as error:
        preview(one("urls: [https://b.example]"))
    assert "llm.services.vendor (line 4)" in error.value.message
    assert preview(one(f"urls: [https://b.example]\napi_key: {KEY}-2")).changed


@pytest.mark.django_db
def test_one_bad_service_keeps_all_from_being_written() -> None:
    with pytest.raises(InvalidInput) as error:
        apply(read(EXAMPLE.replace("https://api.openai.com", "ftp://api.openai.com")), actor=SYSTEM)
    assert any("llm.services.openai" in path and "urls" in path for path in error.value.fields)
    assert not LLMService.objects.exists()
    with pytest.raises(InvalidInput, match="default_service"):
        apply(read("llm: {default_service: nothing}"), actor=SYSTEM)
    with pytest.raises(InvalidInput, match="does not say which driver"):
        apply(one("urls: []"), actor=SYSTEM)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "type"),
    [("lm_studio", "lm_studio"), ("lm-studio", "lm_studio"), ("ollama_2", "ollama"), ("cortexso", "cortex")],
)
def test_names_say_the_driver(name: str, type: str) -> None:
    apply(read(f"llm: {{services: {{{name}: {{}}}}}}"), actor=SYSTEM)
    assert LLMService.objects.get().type == type


@pytest.mark.django_db
def test_what_was_reviewed_is_what_is_applied() -> None:
    diff = preview(read(EXAMPLE))
    services.create(actor=SYSTEM, name="openai", type="openai")
    with pytest.raises(Conflict):
        apply(read(EXAMPLE), actor=SYSTEM, expected=diff.fingerprint)
    assert LLMService.objects.count() == 1


@pytest.mark.django_db
def test_networks_and_addresses_may_change_together() -> None:
    text = "type: ollama\nurls: [{}]\nallowed_networks: [{}]\nenabled: true\naudience: all"
    apply(one(text.format("http://127.0.0.1:1", "127.0.0.0/8")), actor=SYSTEM)
    apply(one(text.format("http://10.0.0.1", "10.0.0.0/8, 127.0.0.0/8")), actor=SYSTEM)
    apply(one(text.format("http://10.0.0.1", "10.0.0.0/8")), actor=SYSTEM)
    service = LLMService.objects.get()
    assert (service.urls, service.allowed_networks) == (["http://10.0.0.1"], ["10.0.0.0/8"])
    assert service.is_enabled


@pytest.mark.django_db
def test_an_export_is_imported_without_a_difference() -> None:
    apply(read(EXAMPLE), actor=SYSTEM)
    apply(one(f"type: openai\nurls: [https://a.example]\napi_key: {KEY}\noptions: {{a: 1}}"), actor=SYSTEM)
    text = export()
    assert KEY not in text
    assert apply(read(text), actor=SYSTEM).is_empty
    before = list(LLMService.objects.order_by("name").values("name", "type", "urls", "options", "is_enabled"))
    LLMService.objects.all().delete()
    apply(read(text), actor=SYSTEM)
    assert list(LLMService.objects.order_by("name").values("name", "type", "urls", "options", "is_enabled")) == before


@pytest.mark.django_db
def test_the_command_shows_and_writes(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(EXAMPLE)
    out = StringIO()
    call_command("import_services", str(file), "--dry-run", stdout=out)
    assert "dry run" in out.getvalue()
    assert not LLMService.objects.exists()
    call_command("import_services", str(file), stdout=out)
    assert LLMService.objects.count() == 2
    exported = StringIO()
    call_command("import_services", "--export", stdout=exported)
    assert yaml.safe_load(exported.getvalue())["llm"]["default_service"] == "ollama"
    file.write_text("llm: {typo: 1}")
    with pytest.raises(CommandError, match="line 1"):
        call_command("import_services", str(file))
    with pytest.raises(CommandError):
        call_command("import_services", str(tmp_path / "none.yaml"))


# --- The fixtures ---------------------------------------------------------------------------------------------------

NAMES = {
    *("ollama", "lm-studio", "jan", "gpt4all", "localai", "cortex", "llama-cpp", "vllm", "xinference"),
    *("openai", "anthropic", "mock"),
}


@pytest.fixture
def own_folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.mark.django_db
def test_an_installation_begins_with_mock_alone_enabled(own_folder: Path) -> None:
    said: list[str] = []
    assert bootstrap.load_services(said.append)
    assert said == ["Services: 12 added"]
    assert set(LLMService.objects.values_list("name", flat=True)) == NAMES
    assert [one.name for one in LLMService.objects.enabled()] == ["mock"]
    mock = LLMService.objects.get(name="mock")
    assert (mock.audience, mock.health) == ("all", "up")
    assert mock.models.filter(state="loaded").exists(), "it can be called from the first moment on"
    for service in LLMService.objects.all():
        driver = installed()[service.type]
        assert {place(url) for url in service.urls} <= {place(url) for url in driver.default_urls}
        assert services.blocked(service) == {}, "staff has only to enable it"


@pytest.mark.django_db
def test_what_operators_did_to_them_stays(own_folder: Path, settings: Any) -> None:
    bootstrap.load_services(print)
    services.update(service_id=services.named("ollama").pk, actor=SYSTEM, description="ours")
    services.delete(service_id=services.named("vllm").pk, actor=SYSTEM)
    assert not bootstrap.load_services(print)
    assert not LLMService.objects.filter(name="vllm").exists()
    folder = own_folder / "fixtures"
    folder.mkdir()
    text = (configured.SERVICES_DIR / "services.yaml").read_text()
    (folder / "services.yaml").write_text(text.replace("jan:", "jan-2:"))
    settings.SERVICES_DIR = folder
    assert bootstrap.load_services(print)
    assert services.named("ollama").description == "ours"
    assert services.named("jan-2")
    assert yaml_import.preview(read(text), only_new=True).is_empty
