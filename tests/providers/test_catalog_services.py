"""Importing into the database: atomic, idempotent, with history, and never over a change that nobody has seen."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from threading import Barrier

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import audit
from core.errors import Conflict, NotFound
from providers.catalog.diff import CatalogDiff
from providers.models import LLM, LLMFactory
from providers.services import catalog
from tests.people import actor_of, make_user
from tests.providers import catalog_samples as samples

pytestmark = pytest.mark.django_db
REAL = os.environ.get("LLMADMIN_REAL_CATALOGUES", "")


def imported(data: bytes, *, overwrite: bool = False, retire: bool = False) -> CatalogDiff:
    diff = catalog.preview_file(data, overwrite=overwrite, retire=retire)
    return catalog.apply(diff, actor=audit.SYSTEM)


@pytest.fixture
def events() -> Iterator[list[audit.Event]]:
    seen: list[audit.Event] = []

    def remember(sender: object, event: audit.Event, **kwargs: object) -> None:
        seen.append(event)

    audit.recorded.connect(remember)
    yield seen
    audit.recorded.disconnect(remember)


def test_a_preview_writes_nothing() -> None:
    assert catalog.preview_file(samples.odd_ragflow()).summary["added"] == 14
    assert not LLMFactory.objects.exists()


def test_an_import_creates_the_rows_and_a_second_one_changes_nothing() -> None:
    imported(samples.odd_ragflow())
    llm = LLM.objects.get_by_natural_key("Odd", "listed")
    assert (llm.model_types, llm.max_tokens, llm.is_tools, llm.source) == (
        ["image2text", "chat"],
        8192,
        True,
        "ragflow",
    )
    assert LLM.objects.get(llm_name="zero").max_tokens is None
    before = list(LLM.history.values_list("pk"))
    again = imported(samples.odd_ragflow())
    assert again.is_empty
    assert again.unchanged == 14
    assert list(LLM.history.values_list("pk")) == before


def test_the_history_says_who_and_why() -> None:
    user = make_user("curator")
    catalog.apply(catalog.preview_file(samples.llmadmin()), actor=actor_of(user))
    changed = samples.llmadmin(samples.factory_row(), samples.model_row(max_tokens=5))
    catalog.apply(catalog.preview_file(changed), actor=actor_of(user), reason="the vendor said so")
    newest, first = LLM.objects.get().history.all()
    assert (newest.history_user, newest.history_type, newest.max_tokens) == (user, "~", 5)
    assert newest.history_change_reason == "the vendor said so"
    assert (first.history_user, first.history_type, first.max_tokens) == (user, "+", 8192)
    assert first.history_change_reason == "import: llmadmin"


def test_an_import_is_announced_once_with_its_counts(events: list[audit.Event]) -> None:
    imported(samples.llmadmin())
    imported(samples.llmadmin())
    [event] = events
    assert (event.action, event.target, event.detail["added"]) == ("catalog.imported", "llmadmin", 2)


def test_an_operators_edit_survives_every_further_import() -> None:
    imported(samples.llmadmin())
    LLM.objects.update(max_tokens=77)
    newer = samples.llmadmin(samples.factory_row(), samples.model_row(max_tokens=9, tags="LLM,CHAT"))
    for _ in range(2):
        assert [one.name for one in imported(newer).kept] == ["Vendor / one"]
        assert LLM.objects.get().max_tokens == 77
    assert LLM.objects.get().tags == "LLM,CHAT"
    assert not imported(newer, overwrite=True).kept
    assert LLM.objects.get().max_tokens == 9


def test_a_row_made_by_hand_is_adopted_and_then_follows_the_file() -> None:
    factory = LLMFactory.objects.create(name="Vendor")
    LLM.objects.create(factory=factory, llm_name="one", model_types=["chat"], tags="LLM", max_tokens=8192)
    assert imported(samples.llmadmin()).unchanged == 2
    newer = samples.llmadmin(samples.factory_row(), samples.model_row(max_tokens=9))
    assert imported(newer).summary["changed"] == 1
    assert LLM.objects.get().max_tokens == 9


def test_a_stale_difference_is_refused_and_changes_nothing() -> None:
    imported(samples.llmadmin())
    diff = catalog.preview_file(samples.llmadmin(samples.factory_row(rank=3), samples.model_row(max_tokens=9)))
    LLM.objects.update(max_tokens=77)
    with pytest.raises(Conflict) as raised:
        catalog.apply(diff, actor=audit.SYSTEM)
    assert raised.value.code == "stale_preview"
    assert LLMFactory.objects.get().rank == 0


def test_only_the_reviewed_difference_is_applied() -> None:
    reviewed = catalog.preview_file(samples.llmadmin()).fingerprint
    LLMFactory.objects.create(name="Vendor")
    with pytest.raises(Conflict):
        catalog.apply(catalog.preview_file(samples.llmadmin()), actor=audit.SYSTEM, expected=reviewed)
    assert not LLM.objects.exists()


def test_a_failure_halfway_leaves_nothing_behind() -> None:
    def fail(sender: object, event: audit.Event, **kwargs: object) -> None:
        raise RuntimeError("the audit log is full")

    audit.recorded.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            imported(samples.odd_ragflow())
    finally:
        audit.recorded.disconnect(fail)
    assert not LLMFactory.objects.exists()
    assert not LLM.history.exists()


def test_retiring_switches_off_what_the_format_no_longer_has() -> None:
    imported(
        samples.llmadmin(samples.factory_row(), samples.model_row(status="1"), samples.model_row("two", status="1"))
    )
    fewer = samples.llmadmin(samples.factory_row(), samples.model_row(status="1"))
    assert [one.name for one in imported(fewer).removed] == ["Vendor / two"]
    assert LLM.objects.valid().count() == 2
    imported(fewer, retire=True)
    assert list(LLM.objects.valid().values_list("llm_name", flat=True)) == ["one"]
    back = samples.llmadmin(samples.factory_row(), samples.model_row(status="1"), samples.model_row("two", status="1"))
    imported(back)
    assert LLM.objects.valid().count() == 2


def test_prices_from_another_catalogue_are_exact_and_leave_an_operators_alone() -> None:
    LLMFactory.objects.create(name="OpenAI")
    imported(samples.LITELLM)
    mini = LLM.objects.get(llm_name="gpt-5-mini")
    assert (mini.input_price, mini.cached_input_price) == (Decimal("0.25"), Decimal("0.025"))
    assert (mini.price_source, mini.priced_at is not None) == ("litellm", True)
    LLM.objects.filter(pk=mini.pk).update(input_price=Decimal("9"), price_source="operator")
    imported(samples.MODELS_DEV)
    mini.refresh_from_db()
    assert (mini.input_price, mini.price_source) == (Decimal("9"), "operator")


def test_a_new_model_is_priced_where_the_price_list_knows_it() -> None:
    imported(
        samples.llmadmin(
            samples.factory_row("OpenAI", price_provider="openai"),
            samples.model_row("gpt-4o", "OpenAI"),
            samples.model_row("nobody-knows-me", "OpenAI"),
        )
    )
    known, unknown = LLM.objects.order_by("llm_name")
    assert known.price_source.startswith("genai-prices ")
    assert known.input_price
    assert (unknown.price_source, unknown.input_price) == ("", None)


def test_an_export_of_an_import_is_the_same_file_and_importing_it_changes_nothing() -> None:
    imported(samples.odd_ragflow())
    imported(
        samples.llmadmin(samples.factory_row("OpenAI", price_provider="openai"), samples.model_row("gpt-4o", "OpenAI"))
    )
    LLM.objects.filter(llm_name="typo").update(input_price=Decimal("0.5"), price_source="operator")
    text = catalog.export()
    assert imported(text.encode()).is_empty
    LLMFactory.objects.all().delete()
    imported(text.encode())
    assert catalog.export() == text
    assert LLM.objects.get(llm_name="typo").input_price == Decimal("0.5")
    assert LLM.objects.get(llm_name="gpt-4o").is_priced


def test_one_factory_can_be_exported_alone() -> None:
    imported(samples.odd_ragflow())
    assert '"Empty"' not in catalog.export("Odd")
    assert list(catalog.export_files()) == ["empty.json", "odd.json"]
    with pytest.raises(NotFound):
        catalog.export("Nobody")


def test_the_number_of_queries_does_not_grow_with_the_catalogue() -> None:
    # Rows are written in batches, so the number grows by the batch and not by the row.
    with CaptureQueriesContext(
        connection,
    ) as first:
        imported(samples.large_ragflow())
    assert LLM.objects.count() == 1005
    with CaptureQueriesContext(connection) as second:
        imported(samples.large_ragflow())
    with CaptureQueriesContext(connection) as third:
        imported(samples.large_ragflow(tags="LLM"))
    assert len(second) <= 8
    assert len(first) <= 80
    assert len(third) <= 80


@pytest.mark.django_db(transaction=True)
def test_of_two_equal_imports_at_once_only_one_is_applied() -> None:
    diff = catalog.preview_file(samples.odd_ragflow())
    together = Barrier(2)

    def apply_it() -> str:
        together.wait()
        try:
            catalog.apply(diff, actor=audit.SYSTEM)
            return "applied"
        except Conflict as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = sorted(future.result() for future in [pool.submit(apply_it) for _ in range(2)])
    assert outcomes == ["applied", "stale_preview"]
    assert LLM.objects.count() == LLM.history.count() == 12


@pytest.mark.skipif(not REAL, reason="LLMADMIN_REAL_CATALOGUES names no directory of real catalogue files")
def test_real_catalogues_import_quickly_and_only_once() -> None:
    files = sorted(Path(REAL).glob("*.json"))
    assert files, f"{REAL} holds no *.json file"
    for file in files:
        LLMFactory.objects.all().delete()
        started = time.monotonic()
        first = imported(file.read_bytes())
        took_s = time.monotonic() - started
        print(f"{file.name}: {first.summary} in {took_s:.2f} s")
        assert took_s < 5
        assert first.summary["added"] == LLMFactory.objects.count() + LLM.objects.count()
        assert imported(file.read_bytes()).is_empty


def test_a_field_that_no_file_stated_yet_follows_the_first_that_does() -> None:
    line = {"model": "providers.llmfactory", "fields": {"name": "V", "tags": "LLM"}}
    catalog.apply(catalog.preview_file(json.dumps([line]).encode()), actor=audit.SYSTEM)
    line["fields"] |= {"rank": 7}
    diff = catalog.preview_file(json.dumps([line]).encode())
    assert not diff.kept
    catalog.apply(diff, actor=audit.SYSTEM)
    assert LLMFactory.objects.get().rank == 7


def test_a_row_made_by_hand_is_an_edit_as_a_whole() -> None:
    LLMFactory.objects.create(name="V")
    line = {"model": "providers.llmfactory", "fields": {"name": "V", "rank": 7}}
    diff = catalog.preview_file(json.dumps([line]).encode())
    assert [one.field for one in diff.kept[0].fields] == ["rank"]
