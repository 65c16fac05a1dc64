"""Services that read documents: their settings are one object, which says where they run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import settings

from tenants.models import Credential, Probe
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import People
from tests.providers.exchanges import golden
from tests.tenants.llm_app_door import door, vendor

pytestmark = pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")


def shipped(row: str) -> str:
    """The factory as the catalogue that we ship has it."""
    fields = json.loads((settings.CATALOG_DIR / f"{row}.json").read_text())[0]["fields"]
    kept = ("dialect", "signer", "quirks", "credential_fields", "base_url", "tags")
    vendor(fields["name"], **{name: fields[name] for name in kept})
    return str(fields["name"])


@pytest.mark.parametrize(
    ("row", "path", "setting", "more"),
    [
        ("mineru", "/file_parse", "mineru_apiserver", {"mineru_backend": "pipeline"}),
        ("paddleocr", "/layout-parsing", "paddleocr_api_url", {"paddleocr_access_token": KEY}),
    ],
)
def test_a_service_is_found_and_tested_where_its_settings_say(
    people: People, row: str, path: str, setting: str, more: dict[str, Any]
) -> None:
    name = shipped(row)
    with FakeUpstream(key=None) as upstream:
        upstream.status(path, 200, golden(row, "ocr")["reply"]["json"])
        chosen = {"llm_name": "reader", setting: upstream.root, **more}
        body = {"llm_factory": name, "llm_name": "reader", "model_type": "ocr", "api_key": chosen, "max_tokens": 0}
        answer = door(people).post("add_llm", body)
        assert answer["data"] is True, answer
        assert [request.path for request in upstream.requests] == [path]
    assert Credential.objects.get().base_url == upstream.root
    assert Probe.objects.get().verdict == "ok"
