"""The hand-written pages name what there is: every setting, every linked page, every check."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.live.stack import ROOT

pytestmark = pytest.mark.once

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = _FENCED.sub("", page.read_text())
    for link in _LINK.findall(text):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if fragment:
            assert fragment in {anchor(heading) for heading in _HEADING.findall(target.read_text())}, link


def test_the_readme_names_every_page() -> None:
    linked = set(_LINK.findall((ROOT / "README.md").read_text()))
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


def test_every_setting_is_described_and_nothing_else() -> None:
    code = (ROOT / "llmadmin" / "settings.py").read_text()
    read = set(re.findall(r'\benv\.\w+\(\s*"(\w+)"', code)) | set(re.findall(r'\benv\.pair\("\w+", "(\w+)"', code))
    page = (ROOT / "docs" / "settings.md").read_text()
    first_cells = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    assert {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)} == read
    assert len(read) > 25


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_whatever_looks_like_a_path_of_the_project_exists(page: Path) -> None:
    rooms = "bench|core|docs|fixtures|gateway|jobs|llmadmin|providers|runtimes|static|templates|tenants|tests|usage"
    for found in re.findall(rf"`((?:{rooms})/[\w./]*[\w/])`", _FENCED.sub("", page.read_text())):
        assert (ROOT / found).exists(), found


def test_every_system_check_is_described() -> None:
    number = re.compile(r"\b[EW]0[0-9]{2}\b")
    files = [ROOT / room / "checks.py" for room in ("core", "llmadmin", "tenants", "usage")]
    made = {found for path in files for found in number.findall(path.read_text())}
    assert set(number.findall((ROOT / "docs" / "security.md").read_text())) == made
    assert len(made) > 15
