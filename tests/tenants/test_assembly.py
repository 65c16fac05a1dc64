"""Credential values and the classic api_key, for every factory of the catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from tenants.services.assembly import base_url_in, fields_for, from_api_key, missing, values_of

CATALOGUE = Path(__file__).parents[2] / "fixtures" / "catalog"


def factories() -> dict[str, dict[str, Any]]:
    rows = [row for path in sorted(CATALOGUE.glob("*.json")) for row in json.loads(path.read_text())]
    return {row["fields"]["name"]: row["fields"] for row in rows if row["model"] == "providers.llmfactory"}


FACTORIES = factories()
ROWS = [
    ("VolcEngine", "chat", {"ark_api_key": "a", "endpoint_id": "ep-1"}, '{"ark_api_key": "a", "endpoint_id": "ep-1"}'),
    ("VolcEngine", "chat", {"ark_api_key": "a"}, '{"ark_api_key": "a", "endpoint_id": ""}'),
    (
        "Tencent Cloud",
        "speech2text",
        {"tencent_cloud_sid": "i", "tencent_cloud_sk": "k"},
        '{"tencent_cloud_sid": "i", "tencent_cloud_sk": "k"}',
    ),
    (
        "Bedrock",
        "chat",
        {"auth_mode": "iam_role", "bedrock_region": "eu-west-1", "aws_role_arn": "arn"},
        '{"auth_mode": "iam_role", "bedrock_ak": "", "bedrock_sk": "", "bedrock_region": "eu-west-1", '
        '"aws_role_arn": "arn"}',
    ),
    ("XunFei Spark", "chat", {"spark_api_password": "p"}, "p"),
    ("XunFei Spark", "chat", {}, ""),
    (
        "XunFei Spark",
        "tts",
        {"spark_app_id": "i", "spark_api_secret": "s", "spark_api_key": "k"},
        '{"spark_app_id": "i", "spark_api_secret": "s", "spark_api_key": "k"}',
    ),
    ("XunFei Spark", "embedding", {"api_key": "k"}, "k"),
    ("BaiduYiyan", "chat", {"yiyan_ak": "a", "yiyan_sk": "s"}, '{"yiyan_ak": "a", "yiyan_sk": "s"}'),
    (
        "Fish Audio",
        "tts",
        {"fish_audio_ak": "a", "fish_audio_refid": "r"},
        '{"fish_audio_ak": "a", "fish_audio_refid": "r"}',
    ),
    (
        "Google Cloud",
        "chat",
        {"google_project_id": "p", "google_region": "r", "google_service_account_key": "e30="},
        '{"google_project_id": "p", "google_region": "r", "google_service_account_key": "e30="}',
    ),
    (
        "Azure-OpenAI",
        "chat",
        {"api_key": "k", "api_version": "v"},
        '{"api_key": "k", "api_version": "v", "auth_mode": "", "entra_tenant_id": "", "entra_client_id": ""}',
    ),
    (
        "Azure-OpenAI",
        "chat",
        {"api_key": "k"},
        '{"api_key": "k", "api_version": "", "auth_mode": "", "entra_tenant_id": "", "entra_client_id": ""}',
    ),
    ("OpenRouter", "chat", {"api_key": "k", "provider_order": "a,b"}, '{"api_key": "k", "provider_order": "a,b"}'),
    (
        "OpenDataLoader",
        "ocr",
        {"api_key": {"opendataloader_apiserver": "http://o", "opendataloader_api_key": "k"}},
        '{"api_key": {"opendataloader_apiserver": "http://o", "opendataloader_api_key": "k"}, "provider_order": ""}',
    ),
    *((name, "chat", {"api_key": "k"}, "k") for name in ("LocalAI", "HuggingFace", "VLLM", "OpenAI-API-Compatible")),
    *((name, "chat", {"api_key": "k"}, "k") for name in ("ModelScope", "Ollama", "TogetherAI", "OpenAI", "Replicate")),
]


def to_api_key(declared: list[Any], values: dict[str, Any]) -> str:
    """The text in which RAGFlow's clients know these values."""
    if len(declared) == 1:
        value = values.get(declared[0]["name"], "")
        return value if isinstance(value, str) else json.dumps(value)
    return json.dumps({spec["name"]: values.get(spec["name"], "") for spec in declared})


def specs(factory: str, kind: str) -> list[Any]:
    return fields_for(FACTORIES[factory]["credential_fields"], [kind])


@pytest.mark.parametrize(("factory", "kind", "body", "api_key"), ROWS)
def test_request_fields_become_the_classic_key_and_back(
    factory: str, kind: str, body: dict[str, Any], api_key: str
) -> None:
    declared = FACTORIES[factory]["credential_fields"]
    values = values_of(declared, {**body, "llm_factory": factory, "group_id": "7"}, model_types=[kind])
    assert values == body
    assert to_api_key(specs(factory, kind), values) == api_key
    read = from_api_key(specs(factory, kind), api_key)
    assert {name: value for name, value in read.items() if value} == body
    assert values_of(declared, {"api_key": api_key}, model_types=[kind]) == read


@pytest.mark.parametrize("factory", sorted(FACTORIES))
def test_every_factory_reads_what_it_writes(factory: str) -> None:
    for kind in ("chat", "embedding", "rerank", "image2text", "speech2text", "tts", "ocr"):
        declared = specs(factory, kind)
        values = {spec["name"]: f"value of {spec['name']}" for spec in declared if not spec.get("json")}
        for spec in declared:
            if spec.get("json"):
                values[spec["name"]] = {
                    member["name"]: (member.get("choices") or ["v"])[0] for member in spec["fields"]
                }
        assert from_api_key(declared, to_api_key(declared, values)) == values


def test_ocr_settings_are_an_object_with_defaults_in_either_spelling() -> None:
    declared = specs("MinerU", "ocr")
    values = from_api_key(declared, {"llm_name": "m", "mineru_apiserver": "http://m", "mineru_delete_output": "0"})
    settings = values["api_key"]
    assert (settings["mineru_apiserver"], settings["mineru_backend"]) == ("http://m", "pipeline")
    assert settings["mineru_delete_output"] == "0"
    upper = from_api_key(declared, {"api_key": {"MINERU_APISERVER": "http://m"}, "provider_order": ""})
    assert upper["api_key"]["mineru_apiserver"] == "http://m"


def test_seed_examples_are_understood() -> None:
    azure = '{"api_key": "your-key", "api_version": "2024-02-15-preview"}'
    assert from_api_key(specs("Azure-OpenAI", "chat"), azure) == json.loads(azure)
    google = '{"google_project_id": "p", "google_region": "us-central1", "google_service_account_key": "x"}'
    assert from_api_key(specs("Google Cloud", "chat"), google) == json.loads(google)
    assert from_api_key(specs("Google Cloud", "chat"), json.loads(google)) == json.loads(google)


def test_tools_packed_beside_a_key_are_not_part_of_it() -> None:
    assert from_api_key(specs("OpenAI", "chat"), '{"api_key": "sk", "is_tools": true}') == {"api_key": "sk"}


def test_plain_key_goes_to_the_only_secret_field() -> None:
    assert from_api_key(specs("Fish Audio", "tts"), "sk") == {"fish_audio_ak": "sk"}
    assert from_api_key(specs("Azure-OpenAI", "chat"), "sk") == {"api_key": "sk"}
    assert from_api_key(specs("OpenAI", "chat"), '{"not": "ours"}') == {"api_key": '{"not": "ours"}'}


@pytest.mark.parametrize("api_key", [None, "", {}])
def test_no_key_is_no_value(api_key: Any) -> None:
    assert not from_api_key(specs("VLLM", "chat"), api_key or None)


def test_placeholder_for_no_key_is_a_key_only_where_one_is_needed() -> None:
    declared = FACTORIES["VLLM"]["credential_fields"]
    assert values_of(declared, {"api_key": " x "}, keyless=True) == {}
    assert values_of(declared, {"api_key": "x"}, keyless=False) == {"api_key": "x"}


@pytest.mark.parametrize(
    ("factory", "api_key", "reason"),
    [
        ("BaiduYiyan", "sk", "yiyan_ak, yiyan_sk"),
        ("Azure-OpenAI", {"api_key": "a", "version": "b"}, "Unknown: version"),
        ("OpenAI", {"key": "a"}, "fields of this object are api_key"),
        ("OpenAI", 5, "Send text"),
        ("OpenAI", ["sk"], "Send text"),
        ("OpenAI", True, "Send text"),
        ("MinerU", "sk", "is an object"),
        ("MinerU", {"mineru_backend": "pipeline"}, "mineru_apiserver is missing"),
        ("MinerU", {"mineru_apiserver": 5}, "must be text"),
        ("MinerU", {"mineru_apiserver": "http://m", "mineru_backend": "turbo"}, "must be one of pipeline"),
    ],
)
def test_key_that_does_not_fit_is_refused_with_its_field(factory: str, api_key: Any, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        from_api_key(specs(factory, "ocr" if factory == "MinerU" else "chat"), api_key)
    assert reason in str(caught.value.fields["api_key"])


def test_required_fields_are_those_of_the_type_without_a_default() -> None:
    declared = FACTORIES["XunFei Spark"]["credential_fields"]
    assert missing(declared, {}, model_types=["chat"]) == ["spark_api_password"]
    assert missing(declared, {"spark_app_id": "i"}, model_types=["tts"]) == ["spark_api_secret", "spark_api_key"]
    assert missing(FACTORIES["Bedrock"]["credential_fields"], {}, model_types=["chat"]) == []


def test_settings_may_say_where_the_service_runs() -> None:
    declared = specs("MinerU", "ocr")
    assert base_url_in(declared, from_api_key(declared, {"mineru_apiserver": "http://m"})) == "http://m"
    assert base_url_in(declared, {"api_key": "plain"}) == base_url_in(declared, {}) == ""
    assert base_url_in(specs("OpenAI", "chat"), {"api_key": "sk-1"}) == ""
