"""The catalogue that we ship: complete, clean, loadable, and written exactly as an export writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from core.audit import SYSTEM
from providers import dialects
from providers.catalog import formats, render
from providers.catalog.records import ParsedCatalogue
from providers.models import LLM, LLMFactory
from providers.quirks import Quirks
from providers.services import catalog

FILES = sorted(Path(settings.CATALOG_DIR).glob("*.json"))
HIDDEN = {"Builtin", "FastEmbed", "Local", "Youdao", "siliconflow_intl"}
SELF_DEPLOYED = {"FastEmbed", "Ollama", "Xinference", "LocalAI", "LM-Studio", "GPUStack"}
SUFFIXES = {
    "HuggingFace": "___HuggingFace",
    "LocalAI": "___LocalAI",
    "OpenAI-API-Compatible": "___OpenAI-API",
    "VLLM": "___VLLM",
}
CREDENTIALS = {
    ("VolcEngine", "chat"): ["ark_api_key", "endpoint_id"],
    ("Tencent Cloud", "speech2text"): ["tencent_cloud_sid", "tencent_cloud_sk"],
    ("Bedrock", "chat"): ["auth_mode", "bedrock_ak", "bedrock_sk", "bedrock_region", "aws_role_arn"],
    ("XunFei Spark", "chat"): ["spark_api_password"],
    ("XunFei Spark", "tts"): ["spark_app_id", "spark_api_secret", "spark_api_key"],
    ("XunFei Spark", "embedding"): ["api_key"],
    ("BaiduYiyan", "chat"): ["yiyan_ak", "yiyan_sk"],
    ("Fish Audio", "tts"): ["fish_audio_ak", "fish_audio_refid"],
    ("Google Cloud", "chat"): ["google_project_id", "google_region", "google_service_account_key"],
    ("Azure-OpenAI", "chat"): ["api_key", "api_version", "auth_mode", "entra_tenant_id", "entra_client_id"],
    ("OpenRouter", "chat"): ["api_key", "provider_order"],
    ("MinerU", "ocr"): ["api_key", "provider_order"],
    ("PaddleOCR", "ocr"): ["api_key", "provider_order"],
    ("OpenDataLoader", "ocr"): ["api_key", "provider_order"],
    ("OpenAI", "chat"): ["api_key"],
}


@pytest.fixture(scope="module")
def shipped() -> ParsedCatalogue:
    return formats.merged([formats.parse(file.read_bytes(), "llmadmin") for file in FILES])


def factories(catalogue: ParsedCatalogue) -> dict[str, dict[str, Any]]:
    return {record.name: dict(record.values) for record in catalogue.factories}


def test_every_file_holds_one_factory_and_is_named_after_it() -> None:
    assert len(FILES) >= 76
    for file in FILES:
        rows = json.loads(file.read_text(encoding="utf-8"))
        assert rows[0]["model"] == "providers.llmfactory"
        name = rows[0]["fields"]["name"]
        assert file.name == render.file_name(name)
        assert all(row["fields"].get("factory") == [name] for row in rows[1:])


def test_nothing_in_it_needs_a_note(shipped: ParsedCatalogue) -> None:
    assert [str(note) for note in shipped.notes] == []
    assert len(shipped.models) >= 1201


def test_it_tells_who_is_hidden_self_deployed_or_suffixed(shipped: ParsedCatalogue) -> None:
    rows = factories(shipped)
    assert {name for name, row in rows.items() if row["hidden"]} == HIDDEN
    assert {name for name, row in rows.items() if row["self_deployed"]} == SELF_DEPLOYED
    assert {name: row["name_suffix"] for name, row in rows.items() if row["name_suffix"]} == SUFFIXES


def test_every_factory_says_where_it_lives_or_that_the_tenant_must(shipped: ParsedCatalogue) -> None:
    for name, row in factories(shipped).items():
        if not row["base_url"]:
            settings_say_where = any(field.get("json") for field in row["credential_fields"])
            assert row["base_url_required"] or settings_say_where, name
        else:
            assert row["base_url"].startswith("https://"), name


def test_suffixes_are_cut_before_a_name_goes_upstream(shipped: ParsedCatalogue) -> None:
    for name, row in factories(shipped).items():
        if row["name_suffix"]:
            assert Quirks.from_data(row["quirks"]).model_name(f"m{row['name_suffix']}") == "m", name


def test_most_factories_speak_a_dialect_that_is_there(shipped: ParsedCatalogue) -> None:
    rows = factories(shipped).values()
    assert "openai" in dialects.names()
    assert sum(row["dialect"] == "openai" for row in rows) >= 60


@pytest.mark.django_db
def test_loaddata_works_and_an_import_of_the_same_changes_nothing(shipped: ParsedCatalogue) -> None:
    call_command("loaddata", *map(str, FILES), verbosity=0)
    assert LLM.objects.count() == len(shipped.models)
    diff = catalog.preview(shipped)
    assert diff.is_empty
    assert not diff.kept
    assert diff.unchanged == len(FILES) + len(shipped.models)


@pytest.mark.django_db
def test_an_export_writes_the_shipped_files_byte_by_byte(shipped: ParsedCatalogue) -> None:
    catalog.apply(catalog.preview(shipped), actor=SYSTEM)
    assert catalog.export_files() == {file.name: file.read_text(encoding="utf-8") for file in FILES}


@pytest.mark.django_db
def test_every_row_passes_the_models_own_checks(shipped: ParsedCatalogue) -> None:
    catalog.apply(catalog.preview(shipped), actor=SYSTEM)
    for factory in LLMFactory.objects.all():
        factory.full_clean()
    for llm in LLM.objects.select_related("factory"):
        llm.full_clean(validate_unique=False, validate_constraints=False)


@pytest.mark.django_db
def test_credentials_are_asked_for_as_classic_clients_send_them(shipped: ParsedCatalogue) -> None:
    catalog.apply(catalog.preview(shipped), actor=SYSTEM)
    for (name, model_type), fields in CREDENTIALS.items():
        factory = LLMFactory.objects.get_by_natural_key(name)
        assert [field["name"] for field in factory.fields_for(model_type)] == fields, name
