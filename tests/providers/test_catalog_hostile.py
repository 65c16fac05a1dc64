"""Catalogue files that are broken, huge or meant to hurt: each is refused with a reason, none ends in a traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from providers.catalog import formats
from providers.catalog.reading import MAX_FILE_BYTES, MAX_ROWS

FORMATS = formats.names()


@pytest.mark.parametrize("data", [b"", b"{", b"[1,]", b'{"a": NaN}', b"[Infinity]", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("format_name", ["", *FORMATS])
def test_malformed_json_is_refused_with_a_reason(data: bytes, format_name: str) -> None:
    with pytest.raises(InvalidInput, match="not valid JSON"):
        formats.parse(data, format_name)


@pytest.mark.parametrize("number", ["1e999999999", "0." + "1" * 100, "9" * 5000])
def test_an_absurd_number_is_refused_at_once(number: str) -> None:
    with pytest.raises(InvalidInput, match="too long to be meant"):
        formats.parse(f'{{"factory_llm_infos": [{number}]}}'.encode())


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("data", [b"null", b"7", b'"text"', b"true"])
def test_another_shape_is_refused_in_the_formats_name(format_name: str, data: bytes) -> None:
    with pytest.raises(InvalidInput) as raised:
        formats.parse(data, format_name)
    assert raised.value.code == "catalogue_shape"


def test_a_file_that_is_too_large_is_not_even_decoded() -> None:
    with pytest.raises(InvalidInput, match="larger than 64 MiB"):
        formats.parse(bytes(MAX_FILE_BYTES + 1))


def test_a_file_of_too_many_rows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="100001 rows, more than 100000"):
        formats.parse(b"[" + b"0," * MAX_ROWS + b"0]")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e12, 1e12).map(lambda x: round(x, 6)) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = [
    *("name", "tags", "rank", "status", "url", "logo", "llm", "llm_name", "model_type", "max_tokens", "is_tools"),
    *("factory", "model_types", "quirks", "credential_fields", "input_price", "price_detail", "priced_at"),
    *("base_url", "dialect", "docs_url", "litellm_provider", "mode", "input_cost_per_token", "limit", "cost"),
    *("modalities", "tool_call", "model", "fields", "models"),
]
ROW = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=10)
NAMED = st.fixed_dictionaries({"name": st.just("N"), "llm_name": st.just("n"), "model_type": st.just("chat")})


@given(document=JSON, format_name=st.sampled_from(["", *FORMATS]))
def test_any_json_is_read_or_refused(document: object, format_name: str) -> None:
    try:
        formats.parse(json.dumps(document).encode(), format_name)
    except InvalidInput as error:
        assert error.message


@given(data=st.binary(max_size=200), format_name=st.sampled_from(["", *FORMATS]))
def test_any_bytes_are_read_or_refused(data: bytes, format_name: str) -> None:
    try:
        formats.parse(data, format_name)
    except InvalidInput as error:
        assert error.message


@given(factory=ROW, row=ROW, named=NAMED)
def test_no_row_ends_in_a_traceback(factory: dict[str, Any], row: dict[str, Any], named: dict[str, Any]) -> None:
    documents = {
        "ragflow": {"factory_llm_infos": [{**factory, "name": "N", "llm": [{**row, **named}, row]}, factory]},
        "llmadmin": [
            {"model": "providers.llmfactory", "fields": {**factory, "name": "N"}},
            {"model": "providers.llm", "fields": {**row, "factory": ["N"], "llm_name": "n", "model_types": "chat"}},
            row,
        ],
        "litellm": {"a": {**row, "litellm_provider": "openai"}, "b": row},
        "models.dev": {"openai": {"models": {"a": row, "b": {**row, "cost": factory}}}, "x": factory},
    }
    for format_name, document in documents.items():
        catalogue = formats.parse(json.dumps(document).encode(), format_name)
        for model in catalogue.models:
            assert 0 < len(model.llm_name) <= 128
            assert model.values["model_types"]
