"""Models of services in the admin: buttons that make jobs, and lists that tell what there is."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.audit import SYSTEM
from core.clock import now
from jobs.models import Job
from jobs.services import queue
from runtimes.models import LLMService, ServiceEvent, ServiceModel
from runtimes.services import services
from tenants.models import AuditEvent
from tests.admin.services import LIST, page_of, panel_of, text_of
from tests.runtimes.making import make_model, make_service


def test_a_button_makes_one_job_however_often_it_is_pressed(admin: Client, service: LLMService) -> None:
    model = make_model(service, "tiny", state="not loaded")
    url = f"{LIST}{service.pk}/models/"
    first, second = (admin.post(url, {"do": f"load:{model.pk}"}) for _ in range(2))
    job = Job.objects.get()
    assert (job.type, job.params["service_name"], job.params["model_name"]) == ("llm_model_ops:load", "ollama", "tiny")
    assert first["Location"] == second["Location"] == f"/admin/jobs/job/{job.pk}/change/"
    assert "asked for before" in text_of(admin.get(second["Location"]))
    page = admin.get(page_of(service)).content.decode()
    assert f"/admin/jobs/job/{job.pk}/change/" in page and f'value="load:{model.pk}"' not in page
    again = admin.post(f"/admin/runtimes/servicemodel/{model.pk}/do/load/")
    assert again["Location"] == first["Location"] and Job.objects.count() == 1
    queue.cancel(job, actor=SYSTEM)
    assert f'value="load:{model.pk}"' in admin.get(page_of(service)).content.decode()


def test_a_model_is_installed_from_the_form(admin: Client, service: LLMService) -> None:
    url = f"{LIST}{service.pk}/fetch/install/"
    answer = admin.post(url, {"model_name": "llama3.2:3b", "options": '{"insecure": true}'})
    job = Job.objects.get()
    assert answer["Location"] == f"/admin/jobs/job/{job.pk}/change/"
    assert (job.params["model_name"], job.params["options"]) == ("llama3.2:3b", {"insecure": True})
    assert f"/admin/jobs/job/{job.pk}/change/" in panel_of(admin, service)
    again = admin.post(url, {"model_name": "llama3.2:3b", "options": '{"insecure": true}'})
    assert again["Location"] == answer["Location"]
    assert "is active with other params" in text_of(admin.post(url, {"model_name": "llama3.2:3b"}))
    admin.post(f"{LIST}{service.pk}/fetch/import/", {"model_name": "mine", "path": "sha256:00"})
    assert Job.objects.get(type="llm_model_ops:import").params["path"] == "sha256:00"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model_name": ""}, "This field is required"),
        ({"model_name": "tiny", "options": "[1]"}, "Expected an object"),
        ({"model_name": "tiny", "options": "{"}, "Enter a valid JSON"),
        ({"model_name": "ollama~"}, "Name a model"),
    ],
)
def test_what_cannot_be_installed_is_said_on_the_form(
    admin: Client, service: LLMService, given: dict[str, str], said: str
) -> None:
    answer = admin.post(f"{LIST}{service.pk}/fetch/install/", given)
    assert answer.status_code == 200 and said in text_of(answer)
    assert not Job.objects.exists()


def test_what_the_runtime_cannot_do_has_no_button_and_says_why(admin: Client) -> None:
    service = make_service("http://127.0.0.1:9", type="vllm")
    model = make_model(service, "tiny")
    page = admin.get(page_of(service))
    assert f'value="load:{model.pk}"' not in page.content.decode()
    assert "models over its API: that is done with its own tools." in text_of(page)
    refused = admin.post(f"{LIST}{service.pk}/fetch/install/", {"model_name": "tiny"})
    assert "cannot install models over its API" in text_of(refused)
    pressed = admin.post(f"{LIST}{service.pk}/models/", {"do": f"delete:{model.pk}"}, follow=True)
    assert "cannot delete models over its API" in text_of(pressed)
    assert not Job.objects.exists()


def test_a_look_may_have_found_that_it_cannot(admin: Client, service: LLMService) -> None:
    model = make_model(service, "tiny")
    LLMService.objects.filter(pk=service.pk).update(capabilities={"delete_model": False})
    page = admin.get(page_of(service))
    assert f'value="delete:{model.pk}"' not in page.content.decode()
    assert "cannot delete models" in text_of(page)
    assert "delete model" in text_of(admin.get(f"{LIST}capabilities/"))


def test_models_of_a_disabled_service_are_left_alone(admin: Client, service: LLMService) -> None:
    model = make_model(service, "tiny")
    services.disable(service_id=service.pk, actor=SYSTEM)
    assert "once it is enabled" in text_of(admin.get(page_of(service)))
    answer = admin.post(f"{LIST}{service.pk}/models/", {"do": f"delete:{model.pk}"}, follow=True)
    assert "is not enabled" in text_of(answer)
    assert not Job.objects.exists()


def test_models_on_the_page_are_narrowed(admin: Client, service: LLMService) -> None:
    make_model(service, "alpha"), make_model(service, "beta", state="not loaded", type="embeddings")
    make_model(service, "gone", state="removed")
    for query, names in (("", {"alpha", "beta"}), ("q=alp", {"alpha"}), ("state=not loaded", {"beta"}),
                         ("type=embeddings", {"beta"}), ("state=removed", {"gone"}), ("q=nothing", set())):  # fmt: skip
        html = panel_of(admin, service, query)
        assert {name for name in ("alpha", "beta", "gone") if f">{name}</a>" in html} == names, query


def test_a_services_page_takes_as_many_queries_for_many_models_as_for_few(admin: Client, service: LLMService) -> None:
    make_model(service, "first")
    admin.get(page_of(service))
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            assert admin.get(page_of(service)).status_code == 200
        counts.append(len(queries))
        for number in range(70):
            make_model(service, f"more-{counts}-{number}")
            Job.objects.create(
                type="llm_model_ops:load", params={"service_name": "ollama", "model_name": f"m-{number}"}
            )
            ServiceEvent.objects.create(service=service, before="up", after="down")
    assert counts[0] == counts[1] <= 16
    assert "all in a list" in text_of(admin.get(page_of(service)))


def test_the_list_of_models_is_filtered(admin: Client, service: LLMService) -> None:
    (
        make_model(service, "alpha", tooling=True),
        make_model(service, "beta", state="not loaded", model_types=["embedding"]),
    )
    for query, names in (("can=tooling", {"alpha"}), ("use=embedding", {"beta"}), ("state__exact=loaded", {"alpha"}),
                         (f"service__id__exact={service.pk}", {"alpha", "beta"}), ("q=bet", {"beta"})):  # fmt: skip
        page = admin.get(f"/admin/runtimes/servicemodel/?{query}").content.decode()
        assert {name for name in ("alpha", "beta") if f">{name}</a>" in page} == names, query


def test_a_models_page_offers_what_fits_its_state(admin: Client, service: LLMService) -> None:
    loaded, resting = make_model(service, "alpha"), make_model(service, "beta", state="not loaded")
    for model, offered in (
        (loaded, {"unload", "fetch_update", "remove"}),
        (resting, {"load", "fetch_update", "remove"}),
    ):
        page = admin.get(f"/admin/runtimes/servicemodel/{model.pk}/change/").content.decode()
        assert set(re.findall(r"/do/(\w+)/", page)) == offered
    answer = admin.post(f"/admin/runtimes/servicemodel/{resting.pk}/do/remove/")
    assert answer["Location"] == f"/admin/jobs/job/{Job.objects.get().pk}/change/"


def test_comings_and_goings_are_shown(admin: Client, service: LLMService) -> None:
    ServiceEvent.objects.create(service=service, before="up", after="down", reason="It refused the connection.")
    ServiceEvent.objects.create(service=service, before="down", after="up", at=now() + timedelta(seconds=1))
    assert "It refused the connection." in text_of(admin.get(page_of(service)))
    assert "It refused the connection." in text_of(admin.get("/admin/runtimes/serviceevent/?after__exact=down"))


def test_deleting_tells_what_goes(admin: Client, service: LLMService) -> None:
    make_model(service, "tiny")
    assert "models that are known" in text_of(admin.get(f"{LIST}{service.pk}/delete/")).lower()
    assert admin.post(f"{LIST}{service.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not LLMService.objects.exists() and not ServiceModel.objects.exists()
    assert AuditEvent.objects.filter(action="service.deleted", actor="root").exists()
