"""What a person does on the admin's pages, step by step."""

from __future__ import annotations

import re

from playwright.sync_api import Page


def choose(page: Page, field: str, text: str) -> None:
    """Pick from an autocomplete."""
    page.click(f"#id_{field} + .select2 .select2-selection")
    page.fill(".select2-search__field", text)
    page.click(f".select2-results__option >> text=/^{re.escape(text)}/")


def new_credential(page: Page, base_url: str, *, key: str, label: str, factory: str = "LocalAI") -> None:
    """Fill in the two pages of a new key of the demo tenant, and save it; its test begins."""
    page.goto("/admin/tenants/credential/add/")
    choose(page, "tenant", "Demo")
    choose(page, "factory", factory)
    page.click("text=Go on")
    page.fill("[name=label]", label)
    page.fill("[name=base_url]", base_url)
    page.fill("[name=value_api_key]", key)
    page.click("[name=_save]")


def add_model(page: Page, credential_url: str, name: str, kind: str) -> None:
    """Let a credential's tenant use a model through it; ends on the credential's page."""
    credential = credential_url.partition("/change/")[0]
    page.goto(f"{credential}/change/")
    page.click("text=Add one")
    page.fill("[name=llm_name]", name)
    page.check(f"[name=model_types][value={kind}]")
    page.click("[name=_save]")
    page.goto(f"{credential}/change/")
