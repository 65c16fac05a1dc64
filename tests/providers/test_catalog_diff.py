"""The three-way comparison: the file, the rows as they are, and what the last import said."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from providers.catalog import formats
from providers.catalog.diff import CatalogDiff, Current, Key, compare
from tests.providers import catalog_samples as samples

NO_PRICE: dict[str, Any] = {
    "input_price": None,
    "output_price": None,
    "cached_input_price": None,
    "price_detail": {},
    "price_source": "",
    "priced_at": None,
}


def row(imported: dict[str, Any] | None = None, *, source: str = "llmadmin", **values: Any) -> Current:
    return Current({"status": "1", **NO_PRICE, **values}, imported or {}, source)


def diff_of(fields: dict[str, Any], current: Current, **options: bool) -> CatalogDiff:
    """What a file with one model of these fields does to that model's row."""
    line = {"model": "providers.llm", "fields": {"factory": ["V"], "llm_name": "m", **fields}}
    rows: dict[Key, Current] = {("V",): row(), ("V", "m"): current}
    return compare(formats.parse(json.dumps([line]).encode()), rows, **options)


def test_a_field_that_nobody_edited_follows_the_file() -> None:
    current = row({"max_tokens": 1, "model_types": ["chat"]}, max_tokens=1, model_types=["chat"])
    diff = diff_of({"model_types": "chat", "max_tokens": 2}, current)
    [changed] = diff.changed
    assert [(one.field, one.old, one.new) for one in changed.fields] == [("max_tokens", 1, 2)]
    assert not diff.kept


def test_an_operators_edit_is_kept_and_reported() -> None:
    current = row({"max_tokens": 1, "model_types": ["chat"]}, max_tokens=5, model_types=["chat"])
    diff = diff_of({"model_types": "chat", "max_tokens": 2}, current)
    assert diff.is_empty
    [kept] = diff.kept
    assert [(one.field, one.old, one.new) for one in kept.fields] == [("max_tokens", 5, 2)]


def test_overwrite_takes_the_files_value_over_an_edit() -> None:
    current = row({"max_tokens": 1, "model_types": ["chat"]}, max_tokens=5, model_types=["chat"])
    diff = diff_of({"model_types": "chat", "max_tokens": 2}, current, overwrite=True)
    assert not diff.kept
    assert diff.changed[0].fields[0].new == 2


def test_an_edit_that_the_file_has_made_too_is_unchanged() -> None:
    current = row({"max_tokens": 1, "model_types": ["chat"]}, max_tokens=2, model_types=["chat"])
    diff = diff_of({"model_types": "chat", "max_tokens": 2}, current)
    assert (diff.unchanged, diff.changed, diff.kept) == (1, (), ())


def test_what_was_never_imported_counts_as_an_operators() -> None:
    diff = diff_of({"model_types": "chat", "max_tokens": 2}, row(max_tokens=1, model_types=["chat"], source=""))
    assert diff.kept
    assert not diff.changed


def test_what_the_file_does_not_state_is_left_alone() -> None:
    current = row({"model_types": ["chat"]}, max_tokens=7, model_types=["chat"], tags="mine", is_tools=True)
    assert diff_of({"model_types": "chat"}, current).unchanged == 1


def test_types_in_another_order_are_another_primary_type() -> None:
    current = row({"model_types": ["chat", "image2text"]}, model_types=["chat", "image2text"])
    [changed] = diff_of({"model_types": "image2text,chat"}, current).changed
    assert changed.fields[0].new == ["image2text", "chat"]


def test_an_operators_price_is_kept_and_anybody_elses_follows_the_file() -> None:
    fields = {"model_types": "chat", "input_price": "2", "price_source": "litellm"}
    base = {"model_types": ["chat"]}
    mine = row(base, model_types=["chat"], input_price=Decimal(3), price_source="operator")
    assert diff_of(fields, mine).kept
    cached = row(base, model_types=["chat"], input_price=Decimal(3), price_source="genai-prices 0.2.3")
    assert [one.field for one in diff_of(fields, cached).changed[0].fields] == ["input_price", "price_source"]


def test_equal_prices_are_equal_however_they_are_written() -> None:
    current = row(
        {"model_types": ["chat"]}, model_types=["chat"], input_price=Decimal("2.500000"), price_source="litellm"
    )
    fields = {"model_types": "chat", "input_price": "2.5", "price_source": "litellm"}
    assert diff_of(fields, current).unchanged == 1


def catalogue_rows(source: str = "ragflow") -> dict[Key, Current]:
    base = {"tags": "LLM", "status": "1"}
    return {
        ("A",): row(base, source=source, tags="LLM"),
        ("A", "old"): row(source=source),
        ("B",): row(source=source),
        ("B", "gone"): row(source=source),
    }


def test_rows_that_left_a_whole_file_are_reported_and_stay() -> None:
    two = formats.parse(samples.ragflow(samples.vendor("A"), samples.vendor("C")))
    diff = compare(two, catalogue_rows())
    assert [one.name for one in diff.removed] == ["A / old", "B", "B / gone"]
    assert not diff.retired
    retired = compare(two, catalogue_rows(), retire=True).retired
    assert [(one.name, one.fields[0].field, one.fields[0].new) for one in retired] == [
        ("A / old", "status", "0"),
        ("B", "status", "0"),
        ("B / gone", "status", "0"),
    ]


def test_the_file_of_one_factory_says_nothing_about_the_others() -> None:
    diff = compare(formats.parse(samples.ragflow(samples.vendor("A"))), catalogue_rows(), retire=True)
    assert [one.name for one in diff.retired] == ["A / old"]


def test_rows_of_another_source_are_never_removed() -> None:
    two = formats.parse(samples.ragflow(samples.vendor("A"), samples.vendor("C")))
    assert not compare(two, catalogue_rows("llmadmin"), retire=True).removed


def test_a_model_without_a_factory_is_refused_with_a_note() -> None:
    diff = compare(formats.parse(samples.LITELLM), {("OpenAI",): row()})
    assert {one.key[0] for one in diff.added} == {"OpenAI"}
    assert "refused: Gemini / gemini-embedding-001: the row is left out: the catalogue has no such factory" in [
        str(note) for note in diff.notes
    ]


def test_the_report_is_text_and_json() -> None:
    current = row({"max_tokens": 1, "model_types": ["chat"], "tags": ""}, max_tokens=1, model_types=["chat"], tags="x")
    diff = diff_of({"model_types": "chat", "max_tokens": 2, "tags": "y "}, current)
    assert list(diff.lines()) == [
        'normalised: V / m: tags: "y " written as "y"',
        "~ model V / m",
        "    max_tokens: 1 → 2",
        "= model V / m (edited here: kept)",
        '    tags: "x" → "y"',
        "llmadmin: 0 added, 1 changed, 1 kept, 0 removed, 0 unchanged, 1 notes",
    ]
    document = json.loads(json.dumps(diff.to_json()))
    assert document["changed"][0]["fields"] == [{"field": "max_tokens", "old": 1, "new": 2}]
    assert document["summary"] == {
        "added": 0,
        "changed": 1,
        "kept": 1,
        "removed": 0,
        "unchanged": 0,
        "notes": 1,
    }


def test_the_fingerprint_changes_with_what_is_shown() -> None:
    def fingerprint(tokens: int) -> str:
        current = row({"max_tokens": tokens, "model_types": ["chat"]}, max_tokens=tokens, model_types=["chat"])
        return diff_of({"model_types": "chat", "max_tokens": 9}, current).fingerprint

    assert fingerprint(1) == fingerprint(1)
    assert fingerprint(1) != fingerprint(2)


def test_a_file_cannot_turn_a_secret_field_into_a_plain_one() -> None:
    asked = [{"name": "api_key", "label": "API key", "secret": True}]
    open_ones = [{"name": "api_key", "label": "API key", "secret": False}]
    line = {"model": "providers.llmfactory", "fields": {"name": "V", "rank": 7, "credential_fields": open_ones}}
    current = row({"credential_fields": asked, "rank": 1}, credential_fields=asked, rank=1)
    diff = compare(formats.parse(json.dumps([line]).encode()), {("V",): current}, overwrite=True)
    assert [one.field for one in diff.changed[0].fields] == ["rank"]
    assert any("a secret stays one" in note.message for note in diff.notes)
