"""Curating the catalogue by hand and by file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from core.audit import SYSTEM
from providers.models import INVALID, LLM, VALID, LLMFactory
from providers.services import catalog
from tenants.models import AuditEvent, Credential

IMPORT = "/admin/providers/llmfactory/import/"


def factory_form(factory: LLMFactory, **changes: object) -> dict[str, object]:
    """What the browser sends when the factory's page is saved."""
    data: dict[str, object] = {
        **{name: getattr(factory, name) for name in ("name", "status", "rank", "tags", "logo", "docs_url", "base_url")},
        **{name: getattr(factory, name) for name in ("dialect", "signer", "name_suffix", "price_provider")},
        **{name: json.dumps(getattr(factory, name)) for name in ("quirks", "credential_fields", "allowed_networks")},
        **{"llms-TOTAL_FORMS": 0, "llms-INITIAL_FORMS": 0},
    }
    return {**data, **changes}


def save(admin: Client, factory: LLMFactory, **changes: object) -> str:
    """Save the page; what it says when it is refused."""
    answer = admin.post(f"/admin/providers/llmfactory/{factory.pk}/change/", factory_form(factory, **changes))
    return "" if answer.status_code == 302 else answer.content.decode()


def exported(factory: str) -> list[dict[str, Any]]:
    """The factory's rows as a file has them, imported once, so that what differs later is news and not an edit."""
    text = catalog.export(factory)
    catalog.apply(catalog.preview_file(text.encode()), actor=SYSTEM)
    rows: list[dict[str, Any]] = json.loads(text)
    return rows


def test_a_saved_change_has_history_with_its_person_and_an_audit_event(admin: Client, factory: LLMFactory) -> None:
    assert save(admin, factory, rank=77) == ""
    factory.refresh_from_db()
    assert factory.rank == 77
    assert factory.history.first().history_user.username == "root"
    event = AuditEvent.objects.get(action="factory.updated")
    assert (event.actor, event.detail["changed"]) == ("root", ["rank"])
    page = admin.get(f"/admin/providers/llmfactory/{factory.pk}/history/").content.decode()
    assert "77" in page and "root" in page


def test_going_back_to_an_old_version_keeps_what_imports_remember(admin: Client, factory: LLMFactory) -> None:
    LLMFactory.objects.filter(pk=factory.pk).update(imported={"rank": 0})
    assert save(admin, factory, rank=77) == ""
    old = factory.history.order_by("history_id").first()
    url = f"/admin/providers/llmfactory/{factory.pk}/history/{old.history_id}/"
    assert admin.get(url).status_code == 200
    assert admin.post(url, factory_form(factory, rank=old.rank)).status_code == 302
    factory.refresh_from_db()
    assert (factory.rank, factory.imported) == (0, {"rank": 0})
    assert AuditEvent.objects.filter(action="factory.updated").count() == 2


def test_saving_without_a_change_writes_nothing(admin: Client, factory: LLMFactory) -> None:
    assert save(admin, factory) == ""
    assert not AuditEvent.objects.filter(action="factory.updated").exists()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("quirks", '{"params": {"bounds": {"temperature": [2, 1]}}}', "quirks.params.bounds.temperature"),
        ("quirks", '{"probe": {"max_tokens": NaN}}', "Enter a valid JSON"),
        ("quirks", "[1]", "is not an object"),
        ("credential_fields", '[{"name": "api_key", "sekret": true}]', "sekret"),
        ("credential_fields", '{"name": "api_key"}', "not a list"),
        ("allowed_networks", '["10.0.0.0/99"]', "10.0.0.0/99"),
        ("allowed_networks", '"10.0.0.0/8"', "Expected a list"),
        ("dialect", "telepathy", "telepathy"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(
    admin: Client, factory: LLMFactory, field: str, value: str, said: str
) -> None:
    assert said in save(admin, factory, **{field: value})
    before = getattr(factory, field)
    factory.refresh_from_db()
    assert getattr(factory, field) == before


def test_a_dialect_that_is_not_installed_can_be_kept_and_is_marked(admin: Client, factory: LLMFactory) -> None:
    LLMFactory.objects.filter(pk=factory.pk).update(dialect="telepathy")
    factory.refresh_from_db()
    assert (
        "telepathy (not installed)" in admin.get(f"/admin/providers/llmfactory/{factory.pk}/change/").content.decode()
    )
    assert save(admin, factory, rank=3) == ""
    assert "not installed" in admin.get("/admin/providers/llmfactory/").content.decode()


def test_rows_are_enabled_and_disabled_in_bulk_with_history(admin: Client, factory: LLMFactory) -> None:
    rows = list(factory.llms.values_list("pk", flat=True))
    for name, status in (("disable", INVALID), ("enable", VALID)):
        admin.post("/admin/providers/llm/", {"action": name, "_selected_action": rows})
        assert set(factory.llms.values_list("status", flat=True)) == {status}
    assert LLM.objects.get(pk=rows[0]).history.count() == 3
    assert AuditEvent.objects.get(action="llm.disabled").detail["count"] == 2


def llm_form(llm: LLM, **changes: object) -> dict[str, object]:
    data = {
        "llm_name": llm.llm_name,
        "status": "1",
        "model_types": llm.model_types,
        "quirks": "{}",
        "price_detail": "{}",
    }
    return {**data, **changes}


def test_a_price_set_by_hand_is_the_operators(admin: Client, factory: LLMFactory) -> None:
    llm = factory.llms.get(llm_name="acme-chat")
    url = f"/admin/providers/llm/{llm.pk}/change/"
    assert admin.post(url, llm_form(llm, input_price="2.5")).status_code == 302
    llm.refresh_from_db()
    assert (llm.price_source, llm.is_priced) == ("operator", True)
    assert "$2.50 / –" in admin.get("/admin/providers/llm/?priced=operator").content.decode()
    assert admin.post(url, llm_form(llm)).status_code == 302
    llm.refresh_from_db()
    assert (llm.price_source, llm.input_price) == ("", None)


def test_the_primary_type_is_a_choice_of_its_own(admin: Client, factory: LLMFactory) -> None:
    llm = factory.llms.get(llm_name="acme-chat")
    url = f"/admin/providers/llm/{llm.pk}/change/"
    both = {"model_types": ["chat", "image2text"]}
    assert admin.post(url, llm_form(llm, **both, primary_type="image2text")).status_code == 302
    llm.refresh_from_db()
    assert llm.model_types == ["image2text", "chat"]
    assert "Tick this type" in admin.post(url, llm_form(llm, primary_type="ocr")).content.decode()


def test_a_factory_in_use_is_not_deleted(admin: Client, factory: LLMFactory, credential: Credential) -> None:
    admin.post(f"/admin/providers/llmfactory/{factory.pk}/delete/", {"post": "yes"})
    assert LLMFactory.objects.filter(pk=factory.pk).exists()
    credential.delete()
    admin.post(f"/admin/providers/llmfactory/{factory.pk}/delete/", {"post": "yes"})
    assert not LLMFactory.objects.filter(pk=factory.pk).exists()


def review(admin: Client, rows: object, **options: str) -> Any:
    text = json.dumps(rows)
    return admin.post(IMPORT, {"review": "1", "text": text, **options})


def test_an_import_is_reviewed_and_then_applied_exactly(admin: Client, factory: LLMFactory) -> None:
    rows = exported("Acme")
    rows[0]["fields"]["rank"] = 5
    answer = review(admin, rows)
    page = answer.content.decode()
    assert "rank" in page and "Apply exactly this" in page
    factory.refresh_from_db()
    assert factory.rank == 0
    done = admin.post(IMPORT, {"apply": "1", "review_token": answer.context["review_token"]}, follow=True)
    assert "Imported (llmadmin)" in done.content.decode()
    factory.refresh_from_db()
    assert factory.rank == 5


def test_an_upload_is_read_like_a_paste(admin: Client, factory: LLMFactory) -> None:
    rows = exported("Acme")
    rows[0]["fields"]["rank"] = 6
    upload = SimpleUploadedFile("acme.json", json.dumps(rows).encode(), "application/json")
    assert admin.post(IMPORT, {"review": "1", "file": upload}).context["diff"].summary["changed"] == 1


def test_what_changed_since_the_review_is_not_overwritten_blindly(admin: Client, factory: LLMFactory) -> None:
    rows = exported("Acme")
    rows[0]["fields"]["rank"] = 5
    token = review(admin, rows).context["review_token"]
    LLMFactory.objects.filter(pk=factory.pk).update(rank=9)
    page = admin.post(IMPORT, {"apply": "1", "review_token": token}).content.decode()
    assert "changed since" in page
    factory.refresh_from_db()
    assert factory.rank == 9


def test_other_options_than_the_reviewed_ones_are_reviewed_again(admin: Client, factory: LLMFactory) -> None:
    token = review(admin, exported("Acme")).context["review_token"]
    answer = admin.post(IMPORT, {"apply": "1", "review_token": token, "overwrite": "on"})
    assert answer.context["diff"].overwrite


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"review": "1"}, "Choose a file, or paste"),
        ({"review": "1", "text": "{"}, "not valid JSON"),
        ({"apply": "1", "review_token": "forged"}, "not valid any more"),
    ],
)
def test_an_import_that_makes_no_sense_says_so(admin: Client, data: dict[str, str], said: str) -> None:
    assert said in admin.post(IMPORT, data).content.decode()


def test_the_report_and_the_export_are_files(admin: Client, factory: LLMFactory) -> None:
    token = review(admin, exported("Acme")).context["review_token"]
    report = admin.post(IMPORT, {"report": "1", "review_token": token})
    assert "attachment" in report["Content-Disposition"] and "unchanged" in report.content.decode()
    export = admin.get(reverse("admin:providers_llmfactory_export_catalogue"))
    assert {row["model"] for row in json.loads(export.content)} == {"providers.llmfactory", "providers.llm"}
