"""What staff do in the admin, done in Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.doing import add_model, choose, new_credential
from tests.fakes.upstream import KEY, FakeUpstream

pytestmark = pytest.mark.browser
Shot = Callable[[str], None]


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


def test_the_dashboard_and_the_catalogue_are_shown(page: Page, shot: Shot) -> None:
    page.goto("/admin/")
    expect(page.locator("h1")).to_contain_text("Dashboard")
    expect(page.get_by_text("alive", exact=True).first).to_be_visible()
    shot("dashboard")
    page.goto("/admin/providers/llmfactory/")
    expect(page.locator("#result_list")).to_contain_text("OpenAI")
    shot("factories")
    page.goto("/admin/providers/llmfactory/?q=NVIDIA")
    page.click("#result_list tbody th a")
    expect(page.locator("#llms-group")).to_be_visible()
    expect(page.locator("#llms-group .field-name")).to_have_count(20)
    shot("factory")
    page.goto("/admin/providers/llm/?priced=no")
    expect(page.locator("#result_list")).to_contain_text("unpriced")
    shot("models")


def test_a_wrong_key_is_tested_while_one_watches_and_then_put_right(
    page: Page, upstream: FakeUpstream, shot: Shot
) -> None:
    new_credential(page, upstream.url, key="sk-wrong-0123456789", label="watched")
    panel = page.locator("#test")
    expect(panel).to_contain_text("bad key", timeout=30_000)
    expect(panel).to_contain_text("401")
    assert upstream.total_calls == 1
    shot("credential-bad-key")
    expect(page.locator("[name=value_api_key]")).to_have_value("")
    page.fill("[name=value_api_key]", KEY)
    page.click("[name=_save]")
    page.wait_for_url("**job=**")
    expect(panel).to_contain_text("works", timeout=30_000)
    assert KEY not in page.content()
    expect(page.locator("[name=value_api_key]")).to_have_attribute("placeholder", re.compile(KEY[-4:]))
    shot("credential-works")


def test_each_model_and_type_gets_its_verdict(page: Page, upstream: FakeUpstream, shot: Shot) -> None:
    upstream.rate_limited("/embeddings")
    new_credential(page, upstream.url, key=KEY, label="verdicts")
    expect(page.locator("#test")).to_contain_text("works", timeout=30_000)
    credential = page.url
    for name, kind in (("fake-chat", "chat"), ("fake-embedding", "embedding")):
        add_model(page, credential, name, kind)
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("button:has-text('Test every model')")
    table = page.locator("#test .lla-table")
    expect(table).to_contain_text("fake-embedding", timeout=30_000)
    expect(table).to_contain_text("rate limited")
    expect(page.locator("#test progress")).to_have_count(0, timeout=30_000)
    shot("credential-verdicts")
    page.goto("/admin/tenants/credential/")
    expect(page.locator("#result_list")).to_contain_text("verdicts")
    shot("credentials")
    page.goto("/admin/jobs/job/")
    expect(page.locator("#result_list")).to_contain_text("probe")
    shot("jobs")
    page.click("#result_list tbody th a")
    expect(page.locator("#content")).to_contain_text("Outcome")
    shot("job")


def test_an_import_is_reviewed_before_it_is_applied(page: Page, shot: Shot, tmp_path: Path) -> None:
    factory = {
        "model": "providers.llmfactory",
        "fields": {
            "name": "Browser Works",
            "rank": "12",
            "base_url": "https://api.browser.test/v1",
            "tags": "LLM, TTS",
        },
    }
    model = {
        "model": "providers.llm",
        "fields": {"factory": ["Browser Works"], "llm_name": "bw-1", "model_types": "chat", "max_tokens": 4096},
    }
    file = tmp_path / "catalogue.json"
    for rank in ("12", "13"):
        factory["fields"]["rank"] = rank  # type: ignore[index]
        file.write_text(json.dumps([factory, model]))
        page.goto("/admin/providers/llmfactory/import/")
        page.set_input_files("[name=file]", file)
        page.click("[name=review]")
        page.locator("#review details").first.evaluate("one => { one.open = true; }")
        expect(page.locator("#review")).to_contain_text("Browser Works")
        page.locator(".lla-notes").evaluate("one => { one.open = true; }")
        expect(page.locator(".lla-notes")).to_contain_text("taken as a number")
        shot(f"import-{rank}")
        page.click("[name=apply]")
        page.wait_for_url("**/llmfactory/")
        expect(page.locator("#content, #main").first).to_contain_text("Imported (llmadmin)")
    page.goto("/admin/providers/llmfactory/?q=Browser")
    page.click("#result_list tbody th a")
    page.click("text=History")
    expect(page.locator("#change-history")).to_contain_text("13")
    shot("history")


def test_a_token_is_shown_once(page: Page, shot: Shot) -> None:
    page.goto("/admin/tenants/apitoken/add/")
    choose(page, "tenant", "Demo")
    page.fill("[name=name]", "from the browser")
    page.click("[name=_save]")
    plain = page.locator("#plain-token").inner_text()
    assert re.fullmatch(r"lla_[\w-]{43}", plain)
    page.click("[data-copy]")
    expect(page.locator("[data-copy]")).not_to_have_text("Copy")
    shot("token")
    page.click("text=I have copied it")
    expect(page.locator("#result_list")).to_contain_text("from the browser")
    assert plain not in page.content()
    shot("tokens")


@pytest.mark.parametrize(
    "name", ["tenants/tenant", "tenants/tenantllm", "tenants/probe", "tenants/auditevent", "auth/user", "auth/group"]
)
def test_the_other_lists_open(page: Page, shot: Shot, name: str) -> None:
    page.goto(f"/admin/{name}/")
    expect(page.locator("#changelist")).to_be_visible()
    shot(name.replace("/", "-"))


def test_a_tenant_is_made_and_opened_on_a_narrow_screen(page: Page, shot: Shot) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto("/admin/tenants/tenant/add/")
    page.fill("[name=name]", "Narrow")
    choose(page, "owner", "admin")
    page.click("[name=_continue]")
    expect(page.locator("#content")).to_contain_text("Default models")
    assert page.evaluate("document.documentElement.scrollWidth") <= 421
    shot("tenant-narrow")
