from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from core.admin_review import CELL_LENGTH, SourceForm, cell, row


class Form(SourceForm):
    max_bytes = 2**20


def given(*, text: str = "", file: bytes | None = None) -> SourceForm:
    return Form({"text": text}, {} if file is None else {"file": SimpleUploadedFile("some.yaml", file)})


def test_a_file_is_read_like_pasted_text() -> None:
    for form in (given(text="llm: {ü}\n"), given(file="llm: {ü}\n".encode())):
        assert form.is_valid() and form.cleaned_data["data"] == "llm: {ü}\n".encode()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (given(), "Choose a file, or paste its text."),
        (given(text=" \n"), "Choose a file, or paste its text."),
        (given(file=b" \n"), "Choose a file, or paste its text."),
        (given(text="a", file=b"b"), "Choose a file or paste its text, not both."),
        (given(file=b"x" * (2**20 + 1)), "It is larger than 1 MiB."),
        (given(text="x" * (2**20 + 1)), "It is larger than 1 MiB."),
        (given(text="ü" * 2**20), "It is larger than 1 MiB."),
    ],
    ids=["nothing", "blank_text", "blank_file", "both", "large_file", "long_text", "text_long_in_bytes"],
)
def test_what_cannot_be_read_is_told(form: SourceForm, said: str) -> None:
    assert not form.is_valid() and form.non_field_errors() == [said]


def test_the_largest_file_allowed_is_read() -> None:
    assert given(file=b"x" * 2**20).is_valid() and given(text="x" * 2**20).is_valid()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing"),
        ("", "nothing"),
        ([], "nothing"),
        (False, "false"),
        (0, "0"),
        (["a", "b"], "a, b"),
        ({"ü": [1, None]}, '{"ü": [1, null]}'),
        ("x" * (CELL_LENGTH + 1), "x" * CELL_LENGTH + "…"),
        (["x" * CELL_LENGTH, "y"], "x" * CELL_LENGTH + "…"),
    ],
)
def test_cells_are_short_and_no_literals_of_python(value: Any, shown: str) -> None:
    assert cell(value) == shown


def test_a_new_row_shows_what_it_holds_and_a_changed_one_what_changes() -> None:
    new = row("service", "lab", (), {"type": "vllm", "urls": [], "is_on": False})
    assert (new["fields"], new["values"]) == ([], {"type": "vllm", "is_on": "false"})
    changed = row("service", "lab", [("urls", [], ["a"])], {})
    assert changed["fields"] == [{"field": "urls", "old": "nothing", "new": "a"}]
