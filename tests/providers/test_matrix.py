"""Which factory can be called for what. `WRITE_DOCS=1 pytest tests/providers/test_matrix.py` writes the page."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from providers import dialects
from providers.llm_types import LLMType
from providers.models import LLM, LLMFactory
from providers.services import matrix
from providers.wire import Operation
from tests.providers.evidence import EVIDENCE, KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "providers.md"
INTRODUCTION = """# Providers

What can be called of the catalogue that we ship, and how. `manage.py providers` prints the same for the catalogue of
this installation, `--fixtures` for the shipped one, and `--json` for programs. A factory is listed for the model types
of its models and of its tags; a number counts the models that the catalogue has, and 0 means that tenants add theirs.

How a cell is called follows from data: the factory's `dialect` (a model type, or a model, may have another in its
quirks), the operation of the model type, and the factory's `signer`. [The catalogue](catalogue.md) explains them. Where
a vendor has no API for what its tags offer, its row says so.
"""


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("providers", *args, stdout=out)
    return out.getvalue()


def page(cells: list[matrix.Cell]) -> str:
    works = [cell for cell in cells if cell.callable]
    factories = sorted({cell.factory for cell in cells}, key=str.casefold)
    text = INTRODUCTION + f"\n{len(works)} of {len(cells)} cells of {len(factories)} factories can be called.\n"
    text += "\n## Wire formats\n\nWhat each was tested against:\n\n"
    text += "".join(f"- *{kind}*: {meaning}\n" for kind, meaning in KINDS.items())
    text += "\nNo vendor's own service is called by the tests.\n"
    text += "\n| dialect | operation | factories | tested against |\n|---|---|---|---|\n"
    used = Counter((cell.dialect, cell.operation, cell.factory) for cell in works)
    places = Counter((dialect, operation) for dialect, operation, _ in used)
    for dialect in dialects.names():
        for operation in (one for one in Operation if one in EVIDENCE.get(dialect, ())):
            against = ", ".join(EVIDENCE[dialect][operation])
            text += f"| `{dialect}` | {operation} | {places[dialect, operation]} | {against} |\n"
    text += "\n## Factories\n\nThe number of models and the dialect; ✗ is what cannot be called.\n\n"
    text += f"| factory | signer | {' | '.join(LLMType)} |\n|---|---|{'---|' * len(LLMType)}\n"
    for name in factories:
        own = [cell for cell in cells if cell.factory == name]
        columns = [", ".join(map(shown, (cell for cell in own if cell.model_type is kind))) for kind in LLMType]
        signed = ", ".join(f"`{signer}`" for signer in dict.fromkeys(cell.signer for cell in own))
        text += f"| {name} | {signed} | {' | '.join(columns)} |\n".replace("|  ", "| ")
    text += "\n## What cannot be called, and why\n\n| factory | model type | models | why |\n|---|---|---|---|\n"
    for cell in cells:
        if not cell.callable:
            text += f"| {cell.factory} | {cell.model_type} | {cell.models} | {cell.problem} |\n"
    return text


def shown(cell: matrix.Cell) -> str:
    return f"{cell.models} {cell.dialect}" if cell.callable else f"✗ {cell.models} {cell.dialect}"


def test_the_page_shows_the_shipped_catalogue_as_it_is() -> None:
    text = page(matrix.from_fixtures())
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text


def test_every_call_of_an_installed_wire_format_has_been_tested_against_something() -> None:
    ours = {name: dialects.operations(name) - {Operation.MODELS} for name in dialects.names()}
    assert {name: set(operations) for name, operations in EVIDENCE.items()} == ours
    for dialect, operations in EVIDENCE.items():
        for kinds in operations.values():
            assert kinds and set(kinds) <= set(KINDS)
        assert any((Path(__file__).parent / "golden" / dialect).glob("*.json"))


def test_a_cell_that_cannot_be_called_says_why() -> None:
    rows = [
        ({"name": "A", "tags": "LLM", "dialect": "klingon", "signer": "bearer"}, []),
        ({"name": "B", "tags": "OCR", "dialect": "openai", "signer": "bearer"}, []),
        ({"name": "C", "tags": "LLM,MODERATION", "dialect": "openai", "signer": "sealing-wax"}, []),
    ]
    a, b, c = matrix.matrix(rows)
    assert (a.dialect_installed, a.signer_installed, a.callable) == (False, True, False)
    assert a.problem == "The wire format “klingon” is not installed."
    assert b.problem == "The wire format “openai” has no call for ocr models."
    assert (c.dialect_installed, c.signer_installed) == (True, False)
    assert c.problem == "The signer “sealing-wax” is not installed."


def test_a_row_may_say_itself_why_a_type_cannot_be_called() -> None:
    factory = {"name": "A", "tags": "LLM,TTS,OCR", "quirks": {"uncallable": {"ocr": "It has no API."}}}
    models = [
        {"model_types": ["chat"]},
        {"model_types": ["chat"], "quirks": {"uncallable": {"chat": "It speaks on the phone only."}}},
    ]
    cells = matrix.matrix([(factory, models)])
    assert [(cell.model_type.value, cell.models, cell.problem, cell.declared) for cell in cells] == [
        ("chat", 1, "", False),
        ("chat", 1, "It speaks on the phone only.", True),
        ("tts", 0, "", False),
        ("ocr", 0, "It has no API.", True),
    ]


def test_every_cell_of_the_shipped_catalogue_is_callable_or_says_why_on_its_row() -> None:
    cells = matrix.from_fixtures()
    assert len(cells) > 220
    assert [cell for cell in cells if not cell.callable and not cell.declared] == []


def test_quirks_lead_a_type_or_a_model_to_another_wire_format() -> None:
    quirks = {"dialects": {"rerank": "cohere"}, "signers": {"rerank": "header:x-api-key"}}
    factory = {"name": "A", "tags": "LLM,TEXT RE-RANK", "quirks": quirks}
    models = [
        {"model_types": ["chat", "image2text"]},
        {"model_types": ["chat"], "quirks": {"dialects": {"chat": "anthropic"}}},
    ]
    cells = matrix.matrix([(factory, models)])
    assert [(cell.model_type.value, cell.dialect, cell.operation.value, cell.models) for cell in cells] == [
        ("chat", "anthropic", "chat", 1),
        ("chat", "openai", "chat", 1),
        ("rerank", "cohere", "rerank", 0),
        ("image2text", "openai", "chat", 1),
    ]
    assert all(cell.callable for cell in cells)
    assert [cell.signer for cell in cells] == ["bearer", "bearer", "header:x-api-key", "bearer"]


@pytest.mark.django_db
def test_the_database_and_the_shipped_files_have_the_same_matrix() -> None:
    call_command("loaddata", *map(str, Path(settings.CATALOG_DIR).glob("*.json")), verbosity=0)
    assert matrix.from_database() == matrix.from_fixtures()


@pytest.mark.django_db
def test_the_command_prints_the_catalogue_of_this_installation() -> None:
    factory = LLMFactory.objects.create(name="Vendor", tags="LLM,TTS", dialect="anthropic", signer="bearer")
    LLM.objects.create(factory=factory, llm_name="m", model_types=["chat"])
    lines = [line.split() for line in run().splitlines()]
    assert lines[0] == ["factory", "model", "type", "models", "dialect", "operation", "signer"]
    assert lines[1] == ["Vendor", "chat", "1", "anthropic", "chat", "bearer"]
    assert lines[2][:6] == ["Vendor", "tts", "0", "anthropic", "speech", "bearer"]
    assert lines[3] == ["1", "of", "2", "can", "be", "called."]


@pytest.mark.django_db
def test_an_empty_catalogue_says_where_one_comes_from() -> None:
    assert "--fixtures" in run().splitlines()[-1]
    assert json.loads(run("--json")) == []


def test_the_command_prints_one_json_document_and_needs_no_database_for_the_shipped_catalogue() -> None:
    document = json.loads(run("--fixtures", "--json"))
    assert len(document) == len(matrix.from_fixtures())
    (anthropic, *_) = [cell for cell in document if cell["factory"] == "Anthropic"]
    assert anthropic["dialect"] == anthropic["factory"].lower()
    assert (anthropic["model_type"], anthropic["operation"], anthropic["problem"]) == ("chat", "chat", "")
    assert (anthropic["dialect_installed"], anthropic["signer_installed"]) == (True, True)
