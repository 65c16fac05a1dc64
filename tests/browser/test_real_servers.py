"""Keys for real model servers and a third party's simulator, entered and watched in Chromium."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.aimock import Aimock
from tests.browser.doing import add_model, new_credential
from tests.live.stack import Stack
from tests.llamacpp.fixtures import LlamaCpp

pytestmark = pytest.mark.browser
Shot = Callable[[str], None]


def test_a_model_of_llama_cpp_is_added_tested_and_offered(
    page: Page, stack: Stack, llamacpp_chat: LlamaCpp, shot: Shot
) -> None:
    new_credential(page, llamacpp_chat.base_url, key=llamacpp_chat.api_key, label="llama.cpp", factory="VLLM")
    expect(page.locator("#test")).to_contain_text("works", timeout=30_000)
    add_model(page, page.url, f"{llamacpp_chat.model}___VLLM", "chat")
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("button:has-text('Test every model')")
    row = page.locator("#test .lla-table tr", has_text=llamacpp_chat.model)
    expect(row).to_contain_text("ok", timeout=30_000)
    shot("llama-cpp")
    mine = stack.get("/llm/my_llms")[1]["data"]["VLLM"]["llm"]
    assert f"{llamacpp_chat.model}___VLLM" in {item["name"] for item in mine}  # other tests use this installation too


def test_a_key_for_a_simulated_vendor_works_and_another_one_does_not(page: Page, aimock: Aimock, shot: Shot) -> None:
    new_credential(page, aimock.base_url, key="sk-not-this-one-0123", label="simulated", factory="DeepSeek")
    panel = page.locator("#test")
    expect(panel).to_contain_text("bad key", timeout=30_000)
    page.fill("[name=value_api_key]", aimock.api_key)
    page.click("[name=_save]")
    page.wait_for_url("**job=**")
    expect(panel).to_contain_text("works", timeout=30_000)
    assert aimock.api_key not in page.content()
    shot("aimock")
