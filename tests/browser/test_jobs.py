"""A long job, watched and steered in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.live.stack import Stack

pytestmark = pytest.mark.browser
Shot = Callable[[str], None]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """An installation with the jobs of the tests."""
    started = Stack(env={"DJANGO_SETTINGS_MODULE": "tests.live.settings"}, prepared_by="bootstrap").start()
    yield started
    started.close()


def enqueue(stack: Stack, params: dict[str, object], times: int = 1) -> str:
    code = (
        "from jobs.services import queue; from core.audit import SYSTEM;"
        f"print([queue.enqueue('download', params={params!r}, actor=SYSTEM).pk for _ in range({times})][0])"
    )
    return stack.manage("shell", "-v", "0", "-c", code).split()[-1]


def test_a_job_is_watched_suspended_resumed_cancelled_and_retried(
    stack: Stack, page: Page, shot: Shot, tmp_path: Path
) -> None:
    params = {"file": str(tmp_path / "chunks"), "chunks": 400, "seconds": 0.25, "model_name": "llama3.2:3b"}
    pk = enqueue(stack, {**params, "service_name": "ollama"})
    page.goto(f"/admin/jobs/job/{pk}/change/")
    state = page.locator(".lla-job").first
    expect(state).to_contain_text("Running", timeout=30_000)
    expect(state).to_contain_text("MB/s", timeout=30_000)
    expect(state).to_contain_text("left")
    percent = page.locator(".lla-job progress").first
    seen = float(percent.get_attribute("value") or 0)
    page.wait_for_function(f"document.querySelector('.lla-job progress').value > {seen}", timeout=30_000)
    shot("job-running")
    page.set_viewport_size({"width": 400, "height": 800})
    shot("job-running-narrow")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.click("button:has-text('Suspend')")
    expect(state).to_contain_text("Suspended", timeout=30_000)
    expect(page.locator("button:has-text('Resume')")).to_be_visible(timeout=30_000)
    shot("job-suspended")
    page.click("button:has-text('Resume')")
    expect(state).to_contain_text("Running", timeout=30_000)
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("button:has-text('Cancel')")
    expect(state).to_contain_text("Cancelled", timeout=30_000)
    expect(page.locator("button:has-text('Retry')")).to_be_visible(timeout=30_000)
    expect(page.locator("#content")).to_contain_text("to be cancelled by admin")
    page.locator("text=to be cancelled by admin").scroll_into_view_if_needed()
    shot("job-cancelled")
    page.click("button:has-text('Retry')")
    expect(state).to_contain_text("Running", timeout=30_000)
    enqueue(stack, {**params, "service_name": "lm-studio"}, times=3)
    page.goto("/admin/jobs/job/")
    rows = page.locator("#result_list tbody tr")
    expect(rows.locator("progress").first).to_be_visible()
    expect(page.locator("#result_list")).to_contain_text("MB/s", timeout=30_000)
    expect(page.locator("#result_list")).to_contain_text("llama3.2:3b on ollama")
    shot("jobs")
    page.set_viewport_size({"width": 400, "height": 800})
    shot("jobs-narrow")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto("/admin/jobs/job/?state__exact=cancelled&type=download&queue=models")
    expect(page.locator("body")).to_contain_text("0 jobs")
