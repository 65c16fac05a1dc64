"""A route made and changed in Chromium: a tenant is chosen, then models by what one types."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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


def test_a_route_is_made_of_models_of_its_tenant(page: Page, upstream: FakeUpstream, shot: Shot) -> None:
    new_credential(page, upstream.url, key=KEY, label="routed")
    expect(page.locator("#test")).to_contain_text("works", timeout=30_000)
    credential = page.url
    for name in ("routed-small", "routed-large"):
        add_model(page, credential, name, "chat")

    page.goto("/admin/tenants/route/add/")
    choose(page, "tenant", "Demo")
    shot("route-choose")
    page.click("text=Go on")
    page.fill("[name=name]", "assistant")
    page.fill("[name=description]", "What our chat frontend calls")
    page.select_option("[name=model_type]", "chat")
    page.fill("[name=timeout_s]", "60")
    choose(page, "targets-0-tenant_llm", "routed-small")
    page.click("text=Add another target")
    choose(page, "targets-1-tenant_llm", "routed-large")
    page.fill("[name=targets-1-position]", "2")
    page.check("[name=targets-1-only_on][value=context_length_exceeded]")
    page.click("text=Add another target")
    choose(page, "targets-2-service_model", "mock~mock-model-7B")
    page.fill("[name=targets-2-position]", "3")
    page.locator("#targets-group").scroll_into_view_if_needed()
    shot("route-new")
    page.click("[name=_continue]")
    expect(page.locator("#targets-group")).to_contain_text("routed-large@LocalAI (routed)")
    expect(page.locator("#targets-group").get_by_text("usable", exact=True)).to_have_count(3)
    expect(page.locator("#targets-group")).to_contain_text("mock~mock-model-7B")
    shot("route")
    page.locator("#targets-group").scroll_into_view_if_needed()
    shot("route-targets")

    page.fill("[name=name]", "chat@OpenAI")
    page.click("[name=_continue]")
    expect(page.locator("#content, #main").first).to_contain_text("A letter or digit, then letters")
    shot("route-refused")

    page.goto("/admin/tenants/route/?q=routed-large")
    expect(page.locator("#result_list")).to_contain_text("assistant")
    expect(page.locator("#result_list")).to_contain_text("routed-large@LocalAI")
    shot("routes")
    page.click("#result_list tbody th a")
    page.locator("a", has_text="Delete").first.click()
    expect(page.locator("#content, #main").first).to_contain_text("assistant")
    shot("route-delete")


def test_a_token_names_the_models_it_is_for(page: Page, shot: Shot) -> None:
    page.goto("/admin/tenants/apitoken/add/")
    choose(page, "tenant", "Demo")
    page.fill("[name=name]", "for one route")
    page.fill("[name=models]", "assistant\n*@LocalAI")
    shot("token-models")
    page.click("[name=_save]")
    expect(page.locator("#content, #main").first).to_contain_text("It may call: assistant, *@LocalAI.")
