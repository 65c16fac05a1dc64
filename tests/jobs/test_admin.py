"""Jobs as staff see and steer them; the pages in a browser are in tests/browser/test_jobs.py."""

from __future__ import annotations

import pytest
from django.test import Client

from core.audit import SYSTEM
from core.clock import now
from jobs.admin import bytes_text, kind_text
from jobs.models import Job, JobState
from jobs.services import history, queue
from tests.api.world import session
from tests.people import make_tenant, make_user

pytestmark = pytest.mark.django_db
LIST = "/admin/jobs/job/"


@pytest.fixture
def admin() -> Client:
    return session(make_user(is_staff=True, is_superuser=True))


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def job(type: str = "download", **more: object) -> Job:
    made = queue.enqueue(type, params={"model_name": "llama3", "service_name": "ollama"}, actor=SYSTEM, tenant_id="t1")
    Job.objects.filter(pk=made.pk).update(**more)
    made.refresh_from_db()
    return made


def test_the_page_offers_what_can_be_done_now_and_nothing_else(admin: Client) -> None:
    path = f"{LIST}{job().pk}/change/"

    def offered() -> set[str]:
        page = text(admin, path)
        return {name for name in ("cancel", "suspend", "resume", "retry") if f"/do/{name}/" in page}

    def do(name: str) -> None:
        assert admin.post(path.replace("change/", f"do/{name}/")).status_code == 302

    assert offered() == {"cancel", "suspend"}
    do("suspend")
    assert offered() == {"cancel", "resume"}
    do("resume")
    assert offered() == {"cancel", "suspend"}
    do("cancel")
    assert offered() == {"retry"}
    do("retry")
    assert Job.objects.get().state == JobState.PENDING
    Job.objects.update(state=JobState.RUNNING, lease="x", suspend_requested_at=now())
    assert offered() == {"cancel"}
    assert "coming to rest" in text(admin, path)


def test_a_type_that_cannot_rest_is_not_offered_it(admin: Client) -> None:
    path = f"{LIST}{job('nap').pk}/"
    assert "/do/suspend/" not in text(admin, f"{path}change/")
    answer = admin.post(f"{path}do/suspend/", follow=True).content.decode()
    assert "cannot be suspended" in answer
    assert Job.objects.get().state == JobState.PENDING


def test_many_are_suspended_and_resumed_at_once(admin: Client) -> None:
    rests, never = job(), job("nap")
    chosen = {"_selected_action": [rests.pk, never.pk]}
    admin.post(LIST, {"action": "suspend_selected", **chosen})
    assert dict(Job.objects.values_list("pk", "state")) == {rests.pk: "suspended", never.pk: "pending"}
    admin.post(LIST, {"action": "resume_selected", **chosen})
    assert set(Job.objects.values_list("state", flat=True)) == {"pending"}


def test_a_running_job_is_watched_and_its_page_comes_anew_with_another_state(admin: Client) -> None:
    detail = {"done_bytes": 3 * 1024**2, "total_bytes": 6 * 1024**2, "rate_bytes_per_s": 1024**2, "eta_s": 3}
    one = job(state=JobState.RUNNING, lease="x", progress=50, progress_detail=detail, message="Pulling")
    page = text(admin, f"{LIST}{one.pk}/change/")
    assert f'data-live="{one.pk}:running"' in page and "data-live-reload" in page
    assert f'data-live="{one.pk}"' in text(admin, LIST)

    def live(key: str) -> dict[str, object]:
        return admin.get(f"{LIST}live/?keys={key},nothing,{'0' * 32}:running").json()["items"]

    shown = live(f"{one.pk}:running")
    assert list(shown) == [f"{one.pk}:running"]
    assert "3.0\xa0MB of 6.0\xa0MB, 1.0\xa0MB/s, 3 s left" in shown[f"{one.pk}:running"]["html"]
    assert not shown[f"{one.pk}:running"]["finished"] and not live(one.pk)[one.pk]["finished"]
    Job.objects.update(state=JobState.SUSPENDED)
    assert live(f"{one.pk}:running")[f"{one.pk}:running"]["finished"]
    assert not live(one.pk)[one.pk]["finished"]


def test_a_tenant_is_called_by_its_name_and_one_that_is_gone_by_its_id(admin: Client) -> None:
    tenant = make_tenant("Acme & Co")
    known, gone = job(tenant_id=tenant.pk), job("add", tenant_id="f" * 32)
    for page in (text(admin, LIST), text(admin, f"{LIST}{known.pk}/change/")):
        assert f'/admin/tenants/tenant/{tenant.pk}/change/">Acme &amp; Co</a>' in page
    for page in (text(admin, LIST), text(admin, f"{LIST}{gone.pk}/change/")):
        assert ">" + "f" * 32 + "<" in page


def test_filters_find_jobs_by_type_state_queue_and_tenant(admin: Client) -> None:
    one, two = job(), job("add", state=JobState.FAILED, tenant_id="t2")
    for query, shown, hidden in (
        ("type=download", one, two), ("queue=models", one, two),
        ("tenant=t2", two, one), ("state__exact=failed", two, one),
    ):  # fmt: skip
        page = text(admin, f"{LIST}?{query}")
        assert shown.pk in page and hidden.pk not in page
    assert "llama3 on ollama" in text(admin, LIST)


def test_the_page_tells_the_history(admin: Client) -> None:
    one = queue.cancel(job(), actor=SYSTEM)
    history.note(one.pk, JobState.FAILED, "<b>it broke</b>")
    page = text(admin, f"{LIST}{one.pk}/change/")
    assert "cancelled by system" in page
    assert "&lt;b&gt;it broke&lt;/b&gt;" in page


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ({}, ""),
        ({"step": "verifying"}, "verifying"),
        ({"done_bytes": 512}, "512\xa0bytes"),
        (
            {"done_bytes": 0, "total_bytes": 2048, "eta_s": 75, "step": "layer"},
            "layer: 0\xa0bytes of 2.0\xa0KB, 1 min 15 s left",
        ),
        ({"done_bytes": 1024, "rate_bytes_per_s": 0, "eta_s": 7260}, "1.0\xa0KB, 2 h 1 min left"),
    ],
)
def test_bytes_are_told_in_words(detail: dict[str, object], shown: str) -> None:
    assert bytes_text(detail) == shown


def test_a_type_is_told_in_words() -> None:
    assert (kind_text("llm_model_ops:install"), kind_text("rotate_secrets")) == (
        "install (llm model ops)", "rotate secrets",
    )  # fmt: skip
