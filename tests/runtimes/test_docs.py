"""The page about services says of drivers what they declare."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from llmadmin.job_types import JOB_TYPES
from runtimes.drivers import installed
from runtimes.drivers.base import CAPABILITIES

PAGE = Path(settings.BASE_DIR) / "docs" / "services.md"


def matrix() -> str:
    """The table of all drivers' capabilities; print it to renew the page."""
    drivers = sorted(installed().values(), key=lambda driver: driver.type)
    head = ["", *(f"`{driver.type}`" for driver in drivers)]
    rows = [head, ["---"] * len(head)]
    for name in CAPABILITIES:
        rows.append([name, *("✓" if name in driver.capabilities else "" for driver in drivers)])
    return "".join(f"| {' | '.join(row)} |\n".replace("  ", " ") for row in rows)


def usual_places() -> str:
    drivers = sorted(installed().values(), key=lambda driver: driver.type)
    rows = ["| type | what | usual place | key variable |\n", "|---|---|---|---|\n"]
    for driver in drivers:
        places = ", ".join(f"`{url}`" for url in driver.default_urls) or "–"
        key = f"`{driver.api_key_env_var}`" if driver.api_key_env_var else "–"
        rows.append(f"| `{driver.type}` | {driver.label} | {places} | {key} |\n")
    return "".join(rows)


def test_the_page_has_the_capabilities_that_drivers_declare() -> None:
    assert matrix() in PAGE.read_text(), f"renew the table in {PAGE.name}:\n{matrix()}"


def test_the_page_has_the_usual_places() -> None:
    assert usual_places() in PAGE.read_text(), f"renew the table in {PAGE.name}:\n{usual_places()}"


def test_the_page_names_every_kind_of_job() -> None:
    page = PAGE.read_text()
    for name in JOB_TYPES:
        if name.startswith("llm_model_ops:"):
            assert f"`{name.partition(':')[2]}`" in page
