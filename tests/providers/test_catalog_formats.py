"""Reading catalogue files: what is normalised or refused is reported with the row's name, and nothing else is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from core.errors import InvalidInput
from providers.catalog import formats
from providers.catalog.records import ParsedCatalogue
from tests.providers import catalog_samples as samples


def notes_of(catalogue: ParsedCatalogue, where: str) -> list[str]:
    return [f"{note.level}: {note.message}" for note in catalogue.notes if note.where == where]


def models_of(catalogue: ParsedCatalogue) -> dict[str, dict[str, Any]]:
    return {f"{model.factory}/{model.llm_name}": dict(model.values) for model in catalogue.models}


def test_every_oddity_of_a_ragflow_file_is_reported_with_its_row() -> None:
    catalogue = formats.parse(samples.odd_ragflow(), "ragflow")
    expected = {
        "Odd": [
            'normalised: tags: "LLM, TEXT RE-RANK" written as "LLM,TEXT RE-RANK"',
            'normalised: rank: the text "999" taken as a number',
            "normalised: base_url: written as https://api.odd.example/v1",
        ],
        "Odd / listed": ["normalised: model_types: the list kept as image2text,chat (first is primary)"],
        "Odd / single-list": ["normalised: model_types: a list of one"],
        "Odd / renamed": [
            "normalised: model_types: vision is our image2text",
            "normalised: model_types: the list kept as chat,image2text (first is primary)",
        ],
        "Odd / heard": ["normalised: model_types: asr is our speech2text"],
        "Odd / typo": ["normalised: model_types: reranker is our rerank"],
        "Odd / spaced": ['normalised: tags: "RE-RANK, 8000" written as "RE-RANK,8000"'],
        "Odd / trailing": ['normalised: tags: "LLM,CHAT," written as "LLM,CHAT"'],
        "Odd / zero": ["normalised: max_tokens: 0 taken as unknown"],
        "Odd / bare": [
            "info: max_tokens is missing: taken as unknown in a new row, kept in one that exists",
            "info: is_tools is missing: taken as false in a new row, kept in one that exists",
            "info: tags is missing: taken as empty in a new row, kept in one that exists",
        ],
        "Odd / twice": [
            "refused: repeated, differing in model_types ['chat'] ≠ ['image2text']; "
            "tags LLM,CHAT,128k ≠ IMAGE2TEXT,128k: the first one counts"
        ],
        "Odd / same": ["refused: repeated, an equal row: the first one counts"],
        "Empty": ["refused: url: only the default address is taken, not intl"],
        "the file": ["info: the field features (of a model) is not part of a catalogue: left out of 1 rows"],
    }
    for where, messages in expected.items():
        assert sorted(notes_of(catalogue, where)) == sorted(messages)
    assert {note.where for note in catalogue.notes} == set(expected)


def test_an_odd_ragflow_file_yields_clean_records() -> None:
    catalogue = formats.parse(samples.odd_ragflow())
    odd, empty = catalogue.factories
    assert odd.values == {
        "tags": "LLM,TEXT RE-RANK",
        "rank": 999,
        "status": "1",
        "base_url": "https://api.odd.example/v1",
    }
    assert empty.values["base_url"] == "https://empty.example/v1"
    models = models_of(catalogue)
    assert len(models) == 12
    assert models["Odd/listed"]["model_types"] == ["image2text", "chat"]
    assert models["Odd/twice"]["model_types"] == ["chat"]
    assert models["Odd/zero"]["max_tokens"] is None
    assert models["Odd/bare"] == {"model_types": ["chat"]}  # only what the file states


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("model_type", "telepathy", 'the row is left out: model_types: "telepathy" is no known type'),
        ("model_type", [], "the row is left out: model_types: no type is given"),
        ("model_type", None, "the row is left out: model_types: null is not a type or a list of types"),
        ("max_tokens", -5, "max_tokens is left out: -5 is negative"),
        ("max_tokens", 10**30, "max_tokens is left out: absurdly large"),
        ("max_tokens", 1.5, "max_tokens is left out: 1.5 is not a whole number"),
        ("max_tokens", "many", 'max_tokens is left out: "many" is not a whole number'),
        ("max_tokens", True, "max_tokens is left out: true is not a whole number"),
        ("is_tools", "yes", 'is_tools is left out: "yes" is neither true nor false'),
        ("tags", "x" * 256, "tags is left out: longer than 255 characters"),
        ("tags", ["LLM"], 'tags is left out: ["LLM"] is not a text'),
        ("tags", "a\x00b", "tags is left out: has control characters"),
    ],
)
def test_a_value_that_cannot_be_taken_is_refused_with_its_reason(field: str, value: Any, reason: str) -> None:
    data = samples.ragflow(samples.vendor("Vendor", samples.model("one", **{field: value})))
    assert f"refused: {reason}" in notes_of(formats.parse(data), "Vendor / one")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        (7, "7 is not a text"),
        ("x" * 129, "longer than 128 characters"),
        ("a\nb", "has control characters"),
        ("\ud800", "has control characters"),
    ],
)
def test_a_row_without_a_proper_name_is_left_out(name: object, reason: str) -> None:
    catalogue = formats.parse(samples.ragflow(samples.vendor("Vendor", samples.model(name))))  # type: ignore[arg-type]
    assert not catalogue.models
    assert [note.message for note in catalogue.notes] == [f"the row is left out: llm_name: {reason}"]


def test_the_models_of_a_nameless_factory_are_counted() -> None:
    catalogue = formats.parse(samples.ragflow(samples.vendor("", samples.model("a"), samples.model("b"))))
    assert not catalogue.factories
    assert not catalogue.models
    assert notes_of(catalogue, "factory_llm_infos[0]")[1] == "refused: its 2 models are left out with it"


def test_a_repeated_key_is_reported() -> None:
    catalogue = formats.parse(b'{"factory_llm_infos": [{"name": "A", "tags": "LLM", "tags": "TTS"}]}')
    assert notes_of(catalogue, "the file") == [
        "refused: the key 'tags' is repeated in one object: only the last counts"
    ]


@pytest.mark.parametrize(
    ("data", "format_name"),
    [
        (samples.llmadmin(), "llmadmin"),
        (samples.odd_ragflow(), "ragflow"),
        (samples.LITELLM, "litellm"),
        (samples.MODELS_DEV, "models.dev"),
    ],
)
def test_the_format_is_found_out(data: bytes, format_name: str) -> None:
    assert formats.detect(data) == format_name
    assert formats.parse(data).format == format_name


def test_json_that_is_no_catalogue_is_refused_with_the_known_formats() -> None:
    with pytest.raises(InvalidInput) as raised:
        formats.detect(b'{"hello": "world"}')
    assert "llmadmin, ragflow, litellm, models.dev" in raised.value.hint


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Unknown catalogue format 'xml'"):
        formats.parse(b"[]", "xml")


def test_our_own_format_keeps_only_what_belongs_to_a_catalogue() -> None:
    data = samples.llmadmin(
        {**samples.factory_row(allowed_networks=["10.0.0.0/8"], colour="red"), "pk": 7},
        samples.model_row(),
        {"model": "auth.user", "fields": {"username": "root"}},
        {"model": "providers.llm", "fields": {"factory": 3, "llm_name": "x"}},
        {"fields": []},
    )
    catalogue = formats.parse(data)
    assert [str(note) for note in catalogue.notes] == [
        "refused: Vendor: allowed_networks is left out: staff approve networks in the admin",
        "refused: Vendor: colour is left out: no field of the catalogue",
        "refused: row 3: the row is left out: 'auth.user' is no part of a catalogue",
        'refused: row 4: the row is left out: factory is not a natural key such as ["OpenAI"]',
        'refused: row 5: the row is left out: not an object with "model" and "fields"',
        "info: the file: the field pk is not part of a catalogue: left out of 1 rows",
    ]
    assert len(catalogue.factories) == len(catalogue.models) == 1


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("base_url", "ftp://example.com", "the base URL must begin with http:// or https://"),
        ("base_url", "https://user:secret@example.com", "the base URL must not hold a user name or password"),
        ("docs_url", "javascript:alert(1)", '"javascript:alert(1)" is not a web address'),
        ("quirks", {"colour": 1}, "quirks.colour: unknown"),
        ("quirks", [], "[] is not an object"),
        ("dialect", "two words", '"two words" is not a short name without spaces'),
        ("credential_fields", {"name": "a"}, "is not a list of objects"),
        ("credential_fields", [{"name": "a b"}], 'the field "a b" has no proper name'),
        ("credential_fields", [{"name": "a"}, {"name": "a"}], "two fields have one name"),
        ("credential_fields", [{"name": "a", "secret": 1}], 'the field "a": secret, required, json and base_url are'),
        ("credential_fields", [{"name": "a", "model_types": ["x"]}], 'the field "a": unknown model type'),
        ("status", "on", '"on" is neither "1" nor "0"'),
        ("rank", "first", '"first" is not a whole number'),
        ("hidden", 1, "1 is neither true nor false"),
    ],
)
def test_a_factorys_bad_field_is_refused_and_the_rest_of_it_is_taken(field: str, value: Any, reason: str) -> None:
    catalogue = formats.parse(samples.llmadmin(samples.factory_row(name_suffix="___X", **{field: value})))
    assert catalogue.factories[0].values == {"name_suffix": "___X"}
    [note] = catalogue.notes
    assert str(note).startswith(f"refused: Vendor: {field} is left out: {reason}")


def test_prices_are_stated_together_and_exactly() -> None:
    data = samples.llmadmin(
        samples.factory_row(), samples.model_row(input_price="0.15", price_source="operator"), samples.model_row("two")
    )
    one, two = formats.parse(data).models
    assert one.values["input_price"] == Decimal("0.15")
    assert one.values["output_price"] is None
    assert one.values["price_source"] == "operator"
    assert "input_price" not in two.values


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input_price": "-1"}, 'input_price is left out: "-1" is not a price'),
        ({"input_price": -1}, "input_price is left out: -1 is negative"),
        ({"input_price": 10**9}, "input_price is left out: absurdly large"),
        ({"price_source": "operator"}, "price_source left out: without a price they say nothing"),
        ({"priced_at": "2026-01-01T00:00:00"}, "priced_at is left out: has no time zone"),
        ({"priced_at": "yesterday"}, 'priced_at is left out: "yesterday" is not a date and time'),
    ],
)
def test_a_bad_price_is_refused(fields: dict[str, Any], reason: str) -> None:
    catalogue = formats.parse(samples.llmadmin(samples.factory_row(), samples.model_row(**fields)))
    assert f"refused: {reason}" in notes_of(catalogue, "Vendor / one")


def test_when_a_price_was_found_is_kept() -> None:
    row = samples.model_row(input_price=1, priced_at="2026-01-02T03:04:05+00:00")
    [model] = formats.parse(samples.llmadmin(samples.factory_row(), row)).models
    assert model.values["priced_at"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_litellm_prices_become_exact_decimals_per_million() -> None:
    models = models_of(formats.parse(samples.LITELLM))
    mini = models["OpenAI/gpt-5-mini"]
    assert mini == {
        "model_types": ["chat", "image2text"],
        "max_tokens": 272000,
        "is_tools": True,
        "input_price": Decimal("0.25"),
        "output_price": Decimal("2"),
        "cached_input_price": Decimal("0.025"),
        "price_detail": {"input_cost_per_token_flex": "0.000000125"},
        "price_source": "litellm",
        "priced_at": None,
    }
    assert models["Gemini/gemini-embedding-001"]["model_types"] == ["embedding"]
    assert models["OpenAI/whisper-1"]["price_detail"] == {"input_cost_per_second": "0.0001"}


def test_what_litellm_has_and_we_do_not_is_reported() -> None:
    catalogue = formats.parse(samples.LITELLM)
    assert notes_of(catalogue, "Cohere / cohere/free-model")[1:] == ["normalised: every price is 0: taken as unpriced"]
    assert "input_price" not in models_of(catalogue)["Cohere/free-model"]
    assert notes_of(catalogue, "OpenAI / dall-e-3") == [
        "refused: the row is left out: the mode 'image_generation' has no type here"
    ]
    assert "normalised: mode is missing: taken as chat" in notes_of(catalogue, "OpenAI / gpt-5.1")
    assert notes_of(catalogue, "someone") == ["refused: 1 models are left out: the provider is none of our factories"]
    assert notes_of(catalogue, "homeless") == ["refused: the row is left out: it names no provider"]
    assert any("deprecation_date" in message for message in notes_of(catalogue, "the file"))


def test_models_dev_is_read_with_prices_and_guessed_types() -> None:
    catalogue = formats.parse(samples.MODELS_DEV)
    models = models_of(catalogue)
    assert models["OpenAI/gpt-5-mini"]["model_types"] == ["chat", "image2text"]
    assert models["OpenAI/gpt-5-mini"]["input_price"] == Decimal("0.25")
    assert models["OpenAI/gpt-5-mini"]["price_detail"] == {"cache_write": "0.3"}
    assert models["OpenAI/gpt-5-mini"]["max_tokens"] == 400000
    assert models["OpenAI/text-embedding-3-small"]["model_types"] == ["embedding"]
    assert models["OpenAI/tts-1"]["model_types"] == ["tts"]
    assert models["OpenAI/whisper-1"]["model_types"] == ["speech2text"]
    assert "input_price" not in models["OpenAI/whisper-1"]
    assert "OpenAI/sora" not in models
    assert notes_of(catalogue, "elsewhere") == ["refused: 2 models are left out: the provider is none of our factories"]
    assert notes_of(catalogue, "broken") == ["refused: the provider is left out: it has no object of models"]


def test_several_files_make_one_catalogue_and_a_row_counts_once() -> None:
    first = formats.parse(samples.llmadmin(samples.factory_row(rank=1), samples.model_row()))
    second = formats.parse(samples.llmadmin(samples.factory_row(rank=2), samples.model_row(), samples.model_row("two")))
    both = formats.merged([first, second])
    assert [model.llm_name for model in both.models] == ["one", "two"]
    assert both.factories[0].values["rank"] == 1
    assert [note.where for note in both.notes] == ["Vendor", "Vendor / one"]


def test_files_of_different_formats_are_not_merged() -> None:
    with pytest.raises(InvalidInput, match="different formats"):
        formats.merged([formats.parse(samples.llmadmin()), formats.parse(samples.odd_ragflow())])
