"""What services list is kept as rows: added, changed, removed, and back again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import audit
from core.audit import Event
from core.clock import now
from providers.errors import Unreachable
from runtimes.drivers.base import Described
from runtimes.models import LLMService, ModelState, ModelType, ServiceModel
from runtimes.services import changes, listing
from runtimes.services.listing import Listed, merged, refresh, store
from tests.runtimes.fakes.ollama import FakeOllama, chat, embedding
from tests.runtimes.fakes.server import hang_up
from tests.runtimes.making import make_model, make_service


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama() as running:
        yield running


@pytest.fixture
def events() -> Iterator[list[Event]]:
    seen: list[Event] = []

    def see(event: Event, **_: Any) -> None:
        seen.append(event)

    audit.recorded.connect(see)
    yield seen
    audit.recorded.disconnect(see)


@pytest.fixture
def announced() -> Iterator[list[int]]:
    seen: list[int] = []

    def see(**_: Any) -> None:
        seen.append(1)

    changes.announced.connect(see)
    yield seen
    changes.announced.disconnect(see)


def rows(service: LLMService) -> dict[str, str]:
    return dict(ServiceModel.objects.filter(service=service).values_list("name", "state"))


@pytest.mark.django_db
def test_the_models_of_a_runtime_become_rows(ollama: FakeOllama, events: list[Event], announced: list[int]) -> None:
    service = make_service(ollama.url)
    found = refresh(service)
    assert set(found.added) == {"tiny:latest", "all-minilm:latest"}
    model = service.models.get(name="tiny:latest")
    assert (model.type, model.model_types, model.tooling, model.streaming) == ("llm", ["chat"], True, True)
    assert (model.quantization, model.parameters, model.max_tokens) == ("Q4_K_M", 1_235_814_400, 131_072)
    assert model.full_name == f"{service.name}~tiny:latest"
    assert service.models.get(name="all-minilm:latest").model_types == ["embedding"]
    service.refresh_from_db()
    assert service.listed_at is not None
    assert [event.action for event in events] == ["service.models_changed"]
    assert events[0].detail["added_count"] == 2
    assert announced


@pytest.mark.django_db
def test_a_list_that_says_the_same_changes_nothing(
    ollama: FakeOllama, events: list[Event], announced: list[int]
) -> None:
    service = make_service(ollama.url)
    refresh(service)
    events.clear()
    announced.clear()
    before = list(ServiceModel.objects.values("pk", "state", "detail", "modified_at"))
    assert not refresh(service)
    assert list(ServiceModel.objects.values("pk", "state", "detail", "modified_at")) == before
    assert (events, announced) == ([], [])


@pytest.mark.django_db
def test_what_is_gone_is_removed_for_a_while_and_may_come_back(ollama: FakeOllama, settings: Any) -> None:
    service = make_service(ollama.url)
    refresh(service)
    pk = service.models.get(name="tiny:latest").pk
    ollama.models = [embedding()]
    assert refresh(service).removed == ("tiny:latest",)
    assert rows(service)["tiny:latest"] == ModelState.REMOVED
    assert not ServiceModel.objects.present().filter(name="tiny:latest").exists()
    assert refresh(service).removed == ()
    ollama.models = [embedding(), chat()]
    assert refresh(service).added == ("tiny:latest",)
    assert service.models.get(name="tiny:latest").pk == pk
    ollama.models = [embedding()]
    refresh(service)
    listing.prune()
    assert "tiny:latest" in rows(service)
    ServiceModel.objects.filter(pk=pk).update(seen_at=now() - timedelta(days=settings.SERVICE_MODEL_RETENTION_DAYS + 1))
    ServiceModel.objects.exclude(pk=pk).update(seen_at=now() - timedelta(days=400))
    assert listing.prune() == 1
    assert set(rows(service)) == {"all-minilm:latest"}


@pytest.mark.django_db
def test_a_list_that_is_another_one_each_time_fills_no_database() -> None:
    service = make_service("http://127.0.0.1:1")
    for turn in range(4):
        store(service_id=service.pk, listed=Listed(tuple(Described(f"{turn}-{each}") for each in range(600))))
    states = Counter(rows(service).values())
    assert (states.pop(ModelState.REMOVED), sum(states.values())) == (listing.MAX_REMOVED, 600)
    assert "2-599" in rows(service)
    assert "0-0" not in rows(service)


@pytest.mark.django_db
def test_several_urls_give_one_list(ollama: FakeOllama) -> None:
    with FakeOllama(models=[chat("other:7b")]) as second:
        service = make_service(ollama.url, second.url)
        refresh(service)
        assert set(rows(service)) == {"tiny:latest", "all-minilm:latest", "other:7b"}
        second.behave("GET", "/api/tags", hang_up)
        ollama.models = [chat()]
        refresh(service)
        assert rows(service)["other:7b"] != ModelState.REMOVED, "nobody said that it is gone"
        assert rows(service)["all-minilm:latest"] != ModelState.REMOVED
        second.well("GET", "/api/tags")
        refresh(service)
        assert rows(service)["all-minilm:latest"] == ModelState.REMOVED


@pytest.mark.django_db
def test_a_service_that_does_not_answer_keeps_its_models() -> None:
    service = make_service("http://127.0.0.1:1")
    make_model(service, "kept")
    with pytest.raises(Unreachable):
        refresh(service)
    assert rows(service) == {"kept": "loaded"}


@pytest.mark.django_db
def test_a_service_that_is_gone_meanwhile_gets_no_rows() -> None:
    assert not store(service_id="gone", listed=Listed((Described("model"),)))
    assert not ServiceModel.objects.exists()


@pytest.mark.django_db
def test_no_column_takes_more_than_it_holds() -> None:
    service = make_service()
    odd = Described(
        "odd",
        type="nothing known",
        state="in a dream",
        publisher="p" * 999,
        description="d\x00" * 9_000,
        quantization="q" * 99,
        parameters=2**70,
        size_bytes=-1,
        max_tokens=2**40,
        detail={"a": "x" * 99_999},
    )
    store(service_id=service.pk, listed=Listed((odd, Described(""), Described("n" * 300), Described("nul\x00"))))
    model = service.models.get()
    assert (model.type, model.state, model.parameters, model.size_bytes) == ("llm", "unknown", None, None)
    assert (model.max_tokens, model.detail, len(model.publisher)) == (None, {}, 128)
    model.full_clean(exclude=["service"])


@pytest.mark.django_db
def test_what_no_database_takes_is_left_out_of_details() -> None:
    service = make_service()
    detail = {"a\x00": ["b\x00", "\\u0000", {"c": "\x00"}], "d": object}
    store(service_id=service.pk, listed=Listed((Described("odd", detail=detail),)))
    assert service.models.get().detail == {}
    del detail["d"]
    store(service_id=service.pk, listed=Listed((Described("odd", detail=detail),)))
    assert service.models.get().detail == {"a": ["b", "\\u0000", {"c": ""}]}


@pytest.mark.django_db
def test_members_of_the_tenants_of_a_service_see_its_models_and_outsiders_do_not(people: Any) -> None:
    service = make_service(audience="some")
    service.tenants.create(tenant_id=people.tenant.pk)
    store(service_id=service.pk, listed=Listed((Described("model"),)))
    assert [one.name for one in ServiceModel.objects.for_tenant(people.tenant.pk)] == ["model"]
    assert not ServiceModel.objects.for_tenant(people.elsewhere.pk).exists()
    LLMService.objects.update(is_enabled=False)
    assert not ServiceModel.objects.for_tenant(people.tenant.pk).exists()


names = st.text(min_size=0, max_size=4)
models = st.builds(
    Described, names, state=st.sampled_from([*ModelState.values, "else"]), type=st.sampled_from(ModelType)
)


@given(st.lists(st.lists(models, max_size=6), max_size=4))
def test_of_two_that_have_it_the_nearer_one_says_the_state(lists: list[list[Described]]) -> None:
    whole = merged(lists)
    assert len({one.name for one in whole}) == len(whole)
    assert {one.name for one in whole} == {
        one.name for models in lists for one in models if one.name and "\x00" not in one.name
    }
    for one in whole:
        states = {each.state for models in lists for each in models if each.name == one.name}
        assert one.state in states
        assert one.state == "loaded" or "loaded" not in states
