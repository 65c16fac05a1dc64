"""Dialects are found, not listed; and finding them is cheap."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from providers import dialects
from providers.admin.forms import FactoryForm
from providers.dialects import UnknownDialect
from providers.errors import AuthenticationFailed, Unsupported
from providers.llm_types import LLMType
from providers.services import matrix
from providers.target import Target
from providers.wire import Operation, operation_for

DOCS = Path(__file__).resolve().parents[2] / "docs" / "dialects.md"
IMPORT_BUDGET_S = 0.1
_CHILD = """
import sys, time
started = time.process_time()
import providers.dialects
importing = time.process_time() - started
import providers.signers, providers.quirks, providers.probe_payloads
providers.dialects.names()
providers.signers.names()
files = {name.partition(".")[0]: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
others = sorted(name for name, file in files.items() if "site-packages" in file and not name.startswith("_"))
print(started, importing, ",".join(others))
"""


def test_importing_the_dialects_is_fast_and_pulls_neither_a_framework_nor_a_vendors_library() -> None:
    """On a machine on which Python itself takes long to start, everything may."""
    runs = []
    for _ in range(5):  # its own time on the processor, and the best of some: the machine may be busy
        out = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True).stdout
        starting, importing, others = out.split()
        assert others == "orjson"
        runs.append((float(importing), max(IMPORT_BUDGET_S, 5 * float(starting))))
        if runs[-1][0] < runs[-1][1]:
            return
    raise AssertionError(runs)


def test_the_openai_dialect_is_found_with_what_it_can_do() -> None:
    assert "openai" in dialects.names()
    assert dialects.operations("openai") == set(Operation) - {Operation.OCR}


@pytest.mark.parametrize("kind", [kind for kind in LLMType if kind is not LLMType.OCR])
def test_a_model_type_leads_to_a_dialect_and_an_operation(kind: LLMType) -> None:
    dialect, operation = dialects.for_type(kind, "openai")
    assert dialect.name == "openai"
    assert operation is operation_for(kind)


def test_a_type_that_the_row_calls_uncallable_is_unsupported_with_its_reason() -> None:
    uncallable = {LLMType.TTS: "It speaks on the phone only."}
    with pytest.raises(Unsupported, match="on the phone"):
        dialects.for_type("tts", "openai", uncallable)
    assert dialects.for_type("chat", "openai", uncallable) == dialects.for_type("chat", "openai")


def test_a_type_that_a_dialect_does_not_have_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="ocr"):
        dialects.for_type("ocr", "openai")


def test_an_unknown_dialect_names_the_known_ones() -> None:
    with pytest.raises(UnknownDialect) as caught:
        dialects.get("klingon")
    assert "openai" in caught.value.hint
    assert isinstance(caught.value, Unsupported)


class Shouting:
    """A dialect as a third party would ship it."""

    name = "shouting"
    operations = frozenset({Operation.CHAT})

    def build(self, *args: Any) -> Any:
        raise Unsupported

    def parse(self, *args: Any) -> Any:
        raise Unsupported

    def decoder(self, *args: Any) -> Any:
        raise Unsupported


class Usurper(Shouting):
    name = "openai"


shouting, usurper, nonsense = Shouting(), Usurper(), object()


def test_third_parties_add_dialects_but_neither_replace_nor_break_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A package that is installed for real, as far as Python can tell."""
    info = tmp_path / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    lines = [f"{name} = {__name__}:{name}" for name in ("shouting", "usurper", "nonsense", "missing", "Shouting")]
    (info / "entry_points.txt").write_text("\n".join([f"[{dialects.ENTRY_POINTS}]", *lines]))
    monkeypatch.syspath_prepend(str(tmp_path))
    built_in = set(dialects.names())
    dialects._registry.cache_clear()
    try:
        assert dialects.get("shouting") is shouting
        assert dialects.get("openai") is not usurper
        assert set(dialects.names()) == built_in | {"shouting"}
        assert len(caplog.records) == 4
    finally:
        dialects._registry.cache_clear()


def test_the_package_in_the_docs_is_a_choice_of_the_admin_a_cell_of_the_matrix_and_can_be_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    toml, package, chat = re.findall(r"(?s)```(?:toml|python)\n(.+?)```", DOCS.read_text())
    info, folder = tmp_path / "loudly-1.0.dist-info", tmp_path / "loudly"
    for made in (info, folder):
        made.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loudly\nVersion: 1.0\n")
    points = tomllib.loads(toml)["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in of.items()) for group, of in points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (folder / "__init__.py").write_text(package)
    (folder / "chat.py").write_text(chat)
    monkeypatch.syspath_prepend(str(tmp_path))
    dialects._registry.cache_clear()
    try:
        assert ("loudly", "loudly") in FactoryForm().fields["dialect"].choices
        (cell,) = matrix.matrix([({"name": "Loud", "tags": "LLM", "dialect": "loudly"}, [])])
        assert (cell.operation, cell.callable) == (Operation.CHAT, True)
        to = Target("Loud", "m", "https://loud.example", dialect="loudly")
        built = dialects.get("loudly").build(Operation.CHAT, {"messages": [{"role": "user", "content": "Hi"}]}, to)
        assert built.url == "https://loud.example/shout"
        assert json.loads(built.body or b"")["model"] == "m"
        with pytest.raises(AuthenticationFailed):
            dialects.get("loudly").parse(Operation.CHAT, 401, {}, b"{}")
    finally:
        dialects._registry.cache_clear()
        for name in ("loudly", "loudly.chat"):
            sys.modules.pop(name, None)
