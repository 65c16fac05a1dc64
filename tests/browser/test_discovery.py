"""Listing an upstream's models and taking some into use, done in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.doing import add_model, new_credential
from tests.fakes.upstream import KEY, FakeUpstream
from tests.llamacpp.fixtures import LlamaCpp

pytestmark = pytest.mark.browser
Shot = Callable[[str], None]

LISTED = [
    {"id": "fake-chat", "type": "chat", "context_length": 131072, "supports_tools": True, "supports_vision": False},
    {"id": "fake-vision", "type": "vlm", "context_length": 32768, "supports_tools": True},
    {"id": "fake-embedding", "type": "embedding", "context_length": 8192},
    {"id": "fake-rerank"},
    {"id": "fake-painter", "type": "image"},
]


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        fake.status("/models", 200, {"object": "list", "data": LISTED})
        yield fake


def press(page: Page, button: str) -> None:
    """Start a job, and wait until it is over and the page has come anew."""
    with page.expect_navigation():
        page.click(f"button:has-text('{button}')")
    expect(page.locator("#listing time")).to_be_visible(timeout=30_000)
    expect(page.locator("[data-live-reload]")).to_have_count(0, timeout=30_000)


def test_models_are_listed_chosen_tested_and_used(page: Page, upstream: FakeUpstream, shot: Shot) -> None:
    new_credential(page, upstream.url, key=KEY, label="discovering")
    expect(page.locator("#test")).to_contain_text("works", timeout=30_000)
    credential = page.url
    add_model(page, credential, "fake-vision", "chat")
    add_model(page, credential, "fake-retired", "chat")
    press(page, "List models")
    expect(page.locator("#difference")).to_be_visible()
    expect(page.locator("#listing")).to_contain_text("5 models are listed")
    expect(page.locator("#new tbody tr")).to_have_count(4)
    expect(page.locator("#differs")).to_contain_text("fake-vision")
    expect(page.locator("#gone")).to_contain_text("fake-retired")
    shot("models-listed")
    page.check("#new thead input")
    expect(page.locator("#new tbody input:checked")).to_have_count(3)  # what has no type cannot be chosen
    page.uncheck("#new tbody input[value^='fake-rerank']")
    page.check("#differs tbody input")
    press(page, "Use the chosen models")
    expect(page.locator("#listing")).to_contain_text("are used now")
    expect(page.locator("#new tbody tr")).to_have_count(2)
    page.locator("details", has_text="In use").first.evaluate("one => { one.open = true; }")
    expect(page.locator("#present tbody tr")).to_have_count(3)
    shot("models-used")
    page.fill("[name=q]", "rerank")
    page.click("button:has-text('Narrow')")
    expect(page.locator("#difference tbody tr")).to_have_count(1)
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 421
    shot("models-narrow")
    assert KEY not in page.content()


def test_a_refused_key_is_told_where_it_was_asked(page: Page, upstream: FakeUpstream, shot: Shot) -> None:
    new_credential(page, upstream.url, key="sk-wrong-0123456789", label="refused")
    upstream.well("/models")
    press(page, "List models")
    expect(page.locator("#listing")).to_contain_text("does not accept this key")
    shot("models-refused")


def test_a_real_llama_cpp_server_is_listed(page: Page, llamacpp_embed: LlamaCpp, shot: Shot) -> None:
    new_credential(page, llamacpp_embed.base_url, key=llamacpp_embed.api_key, label="embeds", factory="VLLM")
    press(page, "List models")
    row = page.locator("#new tbody tr", has_text=f"{llamacpp_embed.model}___VLLM")
    expect(row).to_contain_text("embedding")
    row.locator("input").check()
    press(page, "Use the chosen models")
    expect(page.locator("#present")).to_contain_text(llamacpp_embed.model)
    shot("models-llama-cpp")
