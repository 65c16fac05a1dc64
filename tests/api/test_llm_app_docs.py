"""docs/llm_app.md shows what the endpoints answer. `WRITE_DOCS=1 pytest tests/api/test_llm_app_docs.py` writes it anew.

Its prose is written by hand; what stands between `<!-- example: name -->` and `<!-- end -->` comes from here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.test import Client

from jobs.models import Job
from jobs.services import runner
from providers.models import LLM
from runtimes.models import LLMService, ServiceModel
from tenants.api.llm_app.urls import LLM_APP, USER
from tenants.models import Membership, Tenant
from tests.api.examples import Page, fill
from tests.api.world import bearer
from tests.fakes.upstream import KEY, FakeUpstream
from tests.people import make_token, make_user
from tests.tenants.llm_app_door import ALSO_CLASSIC, CLASSIC, RETCODE, server, vendor

PAGE = Path(__file__).resolve().parents[2] / "docs" / "llm_app.md"
WRONG_KEY = "sk-wrong-0123456789"
AZURE = [
    {"name": "api_key", "label": "API key", "secret": True, "required": True},
    {"name": "api_version", "label": "API version", "secret": False, "required": True},
]
INFO = "/v1/user/tenant_info"
SET_INFO = "/v1/user/set_tenant_info"


class Examples:
    """Runs examples through the mounts and keeps what was asked and answered by the example's name."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.blocks: dict[str, str] = {}
        self.shown: set[tuple[str, str]] = set()

    def show(self, name: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One exchange, added to those of that name; the answer's body."""
        blocks, shown = self.page.exchange(method, path, body, **headers)
        self.shown.add((path.partition("?")[0], method))
        before = self.blocks.get(name)
        self.blocks[name] = f"{before}\n{blocks}" if before else blocks
        return shown

    def both(self, name: str, method: str, path: str, body: Any = None, **headers: str) -> None:
        """In both envelopes; the second classic mount must answer as the first."""
        for mount in (RETCODE, CLASSIC):
            self.show(name, method, f"{mount}/{path}", body, **headers)
        if method == "get":
            one, other = (self.page.exchange(method, f"{mount}/{path}")[1] for mount in (CLASSIC, ALSO_CLASSIC))
        else:
            _, one = self.page.exchange(method, f"{CLASSIC}/{path}", body, **headers)
            _, other = self.page.exchange(method, f"{ALSO_CLASSIC}/{path}", body, **headers)
        assert one.get("data") == other.get("data") and one["code"] == other["code"]

    @contextmanager
    def as_(self, client: Client) -> Iterator[None]:
        usual, self.page.client = self.page.client, client
        yield
        self.page.client = usual


@contextmanager
def no_worker() -> Iterator[None]:
    current_app.conf.task_always_eager = False
    yield
    current_app.conf.task_always_eager = True


@pytest.fixture
def servers(
    transactional_db: None, upstream: FakeUpstream, loopback_allowed: None
) -> Iterator[dict[str, FakeUpstream]]:
    upstream.models = ["gpt-4o", "text-embedding-3-small", "tts-1"]
    with FakeUpstream(models=["qwen3"]) as west, FakeUpstream(models=["qwen3"]) as east:
        vendor(
            "OpenAI",
            {"gpt-4o": "chat,image2text", "text-embedding-3-small": "embedding", "tts-1": "tts"},
            base_url=upstream.url,
            tags="LLM,TEXT EMBEDDING,TTS",
            rank=999,
        )
        server("VLLM", tags="LLM,TEXT EMBEDDING")
        LLM.objects.filter(llm_name="gpt-4o").update(max_tokens=128000, is_tools=True)
        yield {
            "https://api.openai.example": upstream,
            "http://gpu-1.example:8000": west,
            "http://gpu-2.example:8000": east,
        }


@pytest.fixture
def examples(servers: dict[str, FakeUpstream]) -> Examples:
    tenant = Tenant.objects.create(name="Acme")
    Membership.objects.create(tenant=tenant, user=make_user("ada"), role="owner")
    client = bearer(make_token(tenant, user=tenant.memberships.get().user))
    names = {fake.root: name for name, fake in servers.items()}
    return Examples(Page(client, compact=True, names=names))


def keys(here: Examples) -> None:
    good: dict[str, Any] = {"llm_factory": "OpenAI", "api_key": KEY}
    here.both("factories", "get", "factories")
    here.both("set_api_key-untested", "post", "set_api_key", {**good, "test": False})
    here.show("set_api_key-untested", "get", f"{RETCODE}/my_llms?include_details=true")
    here.page.exchange("post", f"{RETCODE}/delete_factory", {"llm_factory": "OpenAI"})
    here.both("set_api_key-wrong", "post", "set_api_key", {**good, "api_key": WRONG_KEY})
    here.both("set_api_key-verify", "post", "set_api_key", {**good, "verify": True})
    here.show("set_api_key-verify", "post", f"{CLASSIC}/set_api_key", {**good, "api_key": WRONG_KEY, "verify": True})
    assert here.page.exchange("get", f"{RETCODE}/my_llms")[1]["data"] == {}
    with no_worker():
        job = here.show("set_api_key-async", "post", f"{RETCODE}/set_api_key", good, Prefer="respond-async")["data"]
        here.show("set_api_key-job", "get", job["url"])
        runner.run(job["job_id"])
        here.show("set_api_key-job", "get", job["url"])
        here.show("set_api_key-async", "post", f"{CLASSIC}/set_api_key", good, Prefer="respond-async")
        runner.run(Job.objects.latest("created_at").pk)
    here.both("set_api_key", "post", "set_api_key", good)
    vendor("Azure-OpenAI", credential_fields=AZURE, base_url_required=True)
    azure = {"llm_factory": "Azure-OpenAI", "llm_name": "gpt-4", "model_type": "chat", "test": False}
    azure["api_base"] = "https://your-resource.openai.azure.com"
    fields = {"api_key": KEY, "api_version": "2024-10-21"}
    here.show("keys", "post", f"{RETCODE}/add_llm", {**azure, **fields})
    here.show("keys", "post", f"{CLASSIC}/add_llm", {**azure, "api_key": fields})
    here.page.exchange("post", f"{RETCODE}/delete_factory", {"llm_factory": "Azure-OpenAI"})


def running_out_of_time(here: Examples, settings: Any) -> None:
    settings.PROBE_WAIT = 0.1
    with no_worker():
        for mount in (RETCODE, CLASSIC):
            here.show("set_api_key-106", "post", f"{mount}/set_api_key", {"llm_factory": "OpenAI", "api_key": KEY})
            runner.run(Job.objects.latest("created_at").pk)


def models(here: Examples, west: FakeUpstream, east: FakeUpstream) -> None:
    model = {"llm_factory": "VLLM", "llm_name": "qwen3", "model_type": "chat", "api_base": west.url}
    keyed = {**model, "api_key": KEY, "max_tokens": 4096}
    here.both("add_llm", "post", "add_llm", keyed)
    here.show("add_llm-instance", "post", f"{RETCODE}/add_llm", {**keyed, "api_base": east.url, "instance": "east"})
    here.both("add_llm-unknown", "post", "add_llm", {**keyed, "llm_name": "no-such"})
    vendor("Anthropic", {"claude": "chat"}, dialect="not-installed", base_url="https://api.anthropic.example")
    odd = {"llm_factory": "Anthropic", "llm_name": "claude", "model_type": "chat", "api_key": KEY}
    here.both("add_llm-unsupported", "post", "add_llm", odd)
    here.both("add_llm-blocked", "post", "add_llm", {**model, "api_base": "http://10.0.0.5:8000/v1"})
    here.both("my_llms", "get", "my_llms")
    here.both("my_llms-details", "get", "my_llms?include_details=true")
    ollama = LLMService.objects.create(name="ollama", type="ollama", is_enabled=True)
    ServiceModel.objects.create(service=ollama, name="llama3.2:3b", model_types=["chat"], max_tokens=8192)
    here.both("list", "get", "list?model_type=chat")
    here.show("list", "get", f"{ALSO_CLASSIC}/list?model_type=embed")
    named = {"llm_factory": "VLLM", "llm_name": "qwen3___VLLM"}
    here.both("enable_llm", "post", "enable_llm", {**named, "status": "0"})
    here.show("enable_llm", "post", f"{ALSO_CLASSIC}/enable_llm", {**named, "status": 1, "instance": "east"})
    here.both("delete_llm", "post", "delete_llm", named)


def people(here: Examples, tenant: Tenant) -> None:
    info = {"tenant_id": tenant.pk, "llm_id": "gpt-4o@OpenAI", "embd_id": "", "img2txt_id": None, "asr_id": ""}
    here.show("set_tenant_info", "post", SET_INFO, {**info, "tts_id": "tts-1@OpenAI"})
    here.show("tenant_info", "get", INFO)
    here.show("set_tenant_info-wrong", "post", SET_INFO, {**info, "llm_id": "nope@OpenAI"})
    here.show("set_tenant_info-wrong", "post", SET_INFO, {"tenant_id": tenant.pk, "llm_id": "gpt-4o@OpenAI"})
    here.show("set_tenant_info-wrong", "post", SET_INFO, {**info, "tenant_id": "of-somebody-else"})


def errors(here: Examples, tenant: Tenant) -> None:
    owner = tenant.memberships.get().user
    here.both("missing", "post", "set_api_key", {})
    here.both("not-json", "post", "add_llm", "{'llm_factory': ")
    here.both("wrong-data", "post", "set_api_key", {"llm_factory": "Nope", "api_key": KEY})
    here.both("wrong-method", "get", "add_llm")
    here.both("not-found", "get", "nothing")
    with here.as_(bearer("lla_not_a_token")):
        here.both("nobody", "get", "my_llms")
        here.show("nobody", "get", INFO)
    with here.as_(bearer(make_token(tenant, scopes=["read"], user=owner))):
        here.both("forbidden", "post", "delete_factory", {"llm_factory": "OpenAI"})


@pytest.mark.usefixtures("jobs_run_at_once")
def test_the_page_shows_what_every_endpoint_answers(
    examples: Examples, servers: dict[str, FakeUpstream], settings: Any
) -> None:
    tenant = Tenant.objects.get()
    keys(examples)
    models(examples, *list(servers.values())[1:])
    people(examples, tenant)
    errors(examples, tenant)
    examples.both("delete_factory", "post", "delete_factory", {"llm_factory": "OpenAI"})
    running_out_of_time(examples, settings)

    for name, (method, _) in LLM_APP.items():
        assert {(f"{mount}/{name}", method) for mount in (RETCODE, CLASSIC)} <= examples.shown, name
    for name, (method, _) in USER.items():
        assert (f"/v1/user/{name}", method) in examples.shown, name
    blocks = {name: examples.page.made_up(text) for name, text in examples.blocks.items()}
    text = fill(PAGE.read_text(), blocks)
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text
    assert KEY not in text.replace(f'"api_key":"{KEY}"', "").replace(f'"api_key": "{KEY}"', "")
