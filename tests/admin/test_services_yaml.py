"""What drivers can do, the defaults of calls, and services as YAML, in the admin."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from core.audit import SYSTEM
from runtimes.models import CallDefaults, LLMService
from runtimes.services import services
from tenants.models import AuditEvent
from tests.admin.conftest import KEY
from tests.admin.services import LIST, text_of


def test_all_drivers_are_in_the_matrix(admin: Client) -> None:
    from runtimes import drivers

    page = text_of(admin.get(f"{LIST}capabilities/"))
    assert all(driver.label in page and driver.checked_against in page for driver in drivers.installed().values())


def test_defaults_of_calls_are_set_and_bad_ones_refused(admin: Client, service: LLMService) -> None:
    url = f"{LIST}defaults/"
    assert "less than or equal to 2" in text_of(admin.post(url, {"temperature": "3", "service": service.pk}))
    assert not LLMService.objects.get().is_default and not CallDefaults.objects.exists()
    assert admin.post(url, {"temperature": "0.5", "max_tokens": "100", "service": service.pk}).status_code == 302
    defaults = CallDefaults.current()
    assert (defaults.temperature, defaults.max_tokens, LLMService.objects.get().is_default) == (0.5, 100, True)
    assert admin.post(url, {"service": ""}).status_code == 302
    assert (CallDefaults.current().temperature, LLMService.objects.get().is_default) == (None, False)


MemberOf = Callable[[str], Client]
YAML = f"""
llm:
  default_service: ollama
  services:
    ollama:
      urls: ["http://127.0.0.1:9"]
      upstream: {{short_timeout_sec: 7}}
    lab:
      type: vllm
      urls: ["http://127.0.0.1:10"]
      api_key: {KEY}
"""


def token_of(answer: Any) -> str:
    found = re.search(r'name="review_token" value="([^"]+)"', answer.content.decode())
    assert found is not None, text_of(answer)
    return found[1]


def test_an_import_shows_what_it_would_do_and_does_exactly_that(admin: Client, service: LLMService) -> None:
    file = SimpleUploadedFile("llm.yaml", YAML.encode())
    shown = admin.post(f"{LIST}import/", {"review": "", "file": file})
    page = text_of(shown)
    assert "lab" in page and "short_timeout_sec" in page and "Apply exactly this" in page
    assert KEY not in page and not LLMService.objects.filter(name="lab").exists()
    assert admin.post(f"{LIST}import/", {"apply": "", "review_token": token_of(shown)}).status_code == 302
    lab = LLMService.objects.get(name="lab")
    assert (lab.secret_last4, lab.audience) == (KEY[-4:], "none")
    service.refresh_from_db()
    assert (service.short_timeout_s, service.is_default) == (7, True)
    assert AuditEvent.objects.filter(action="service.imported", actor="root").exists()


def test_an_import_that_would_do_something_else_by_now_is_shown_again(
    admin: Client, member_of: MemberOf, service: LLMService
) -> None:
    token = token_of(admin.post(f"{LIST}import/", {"review": "", "text": YAML}))
    foreign = member_of("operator").post(f"{LIST}import/", {"apply": "", "review_token": token})
    assert "not valid any more" in text_of(foreign)
    services.update(service_id=service.pk, actor=SYSTEM, short_timeout_s=9)
    again = admin.post(f"{LIST}import/", {"apply": "", "review_token": token})
    assert "have changed since" in text_of(again) and token_of(again) != token
    assert not LLMService.objects.filter(name="lab").exists()
    assert "not valid any more" in text_of(admin.post(f"{LIST}import/", {"apply": "", "review_token": "x"}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Choose a file, or paste its text"),
        ("llm: [", "it is no YAML"),
        (f"llm: {{services: {{x: {{urls: 5, api_key: {KEY}}}}}}}", "a list of texts is expected"),
        ("llm: {services: {x: {type: nothing}}}", "There is no driver"),
        ("llm: {default_service: nobody}", "There is no such service"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_is_wrong(admin: Client, text: str, said: str) -> None:
    answer = admin.post(f"{LIST}import/", {"review": "", "text": text})
    assert answer.status_code == 200 and said in text_of(answer)
    assert KEY not in answer.content.decode()
    assert not LLMService.objects.exists()


def test_the_export_can_be_imported_and_changes_nothing(admin: Client, keyed: LLMService) -> None:
    answer = admin.get(f"{LIST}export/")
    assert answer["Content-Type"].startswith("application/yaml") and KEY not in answer.content.decode()
    shown = admin.post(f"{LIST}import/", {"review": "", "text": answer.content.decode()})
    assert "nothing changes" in text_of(shown)
