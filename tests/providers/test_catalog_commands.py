"""import_catalog, export_catalog and price_catalog, as a person types them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from providers.models import LLM, LLMFactory
from tests.people import make_user
from tests.providers import catalog_samples as samples

pytestmark = pytest.mark.django_db


def run(*args: str) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.json"
    path.write_bytes(samples.odd_ragflow())
    return path


def test_an_import_prints_the_report_line_by_line(file: Path) -> None:
    lines = run("import_catalog", str(file)).splitlines()
    assert "normalised: Odd / heard: model_types: asr is our speech2text" in lines
    assert "+ model Odd / heard" in lines
    assert lines[-1].startswith("ragflow: 14 added, 0 changed, 0 kept, 0 removed, 0 unchanged")
    assert LLM.objects.count() == 12


def test_a_dry_run_shows_the_same_and_writes_nothing(file: Path) -> None:
    *dry, last = run("import_catalog", str(file), "--dry-run").splitlines()
    assert last.endswith("(dry run: nothing was written)")
    assert not LLMFactory.objects.exists()
    assert run("import_catalog", str(file)).splitlines()[:-1] == dry


def test_json_is_one_document(file: Path) -> None:
    document = json.loads(run("import_catalog", str(file), "--json", "--dry-run"))
    assert (document["format"], document["applied"], document["summary"]["added"]) == ("ragflow", False, 14)


def test_a_directory_stands_for_all_its_json_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(samples.llmadmin(samples.factory_row("A")))
    (tmp_path / "b.json").write_bytes(samples.llmadmin(samples.factory_row("B")))
    run("import_catalog", str(tmp_path))
    assert LLMFactory.objects.count() == 2


def test_a_dash_stands_for_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(samples.llmadmin())))
    run("import_catalog", "-")
    assert LLM.objects.count() == 1


def test_the_named_user_stands_in_the_history(file: Path) -> None:
    user = make_user("curator")
    run("import_catalog", str(file), "--user", "curator")
    assert {row.history_user for row in LLM.history.all()} == {user}


def test_overwrite_and_retire_are_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_bytes(samples.llmadmin(samples.factory_row(), samples.model_row(), samples.model_row("two")))
    run("import_catalog", str(path))
    LLM.objects.filter(llm_name="one").update(max_tokens=77)
    path.write_bytes(samples.llmadmin(samples.factory_row(), samples.model_row()))
    assert "= model Vendor / one (edited here: kept)" in run("import_catalog", str(path)).splitlines()
    run("import_catalog", str(path), "--overwrite", "--retire")
    assert LLM.objects.get(llm_name="one").max_tokens == 8192
    assert LLM.objects.get(llm_name="two").status == "0"


def test_what_cannot_be_read_is_an_error_with_the_files_name(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    with pytest.raises(CommandError, match=r"bad\.json: The file is not valid JSON"):
        run("import_catalog", str(bad))
    with pytest.raises(CommandError, match="No such file"):
        run("import_catalog", str(tmp_path / "none.json"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CommandError, match=r"holds no \*\.json file"):
        run("import_catalog", str(tmp_path / "empty"))
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        run("import_catalog", str(bad), "--user", "nobody", "--format", "llmadmin")


def test_the_wrong_format_is_an_error(file: Path) -> None:
    with pytest.raises(CommandError, match="not a llmadmin catalogue"):
        run("import_catalog", str(file), "--format", "llmadmin")


def test_an_export_goes_to_a_file_a_directory_or_the_terminal(file: Path, tmp_path: Path) -> None:
    run("import_catalog", str(file))
    text = run("export_catalog")
    run("export_catalog", "--output", str(tmp_path / "all.json"))
    assert (tmp_path / "all.json").read_text(encoding="utf-8") == text
    folder = tmp_path / "out"
    folder.mkdir()
    run("export_catalog", "--output", str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["empty.json", "odd.json"]
    assert (folder / "odd.json").read_text(encoding="utf-8") == run("export_catalog", "--factory", "Odd")
    assert run("import_catalog", str(folder), "--dry-run").splitlines()[-1].startswith("llmadmin: 0 added, 0 changed")


def test_an_unknown_factory_is_an_error() -> None:
    for command in ("export_catalog", "price_catalog"):
        with pytest.raises(CommandError, match="There is no factory 'Nobody'"):
            run(command, "--factory", "Nobody")


def test_prices_are_brought_up_to_date() -> None:
    factory = LLMFactory.objects.create(name="OpenAI", price_provider="openai")
    LLM.objects.create(factory=factory, llm_name="gpt-4o", model_types=["chat"])
    assert run("price_catalog", "--dry-run").splitlines()[-1].endswith("(dry run: nothing was written)")
    assert not LLM.objects.get().is_priced
    lines = run("price_catalog").splitlines()
    assert lines[0].startswith("~ OpenAI / gpt-4o: input_price: unpriced → ")
    assert json.loads(run("price_catalog", "--json"))["unchanged"] == 1
