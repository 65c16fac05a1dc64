"""`/llm/services` and `/llm/models`: who sees what, names with anything in them, filters, pages with true totals."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as properties
from hypothesis import strategies as st

from runtimes.drivers.base import CAPABILITIES
from runtimes.models import Audience, LLMService, ModelState, ServiceModel, ServiceTenant
from tests.api.world import bearer, session
from tests.people import People, make_token, make_user

pytestmark = pytest.mark.django_db
AT = datetime(2026, 1, 2, tzinfo=UTC)
ODD = "hf.co/some one/Qwen3:Q4~K"


def make_service(name: str = "den", **columns: Any) -> LLMService:
    given = {"type": "ollama", "is_enabled": True, "urls": ["http://10.9.8.7:11434"], **columns}
    return LLMService.objects.create(name=name, **given)


def add(service: LLMService, name: str, **columns: Any) -> ServiceModel:
    given = {"type": "llm", "model_types": ["chat"], "state": ModelState.LOADED, **columns}
    return ServiceModel.objects.create(service=service, name=name, **given)


@pytest.fixture
def den(db: None) -> LLMService:
    """One that is up, for everybody."""
    service = make_service(
        health="up",
        latency_ms=7,
        version="0.9",
        checked_at=AT,
        up_since=AT,
        is_default=True,
        description="Under a desk",
    )
    add(service, "llama3.2:3b", architecture="llama", parameters=3_000_000_000, max_tokens=8192,
        size_bytes=2_000_000_000, streaming=True, tooling=True, is_gguf=True, quantization="Q4_K_M", modified_at=AT,
        publisher="meta", file_path="/srv/models/llama.gguf", runtime_name="llama.cpp")  # fmt: skip
    add(service, "all-minilm:latest", type="embeddings", model_types=["embedding"], state=ModelState.NOT_LOADED)
    add(service, ODD)
    add(service, "gone", state=ModelState.REMOVED)
    return service


@pytest.fixture
def client(people: People) -> Client:
    """A member's token."""
    return bearer(make_token(people.tenant, user=people.member))


def names(client: Client, path: str, what: str = "models") -> list[str]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    assert answer.json()["total"] == len(answer.json()[what])
    return [one["name"] for one in answer.json()[what]]


# --- What is told ---------------------------------------------------------------------------------------------------


def test_services_are_told_with_what_they_can_do(client: Client, den: LLMService) -> None:
    answer = client.get("/llm/services").json()
    assert {name: answer[name] for name in ("page_number", "page_size", "order", "total")} == {
        "page_number": 1, "page_size": 50, "order": "name", "total": 1,
    }  # fmt: skip
    (told,) = answer["services"]
    assert (told["name"], told["type"], told["state"], told["is_default"]) == ("den", "ollama", "up", True)
    assert (told["version"], told["latency_ms"], told["models_total"]) == ("0.9", 7, 3)
    assert told["checked_at"] == int(AT.timestamp() * 1000)
    assert list(told["capabilities"]) == list(CAPABILITIES)
    assert told["capabilities"]["install_model"] is True
    assert client.get("/llm/services/den").json() == told
    assert client.get("/llm/services/den/capabilities").json() == told["capabilities"]


def test_what_a_look_found_counts_more_than_what_the_driver_declares(client: Client, den: LLMService) -> None:
    den.capabilities = {"install_model": False, "rerank": True}
    den.save()
    told = client.get("/llm/services/den/capabilities").json()
    assert (told["install_model"], told["rerank"], told["streaming"]) == (False, True, True)
    assert names(client, "/llm/services?capability=rerank", "services") == ["den"]
    assert names(client, "/llm/services?capability=install_model", "services") == []
    assert names(client, "/llm/services?capability=streaming", "services") == ["den"]


def test_a_model_is_told_in_all_its_columns(client: Client, den: LLMService) -> None:
    told = client.get("/llm/models/den~llama3.2:3b").json()
    assert told == {
        "name": "den~llama3.2:3b", "service": "den", "type": "llm", "model_types": ["chat"], "state": "loaded",
        "description": "", "publisher": "meta", "arch": "llama", "architecture": "llama", "quantization": "Q4_K_M",
        "parameters": 3_000_000_000, "max_tokens": 8192, "size": 2_000_000_000, "streaming": True, "instructed": False,
        "coding": False, "tooling": True, "is_mlx": False, "is_gguf": True, "runtime_name": "llama.cpp",
        "file_path": "", "modified_at": int(AT.timestamp() * 1000),
    }  # fmt: skip


@pytest.mark.parametrize("slash", ["", "/"])
def test_names_may_hold_slashes_colons_blanks_and_tildes(client: Client, den: LLMService, slash: str) -> None:
    for path in (
        f"/llm/services/den/models/{quote(ODD)}",
        f"/llm/services/den/models/{quote(ODD, safe='')}",
        f"/llm/services/den/models/{quote('den~' + ODD)}",
        f"/llm/models/{quote('den~' + ODD)}",
        f"/llm/models/{quote(ODD)}",
    ):
        answer = client.get(path + slash)
        assert (answer.status_code, answer.json().get("name")) == (200, f"den~{ODD}"), path


def test_the_tag_that_goes_without_saying_need_not_be_said(client: Client, den: LLMService) -> None:
    for path in ("/llm/models/den~all-minilm", "/llm/models/all-minilm", "/llm/services/den/models/all-minilm"):
        assert client.get(path).json()["name"] == "den~all-minilm:latest"


def test_a_name_that_several_services_have_is_not_guessed(client: Client, den: LLMService) -> None:
    add(make_service("attic"), "llama3.2:3b")
    answer = client.get("/llm/models/llama3.2:3b")
    assert answer.status_code == 404
    assert "attic~llama3.2:3b, den~llama3.2:3b" in answer.json()["hint"]
    assert client.get("/llm/models/attic~llama3.2:3b").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["services/nothing", "services/de", "services/DEN", "services/den/models/gone", "services/den/models/llama",
     "models/gone", "models/den~gone", "models/llama", "models/%00", "services/%00", "services/nothing/ping",
     "services/nothing/models", "services/nothing/capabilities", "services/nothing/models/x"],
)  # fmt: skip
def test_what_is_not_there_is_a_problem_and_never_guessed(client: Client, den: LLMService, path: str) -> None:
    answer = client.get(f"/llm/{path}")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"
    assert answer.json()["hint"]


def test_a_ping_tells_of_the_last_look(client: Client, den: LLMService) -> None:
    told = client.get("/llm/services/den/ping").json()
    assert (told["status"], told["state"], told["version"], told["latency_ms"]) == ("ok", "up", "0.9", 7)
    den.health, den.error = "down", {"code": "unreachable", "message": "10.9.8.7 refused the connection."}
    den.save()
    told = client.get("/llm/services/den/ping").json()
    assert (told["status"], told["message"]) == ("error", "unreachable")
    make_service("new")
    told = client.get("/llm/services/new/ping").json()
    assert (told["status"], told["message"], told["checked_at"]) == ("error", "Nobody has looked at it yet.", None)


def test_a_ping_that_is_to_be_now_looks_and_remembers(people: People, settings: Any, tmp_path: Any) -> None:
    settings.DATA_DIR = tmp_path
    client = bearer(make_token(people.tenant, user=people.member))
    mock = make_service("mock", type="mock", urls=[])
    assert client.get("/llm/services/mock/ping?now=1").json()["status"] == "ok"
    mock.refresh_from_db()
    assert (mock.health, mock.checked_at is not None) == ("up", True)
    assert client.get("/llm/services/mock/ping?now=perhaps").status_code == 400


def test_a_ping_of_what_hangs_takes_its_short_timeout_at_most(people: People) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        make_service(
            "silent", urls=[f"http://127.0.0.1:{silent.getsockname()[1]}"], allowed_networks=["127.0.0.0/8"],
            short_timeout_s=1, long_timeout_s=600,
        )  # fmt: skip
        began = time.monotonic()
        told = bearer(make_token(people.tenant, user=people.member)).get("/llm/services/silent/ping?now=true").json()
    assert (told["status"], told["message"]) == ("error", "timed_out")
    assert time.monotonic() - began < 20


def test_the_paths_of_ragflow_beside_them_are_still_there(client: Client, den: LLMService) -> None:
    assert client.get("/llm/factories").json()["retcode"] == 0
    assert client.get("/llm/nothing").json()["retcode"] != 0


# --- Who sees what --------------------------------------------------------------------------------------------------


def seen(user: User) -> tuple[list[str], list[str]]:
    client = session(user)
    return names(client, "/llm/services", "services"), names(client, "/llm/models")


def test_owner_member_and_outsider_see_what_their_tenant_may_use(people: People) -> None:
    for name in ("all", "some", "none", "off"):
        audience = Audience.ALL if name == "off" else Audience(name)
        add(make_service(name, audience=audience, is_enabled=name != "off"), "m")
    ServiceTenant.objects.create(service=LLMService.objects.get(name="some"), tenant_id=people.tenant.pk)
    for user in (people.owner, people.member):
        assert seen(user) == (["all", "some"], ["all~m", "some~m"])
    assert seen(people.outsider) == (["all"], ["all~m"])
    outsider = session(people.outsider)
    for path in ("services/some", "services/some/ping", "services/some/models", "services/some/models/m",
                 "services/some/capabilities", "models/some~m"):  # fmt: skip
        assert outsider.get(f"/llm/{path}").status_code == 404
        assert session(people.member).get(f"/llm/{path}").status_code == 200
    staff = make_user(is_staff=True, is_superuser=True)
    assert seen(staff)[0] == ["all", "none", "off", "some"]
    assert seen(make_user(is_staff=True))[0] == ["all"]  # without the permission to look at services


def test_hosts_and_paths_are_for_staff(people: People, den: LLMService, client: Client) -> None:
    den.error = {"code": "unreachable", "message": "10.9.8.7 refused", "hint": "Start it."}
    den.save()
    told = (
        client.get("/llm/services").content
        + client.get("/llm/models").content
        + client.get("/llm/services/den/ping").content
    )
    assert b"10.9.8.7" not in told
    assert b"/srv/models" not in told
    assert client.get("/llm/services/den").json()["error"] == {"code": "unreachable"}
    staff = session(make_user(is_staff=True, is_superuser=True))
    assert staff.get("/llm/services/den").json()["urls"] == ["http://10.9.8.7:11434"]
    assert staff.get("/llm/models/den~llama3.2:3b").json()["file_path"] == "/srv/models/llama.gguf"


def test_nobody_and_tokens_without_the_scope_see_nothing(people: People, den: LLMService) -> None:
    assert Client().get("/llm/services").status_code == 401
    invoke = bearer(make_token(people.tenant, user=people.owner, scopes=["invoke"]))
    for path in ("services", "services/den", "services/den/ping", "models", "models/den~llama3.2:3b"):
        assert invoke.get(f"/llm/{path}").status_code == 403
    assert session(people.owner).post("/llm/services").status_code == 405


# --- Filters, orders, pages -----------------------------------------------------------------------------------------


def test_services_are_narrowed(client: Client, den: LLMService) -> None:
    make_service("mocked", type="mock", urls=[], health="down")
    for query, expected in {
        "state=up": ["den"], "state=down": ["mocked"], "state=unknown": [], "type=mock": ["mocked"],
        "name=OCK": ["mocked"],
        "is_default=true": ["den"], "capability=import_model": ["den", "mocked"], "order=-name": ["mocked", "den"],
        "order=state,name": ["mocked", "den"],
    }.items():  # fmt: skip
        assert names(client, f"/llm/services?{query}", "services") == expected, query


def test_models_are_narrowed(client: Client, den: LLMService) -> None:
    add(make_service("attic"), "tiny", type="rerank", model_types=["rerank"], size_bytes=5)
    minilm, llama, odd, tiny = "den~all-minilm:latest", "den~llama3.2:3b", f"den~{ODD}", "attic~tiny"
    for query, expected in {
        "": [tiny, minilm, odd, llama], "state=loaded": [tiny, odd, llama], "state=not+loaded": [minilm],
        "type=embeddings": [minilm], "model_type=rerank": [tiny], "service=den": [minilm, odd, llama],
        "service=de": [], "name=llama": [llama], "capability=tooling": [llama], "state=loaded&service=attic": [tiny],
        "order=-size": [llama, tiny, minilm, odd], "order=size": [tiny, llama, minilm, odd],
    }.items():  # fmt: skip
        assert names(client, f"/llm/models?{query}") == expected, query
    assert names(client, "/llm/services/den/models?capability=is_gguf") == [llama]


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=-1", "page=x", "page=1.5", "page_size=0", "page_size=1001", "page=99999999999999999999",
     "order=password", "order=service__secret", "state=fine", "capability=flying", "page=%D9%A1"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["services", "models", "services/den/models"])
def test_a_question_that_makes_no_sense_is_refused(client: Client, den: LLMService, path: str, query: str) -> None:
    answer = client.get(f"/llm/{path}?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["fields"]) == [query.partition("=")[0]]


@given(
    size=st.integers(1, 1000), order=st.sampled_from(["name", "-name", "size", "-size", "state,-name", "-type"]),
    state=st.sampled_from(["", "loaded", "not loaded"]),
)  # fmt: skip
@properties(suppress_health_check=list(HealthCheck), max_examples=25)
def test_pages_together_are_the_whole_list_each_once(
    client: Client, den: LLMService, settings: Any, size: int, order: str, state: str
) -> None:
    rates = {"caller": "1000000/min", "probe": "1000000/min"}
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": rates}
    if den.models.count() < 20:
        for number in range(30):
            add(
                den,
                f"m{number % 7}-{number}",
                size_bytes=number % 3 or None,
                state=("loaded", "not loaded")[number % 2],
            )
    query = f"order={order}&state={state}"
    whole = client.get(f"/llm/models?{query}&page_size=1000").json()
    assert whole["total"] == len(whole["models"]) > 0
    size = min(size, 40)
    pages, found = -(-whole["total"] // size), []
    for page in range(1, pages + 2):
        told = client.get(f"/llm/models?{query}&page_size={size}&page={page}").json()
        assert (told["page_number"], told["page_size"], told["order"]) == (page, size, order)
        assert told["total"] == whole["total"]
        found += told["models"]
    assert told["models"] == []
    assert found == whole["models"]


def test_lists_take_as_many_queries_for_many_as_for_few(
    client: Client, den: LLMService, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        add(make_service(f"s{number}"), "m")
    with django_assert_max_num_queries(9):
        assert client.get("/llm/services").json()["total"] == 21
    with django_assert_max_num_queries(9):
        assert client.get("/llm/models").json()["total"] == 23
