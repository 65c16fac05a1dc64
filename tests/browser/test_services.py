"""Services and their models, managed in Chromium; the Mock runtime does what it is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
Shot = Callable[[str], None]
LIST = "/admin/runtimes/llmservice/"
MODEL = "browser-model-3B"


def open_mock(page: Page) -> str:
    """The Mock service's page, once it is known to be up; its URL."""
    page.goto(LIST)
    row = page.locator("#result_list tbody tr", has_text="mock").first
    expect(row).to_contain_text("Up", timeout=60_000)
    row.locator("th a").click()
    page.wait_for_url("**/change/")
    expect(page.locator("#models")).to_contain_text("mock-model-7B", timeout=60_000)
    return page.url


def test_the_list_the_matrix_and_the_chooser_are_shown(page: Page, shot: Shot) -> None:
    open_mock(page)
    page.goto(LIST)
    expect(page.locator("#result_list")).to_contain_text("lm-studio")
    shot("services")
    page.click("text=Capabilities")
    expect(page.locator(".lla-matrix tbody tr", has_text="Mock")).to_contain_text("check")
    shot("services-matrix")
    page.goto(f"{LIST}add/")
    page.click("text=Ollama")
    expect(page.locator("[name=name]")).to_have_value("ollama-2")
    shot("services-add")


def test_a_model_is_installed_watched_loaded_and_deleted(page: Page, shot: Shot) -> None:
    service = open_mock(page)
    page.click("text=with options")
    page.fill("[name=model_name]", MODEL)
    page.fill("[name=options]", '{"install_steps": 60, "install_step_delay_s": 0.2}')
    page.click("button:has-text('Install a model')")
    page.wait_for_url("**/jobs/job/**")
    percent = page.locator(".lla-job progress").first
    expect(percent).to_be_visible(timeout=30_000)
    page.wait_for_function("document.querySelector('.lla-job progress')?.value > 2", timeout=30_000)
    shot("service-job")
    page.goto(service)
    expect(page.locator("#models .lla-coming progress")).to_be_visible()
    expect(page.locator("#jobs progress").first).to_be_visible()
    shot("service-installing")
    row = page.locator("#models tr", has_text=MODEL)
    expect(row).to_contain_text("Not Loaded", timeout=60_000)  # it comes by itself
    shot("service-installed")
    row.locator("button:has-text('Load')").click()
    page.wait_for_url("**/jobs/job/**")
    expect(page.locator(".lla-job").first).to_contain_text("Completed", timeout=30_000)
    page.goto(service)
    expect(row.locator("button:has-text('Unload')")).to_be_visible(timeout=30_000)
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    row.locator("button:has-text('Delete')").click()
    page.wait_for_url("**/jobs/job/**")
    assert asked and "for good" in asked[0]
    expect(page.locator(".lla-job").first).to_contain_text("Completed", timeout=30_000)
    page.goto(service)
    expect(page.locator("#models")).not_to_contain_text(MODEL)


def test_a_service_is_tested_and_its_page_fits_a_narrow_screen(page: Page, shot: Shot) -> None:
    service = open_mock(page)
    page.click("button:has-text('Test now')")
    expect(page.locator("#jobs")).to_contain_text("Completed", timeout=30_000)
    page.set_viewport_size({"width": 400, "height": 900})
    for url, name in (
        (service, "service-narrow"),
        (LIST, "services-narrow"),
        (f"{LIST}capabilities/", "matrix-narrow"),
    ):
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= 401
        shot(name)


def test_a_file_is_reviewed_before_it_is_imported(page: Page, shot: Shot) -> None:
    page.goto(f"{LIST}import/")
    text = 'llm: {services: {lab: {type: vllm, urls: ["http://10.0.0.5:8000"], api_key: sk-browser-0123456789}}}'
    page.fill("[name=text]", text)
    page.click("[name=review]")
    expect(page.locator("#review")).to_contain_text("10.0.0.5 is not a public address")
    assert "sk-browser-0123456789" not in page.content()
    shot("services-import")
    page.click("[name=apply]")
    page.wait_for_url("**/llmservice/")
    expect(page.locator("#result_list")).to_contain_text("lab")
