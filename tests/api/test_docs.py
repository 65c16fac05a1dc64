"""docs/api.md is what the endpoints answer. `WRITE_DOCS=1 pytest tests/api/test_docs.py` writes it anew."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import NoReverseMatch, reverse

from gateway.app import Gateway
from jobs.services.context import JobContext
from jobs.services.heartbeats import worker_seen
from providers.models import LLM, LLMFactory
from runtimes.models import LLMService, ServiceModel
from tenants.models import ApiToken, Membership, Tenant, TenantLLM
from tests.api.examples import Page
from tests.api.test_tenancy import ENDPOINTS
from tests.api.world import bearer, session
from tests.fakes.langfuse import PUBLIC_KEY, SECRET_KEY, FakeLangfuse
from tests.fakes.upstream import KEY, FakeUpstream
from tests.gateway.test_app import get
from tests.people import make_member, make_token, make_user
from tests.usage.calls import make_call
from usage.records import Usage
from usage.services import ledger

pytest_plugins = ["tests.fakes.plugin"]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
INTRODUCTION = """# REST API

Everything that the admin shows to a tenant, for programs. The OpenAPI document is at `/api/schema/`, a page to try it
at `/api/docs/`. Each example below was run, and shows what was asked and answered; ids, tokens and dates are made up.

**Who is asking.** Send `Authorization: Bearer <token>` (the classic bare `Authorization: <token>` works too), or the
session cookie of somebody who logged in; their writes need the CSRF token as `X-CSRFToken`. A token belongs to one
tenant. A person who belongs to several acts for the one that was made for them, else for the oldest;
`X-Tenant-Id: <id>` chooses.

| scope | lets a token |
|---|---|
| `read` | see the tenant's models, credentials (never their keys), probes, jobs and usage |
| `write` | change them, if its maker is an owner or admin of the tenant now |
| `invoke` | call models through the gateway |

**Errors** are problem documents (RFC 9457, `application/problem+json`) with a stable `code`, often a `hint`, and
`fields` where an input is to blame. What belongs to another tenant answers 404, like what does not exist.

| status | when |
|---|---|
| 400 | the request is not valid; a field that does not exist or cannot be set is an error too |
| 401 | no token, or one that is unknown, expired or revoked |
| 403 | the role or the scope is not enough |
| 404 | it does not exist, or is not yours |
| 405, 413, 415 | wrong method, too large, not JSON |
| 409 | it clashes with what is there |
| 422 | a key was tested and does not work: `probes` says why |
| 429 | too many requests: wait `Retry-After` seconds |

**Lists** come in pages: `?page=2&page_size=100` (50 unless told, at most 200), with `count`, `next` and `previous`.
Probes and audit events are timelines, newest first: follow `next`. Filters are query parameters; `?search=` and
`?ordering=-created_at` work where the OpenAPI document names them. A parameter that a list does not have, or a value
that makes no sense, is answered with 400, the parameter and those that there are. The last slash of a path may be left
out.
"""


@pytest.fixture
def tenant(transactional_db: None, upstream: FakeUpstream, loopback_allowed: None) -> Tenant:
    factory = LLMFactory.objects.create(
        name="Vendor", tags="LLM,TEXT EMBEDDING", base_url=upstream.url, docs_url="https://vendor.example/keys"
    )
    for name, kind, price in (("fake-chat", "chat", "2.5"), ("fake-embedding", "embedding", None)):
        source = {"input_price": price, "output_price": price, "price_source": "operator"} if price else {}
        LLM.objects.create(factory=factory, llm_name=name, model_types=[kind], max_tokens=8192, **source)
    tenant = Tenant.objects.create(name="Acme", email="it@acme.example")
    Membership.objects.create(tenant=tenant, user=make_user("ada"), role="owner")
    make_member(tenant, user=make_user("bob"))
    make_user("eve")
    return tenant


def run(tenant: Tenant) -> Page:
    token = make_token(tenant, user=User.objects.get(username="ada"))
    page = Page(bearer(token))
    ApiToken.objects.update(name="automation")
    _catalogue(page)
    _people(page, tenant)
    saved = _credentials(page)
    _models(page, saved)
    _routes(page, saved)
    _usage(page, tenant)
    _bounds(page)
    _tracing(page)
    _services(page)
    _jobs(page)
    _history(page)
    _gateway(page, token)
    _health(page)
    return page


def _catalogue(page: Page) -> None:
    page.chapter("Catalogue", "Which vendors there are, what they ask of a credential, and which models they offer.")
    factory = page.ask("List factories", "get", "/api/factories/?type=chat")["results"][0]["id"]
    page.ask("A factory", "get", f"/api/factories/{factory}/")
    model = page.ask("List models", "get", "/api/models/?type=chat&priced=true")["results"][0]["id"]
    page.ask("A model", "get", f"/api/models/{model}/")


def _people(page: Page, tenant: Tenant) -> None:
    page.chapter("Tenants, members and tokens", "Who the caller is, whom it acts for, and with which rights.")
    page.ask("Who am I?", "get", "/api/me/")
    page.ask("List my tenants", "get", "/api/tenants/")
    page.ask("A tenant", "get", f"/api/tenants/{tenant.pk}/")
    page.ask("Change a tenant", "patch", f"/api/tenants/{tenant.pk}/", {"email": "ml@acme.example"})
    machine, page.client = page.client, session(User.objects.get(username="ada"))
    made = page.ask("Make a tenant (logged in)", "post", "/api/tenants/", {"name": "Acme Labs"})
    page.ask("Delete a tenant with all it owns (an owner, logged in)", "delete", f"/api/tenants/{made['id']}/")
    page.client = machine
    page.ask("List members", "get", "/api/members/")
    member = page.ask("Let somebody in", "post", "/api/members/", {"username": "eve", "role": "member"})["id"]
    page.ask("A member", "get", f"/api/members/{member}/")
    page.ask("Change a role", "patch", f"/api/members/{member}/", {"role": "admin"})
    page.ask("Let somebody go", "delete", f"/api/members/{member}/")
    body = {
        "name": "Chat frontend",
        "scopes": ["read", "invoke"],
        "models": ["assistant", "*@Vendor"],
        "expires_at": "2099-12-31T00:00:00Z",
    }
    token = page.ask("Make a token: shown in this answer and never again", "post", "/api/tokens/", body)["id"]
    page.ask("List tokens", "get", "/api/tokens/?search=frontend")
    page.ask("A token", "get", f"/api/tokens/{token}/")
    page.ask("Revoke a token", "delete", f"/api/tokens/{token}/")


def _credentials(page: Page) -> str:
    page.chapter(
        "Credentials",
        "A tenant's keys. A new key is tested first and saved only if it works; the answer waits up to `PROBE_WAIT`\n"
        "(20 s) and is 202 with the job to poll after that, or at once with `Prefer: respond-async`. With\n"
        '`"test": false` it is saved untested. A key is never shown again: only its last four characters.',
    )
    body: dict[str, Any] = {"factory": "Vendor", "values": {"api_key": KEY}, "label": "production"}
    saved = page.ask("Add a key that works", "post", "/api/credentials/", body)["id"]
    wrong = {**body, "label": "second", "values": {"api_key": "sk-wrong-0123456789"}}
    page.ask("Add a key that does not", "post", "/api/credentials/", wrong)
    third = {**body, "label": "third"}
    page.ask("Add a key and do not wait", "post", "/api/credentials/", third, Prefer="respond-async")
    page.ask("List credentials", "get", "/api/credentials/?state=ok&search=production")
    page.ask("A credential", "get", f"/api/credentials/{saved}/")
    page.ask("Change a credential", "patch", f"/api/credentials/{saved}/", {"label": "main"})
    page.ask("Test a saved key now", "post", f"/api/credentials/{saved}/test/", {})
    page.ask("List what the vendor offers with this key", "post", f"/api/credentials/{saved}/discover/", {})
    page.ask("What it offers, held against what the tenant has", "get", f"/api/credentials/{saved}/models/?page_size=3")
    chosen = [{"llm_name": "fake-vision"}, {"llm_name": "fake-rerank", "model_type": "rerank"}]
    page.ask("Use some of it, tested", "post", f"/api/credentials/{saved}/adopt/", {"models": chosen})
    untested = page.client.post(
        "/api/credentials/", {**body, "label": "old", "test": False}, content_type="application/json"
    ).json()["id"]
    page.ask("Delete a key and its models", "delete", f"/api/credentials/{untested}/")
    return str(saved)


def _models(page: Page, saved: str) -> None:
    page.chapter("Tenant models", "Which models the tenant may use, each through one credential.")
    page.ask("List the tenant's models", "get", f"/api/tenant-models/?type=chat&credential={saved}")
    body = {"credential": saved, "llm_name": "own-vision", "model_types": ["image2text"], "max_tokens": 4096}
    row = page.ask("Add a model that the catalogue does not have", "post", "/api/tenant-models/", body)["id"]
    page.ask("A model of the tenant", "get", f"/api/tenant-models/{row}/")
    page.ask("Disable a model", "patch", f"/api/tenant-models/{row}/", {"status": "0"})
    page.ask("Take a model away", "delete", f"/api/tenant-models/{row}/")


def _routes(page: Page, saved: str) -> None:
    page.chapter(
        "Routes",
        "Names of the tenant's own that applications call like models, and the models behind each: the tenant's, or\n"
        "those of services that it may use (`service_model`). The targets of the lowest position are tried first and\n"
        "share the calls by weight; one with `only_on` is tried only after such a failure. A route's name comes\n"
        "before a model's bare name; it has no `@`, `~` or `*`. A PATCH changes what it names: `targets` replaces all\n"
        "of them, null lifts a limit.\n\n"
        "Deleting a tenant model or a credential takes it out of the routes, which go on with what is left; one that\n"
        "is left with nothing answers like a name that does not exist. `?credential=` and `?tenant_model=` list the\n"
        "routes that a deletion would touch. A target whose service the tenant may not use any more is passed over.",
    )
    body = {"credential": saved, "llm_name": "fake-long", "model_types": ["chat"], "max_tokens": 200000}
    local = LLMService.objects.create(name="ollama", type="ollama", is_enabled=True)
    ServiceModel.objects.create(service=local, name="llama3.2:3b", model_types=["chat"])
    longer = page.client.post("/api/tenant-models/", body, content_type="application/json").json()["id"]
    usual = page.client.get(f"/api/tenant-models/?llm_name=fake-chat&credential={saved}").json()["results"][0]["id"]
    route: dict[str, Any] = {
        "name": "assistant",
        "model_type": "chat",
        "description": "What our chat frontend calls",
        "timeout_s": 60,
        "targets": [
            {"tenant_model": usual, "weight": 3},
            {"service_model": "ollama~llama3.2:3b", "position": 3},
            {"tenant_model": longer, "position": 2, "only_on": ["context_length_exceeded"]},
        ],
    }
    row = page.ask("Make a route", "post", "/api/routes/", route)["id"]
    page.ask("List the routes that a credential's deletion would touch", "get", f"/api/routes/?credential={saved}")
    page.ask("A route", "get", f"/api/routes/{row}/")
    page.ask("Lift a limit", "patch", f"/api/routes/{row}/", {"timeout_s": None})
    page.ask("A name that could be mistaken for a model's", "post", "/api/routes/", {**route, "name": "chat@Vendor"})
    page.ask("Delete a route", "delete", f"/api/routes/{row}/")
    local.delete()


def _usage(page: Page, tenant: Tenant) -> None:
    page.chapter(
        "Usage",
        "What the tenant's calls have used and cost, in USD. A count that is null is unknown; a cost that is null is\n"
        "unpriced or unknown; neither is zero. [usage.md](usage.md) says what is counted, and how. Days are UTC.",
    )
    model = TenantLLM.objects.get(tenant=tenant, llm_name="fake-chat", credential__label="main")
    called = {
        "tenant_id": tenant.pk,
        "token_id": ApiToken.objects.get(name="automation").pk,
        "tenant_llm_id": model.pk,
        "llm_name": "fake-chat",
    }
    answered = make_call(
        **called,
        model="assistant",
        route="assistant",
        input_tokens=1200,
        cached_input_tokens=800,
        output_tokens=150,
        cost=Decimal("0.0053750000"),
        attempts=(("fake-long@Vendor", "overloaded", 41), ("fake-chat@Vendor", "ok", 320)),
        stream=True,
        first_token_ms=120,
    )
    failed = make_call(
        **called, outcome="error", status=429, error_code="rate_limited", usage=Usage(), cost=None, attempts=()
    )
    ledger.ingest([answered, failed])
    page.ask("The calls themselves", "get", "/api/usage/records/?outcome=complete")
    page.ask("A call", "get", f"/api/usage/records/{answered.id}/")
    page.ask("What they come to, by model", "get", "/api/usage/summary/?group_by=model")
    path = "/api/usage/summary/?group_by=day,token&as=csv"
    page.shown.add(("/api/usage/summary/", "get"))
    table = page.client.get(path).content.decode().replace("\r\n", "\n").rstrip()
    page.text += f"\n### The same as a table\n\n```http\nGET {path}\n```\n```\n{table}\n```\n"


def _bounds(page: Page) -> None:
    page.chapter(
        "Limits and budgets",
        "How much the tenant, a token or a model may be called, and what calls may cost (USD, UTC).\n"
        "[limits.md](limits.md) says what is counted when. What staff have set can be seen and not changed.",
    )
    token = ApiToken.objects.get(name="automation").pk
    limit: dict[str, Any] = {"token": token, "requests_per_minute": 60, "tokens_per_minute": 100_000}
    row = page.ask("Limit a token", "post", "/api/rate-limits/", limit)["id"]
    of_model = {"model": "fake-chat@Vendor", "parallel": 4}
    page.ask("Limit a model, for all of the tenant's calls together", "post", "/api/rate-limits/", of_model)
    page.ask("List limits, with what is used now", "get", f"/api/rate-limits/?token={token}")
    page.ask("A limit", "get", f"/api/rate-limits/{row}/")
    page.ask("Change a limit; null lifts a number", "patch", f"/api/rate-limits/{row}/", {"tokens_per_minute": None})
    page.ask("Lift a limit for good", "delete", f"/api/rate-limits/{row}/")
    page.ask("A budget of the tenant", "post", "/api/budgets/", {"amount": "250.00", "period": "month"})
    of_token = {"token": token, "amount": "5", "period": "day", "blocks": False}
    row = page.ask("One of a token, that is only watched", "post", "/api/budgets/", of_token)["id"]
    page.ask("List budgets, with how they stand", "get", "/api/budgets/?period=month")
    page.ask("A budget", "get", f"/api/budgets/{row}/")
    page.ask("Change a budget", "patch", f"/api/budgets/{row}/", {"amount": "7.5", "blocks": True})
    page.ask("An amount that makes no sense", "patch", f"/api/budgets/{row}/", {"amount": "0"})
    page.ask("Delete a budget", "delete", f"/api/budgets/{row}/")


def _services(page: Page) -> None:
    page.chapter(
        "Services and their models",
        "Runtimes of one's own and cloud endpoints; their models are called `service~model`. What is told is what the\n"
        "last look found. Lists come with `page`, `page_size` (at most 1000) and `order` (`-size,name`).\n"
        "Times are milliseconds of the epoch.",
    )
    machine, page.client = page.client, session(make_user("root", is_staff=True, is_superuser=True))
    body = {"name": "mock", "type": "mock", "description": "Only pretends"}
    row = page.ask("Add a service (staff, logged in)", "post", "/api/services/", body)["id"]
    page.ask("Let tenants call it", "post", f"/api/services/{row}/audience/", {"audience": "all"})
    page.ask("Watch it, and let it be called", "post", f"/api/services/{row}/enable/")
    page.ask("Let it answer chats that name no model", "post", f"/api/services/{row}/default/")
    service = LLMService.objects.get(pk=row)
    loaded = {"streaming": True, "instructed": True, "parameters": 7_000_000_000, "max_tokens": 4096}
    for name, kind, types, columns in (
        ("mock-model-7B", "llm", ["chat"], {"state": "loaded", **loaded}),
        ("mock-model-embeddings", "embeddings", ["embedding"], {"state": "not loaded", "max_tokens": 8192}),
    ):
        ServiceModel.objects.create(service=service, name=name, type=kind, model_types=types, **columns)
    page.client = machine
    page.ask("The services that this tenant may use", "get", "/llm/services?state=unknown")
    page.ask("Whether one answers, now", "get", "/llm/services/mock/ping?now=1")
    page.ask("What it can do", "get", "/llm/services/mock/capabilities")
    page.ask("Its models", "get", "/llm/services/mock/models?capability=streaming")
    page.ask("One of them", "get", "/llm/services/mock/models/mock-model-embeddings")
    page.ask("The models of all services", "get", "/llm/models?state=loaded&order=-size&page_size=10")
    page.ask("A model", "get", "/llm/models/mock~mock-model-7B")
    page.ask("A model that is not there", "get", "/llm/models/mock~nothing")
    page.client = session(User.objects.get(username="root"))
    url = {"name": "ollama", "type": "ollama", "urls": ["http://127.0.0.1:11434"], "key": "sk-if-it-needs-one"}
    row = page.ask("One on this machine", "post", "/api/services/", url)["id"]
    page.ask("Its network is not public: without leave it is not called", "post", f"/api/services/{row}/enable/")
    page.ask("Give leave", "post", f"/api/services/{row}/networks/", {"networks": ["127.0.0.0/8"]})
    page.ask("Change a service", "patch", f"/api/services/{row}/", {"long_timeout_s": 600})
    page.ask("List them as they are set up", "get", "/api/services/?type=ollama")
    page.ask("A service", "get", f"/api/services/{row}/")
    page.ask("Leave it alone", "post", f"/api/services/{row}/disable/")
    page.ask("Forget it", "delete", f"/api/services/{row}/")
    page.client = machine


def _jobs(page: Page) -> None:
    page.chapter(
        "Jobs",
        "Work that goes on in the background. The same paths are served without `/api`: `POST /jobs`.\n"
        "[jobs.md](jobs.md) says what the states mean, and how to follow a job's progress as events.",
    )
    page.ask("Which kinds there are", "get", "/api/job_types/?page_size=1&page=2")
    page.ask("A kind of job, by its id or an alias", "get", "/api/job_types/install/")
    page.shown.add(("/api/job_types/{id}/", "get"))
    page.ask("What they are grouped by", "get", "/api/job_groups/?page_size=1")
    page.ask("A group", "get", "/api/job_groups/credentials/")
    page.shown.add(("/api/job_groups/{id}/", "get"))
    params = {"service_name": "mock", "model_name": "tiny"}
    body = {"type": "install", "params": params, "idempotency_key": "install-tiny-1"}
    job = page.ask("Ask for a job", "post", "/api/jobs/", body)["id"]
    page.ask("Ask again with the same key: it is the same job", "post", "/api/jobs/", body)
    page.ask("With params that it does not have", "post", "/api/jobs/", {**body, "params": {"model": "tiny"}})
    page.ask("List jobs", "get", "/api/jobs/?state=completed,failed&group=llm_model_ops&page_size=1")
    page.ask("A job", "get", f"/api/jobs/{job}/")
    page.ask("Cancel a job (one that is over stays as it is)", "post", f"/api/jobs/{job}/cancel/")
    page.ask("Do a job again (only one that did not succeed)", "post", f"/api/jobs/{job}/retry/")
    page.ask("Let a job rest, if its type can", "post", f"/api/jobs/{job}/suspend/")
    page.ask("Go on with a suspended job", "post", f"/api/jobs/{job}/resume/")
    page.ask("Forget a job that is over", "delete", f"/api/jobs/{job}/")


def _history(page: Page) -> None:
    page.chapter("Probes and the audit log", "What was tested, and who changed what.")
    probe = page.ask("List probes", "get", "/api/probes/?verdict=bad_key&page_size=1")["results"][0]["id"]
    page.ask("A probe", "get", f"/api/probes/{probe}/")
    event = page.ask("List audit events", "get", "/api/audit-events/?action=member.added&page_size=1")
    page.ask("An audit event", "get", f"/api/audit-events/{event['results'][0]['id']}/")
    page.chapter("Errors", "All in one form.")
    page.ask("A field that does not exist", "post", "/api/tokens/", {"name": "x", "scopes": ["god"], "admin": True})
    page.ask("Nothing there", "get", "/api/credentials/00000000000000000000000000000000/")
    page.client = bearer("lla_expired")
    page.ask("Nobody we know", "get", "/api/me/")


def _tracing(page: Page) -> None:
    page.chapter("Traces", "The tenant's project in Langfuse, to which its calls are told.")
    with FakeLangfuse() as server:
        keys = {"host": server.url, "public_key": PUBLIC_KEY, "secret_key": SECRET_KEY}
        page.ask("Trace calls", "put", "/api/langfuse/", keys)
    page.ask("Where traces go", "get", "/api/langfuse/")
    page.ask("With what was asked and answered", "patch", "/api/langfuse/", {"content": True})
    page.ask("Trace no more", "delete", "/api/langfuse/")


def _gateway(page: Page, token: str) -> None:
    page.chapter(
        "Gateway",
        "One OpenAI-compatible address for applications: set an OpenAI client's `base_url` to `…/v1` and its key\n"
        "to an API token with the scope `invoke` (or `read`). A model is called `name@factory`, or by a route's\n"
        "name; what a token may not use is not there.",
    )
    for title, path, sent in (
        ("The models that can be called now", "/v1/models", token),
        ("One model", "/v1/models/fake-chat@Vendor", token),
        ("A model that is not there", "/v1/models/gpt-4o@OpenAI", token),
        ("A token that is not valid", "/v1/models", "lla_expired"),
    ):
        answer = get(path, sent)
        told = [f"WWW-Authenticate: {value}" for name, value in answer.headers.items() if name == "www-authenticate"]
        blocks, _ = page.written([f"GET {path}"], None, answer.status, told, answer.body)
        page.text += f"\n### {title}\n\n{blocks}"


def _health(page: Page) -> None:
    page.chapter(
        "Health",
        "For load balancers and monitoring, without a token. `/healthz`: this process serves requests. `/readyz`: the\n"
        "parts that an answer depends on work, too; 503 if one does not.",
    )
    page.client = Client()
    page.ask("Alive", "get", "/healthz")
    with _serving_the_gateway():
        page.ask("Not ready", "get", "/readyz")
        worker_seen("worker@host")
        page.ask("Ready", "get", "/readyz")


@contextmanager
def _serving_the_gateway() -> Iterator[None]:
    """This process as a server's, which has a gateway in it."""
    started, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        gateway = Gateway()
        await gateway.start()
        started.set()
        await asyncio.to_thread(ended.wait)
        await gateway.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    yield
    ended.set()
    thread.join()


@pytest.fixture
def job_types(settings: Any) -> None:
    """Few, and one of them installs nothing."""
    text = {"type": "string", "minLength": 1, "maxLength": 255}
    install = {
        "handler": "tests.api.test_docs.install",
        "aliases": ["install"],
        "description": "Download a model and make it ready for use.",
        "params": {"properties": {"service_name": text, "model_name": text}, "required": ["model_name"]},
        "queue": "models",
        "timeout_s": 86_400,
        "who": "managers",
    }
    known = ("probe", "discover")
    settings.JOB_GROUPS = {"credentials": settings.JOB_GROUPS["credentials"]}
    settings.JOB_TYPES = {name: settings.JOB_TYPES[name] for name in known} | {"llm_model_ops:install": install}


def install(ctx: JobContext) -> dict[str, Any]:
    ctx.progress(message="Downloading", done_bytes=1_200_000_000, total_bytes=2_000_000_000, step="weights")
    return {"model_name": ctx.params["model_name"]}


@pytest.mark.usefixtures("jobs_run_at_once")
def test_the_page_shows_an_example_of_every_endpoint_as_it_answers_now(tenant: Tenant) -> None:
    page = run(tenant)
    text = INTRODUCTION + page.render()
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(text)
    for name, method in ENDPOINTS:
        try:
            path = reverse(name).rstrip("/") + "/"
        except NoReverseMatch:
            path = reverse(name, args=["1"]).replace("/1", "/{id}").rstrip("/") + "/"
        assert (path, method) in page.shown, f"{method} {path} has no example"
    assert PAGE.read_text() == text
    assert KEY not in text.replace(f'"api_key": "{KEY}"', "")
