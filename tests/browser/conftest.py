"""A real Chromium, logged in to a really started installation. Screenshots are kept where BROWSER_SHOTS says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.live.stack import Stack

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Lives only as long as its module: while it runs, its event loop makes Django refuse synchronous queries."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed (CHROMIUM names its executable).")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def session(browser: Browser, stack: Stack) -> dict[str, object]:
    """The cookies of the first admin, who has logged in as people do."""
    context = browser.new_context(base_url=stack.url)
    page = context.new_page()
    page.goto("/admin/")
    page.fill("[name=username]", stack.admin.username)
    page.fill("[name=password]", stack.admin.password)
    page.click("[type=submit]")
    page.wait_for_url("**/admin/")
    state = dict(context.storage_state())
    context.close()
    return state


@pytest.fixture
def page(browser: Browser, stack: Stack, session: dict[str, object]) -> Iterator[Page]:
    """A tab in which nothing may go wrong unseen: no script error, no console error (CSP's are there), no 4xx."""
    size = {"width": 1440, "height": 900}
    context = browser.new_context(base_url=stack.url, storage_state=session, viewport=size)  # type: ignore[arg-type]
    page, faults = context.new_page(), list[str]()

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("response", lambda answer: faults.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    yield page
    context.close()
    assert faults == []


@pytest.fixture
def shot(page: Page, tmp_path: Path) -> Callable[[str], None]:
    """Keeps a picture of the page, light and dark."""
    folder = Path(os.environ.get("BROWSER_SHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str) -> None:
        for theme in ("light", "dark"):
            page.evaluate("theme => document.documentElement.classList.toggle('dark', theme === 'dark')", theme)
            page.screenshot(path=folder / f"{name}-{theme}.png")
        page.evaluate("() => document.documentElement.classList.remove('dark')")

    return take
