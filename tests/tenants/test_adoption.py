"""Models of the last list, taken into use."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from core.errors import Conflict, InvalidInput
from jobs.models import Job
from providers.models import INVALID, LLM
from tenants.models import AuditEvent, Credential, RoutingChange, TenantLLM
from tenants.services import adoption, credentials, discovery
from tests.fakes.upstream import FakeUpstream
from tests.people import People
from tests.tenants.setting import ACTOR, make_factory, offer, save_credential, serve

pytestmark = pytest.mark.usefixtures("jobs_run_at_once", "loopback_allowed")


@pytest.fixture
def credential(people: People, upstream: FakeUpstream) -> Credential:
    """Its models have been listed."""
    saved = save_credential(people.tenant, make_factory(), upstream)
    discovery.discover(saved, actor=ACTOR)
    upstream.calls.clear()
    return saved


def adopt(credential: Credential, *names: str | tuple[str, str], **options: Any) -> Job | None:
    """The finished job, if there was something to test."""
    pairs = [(name, "") if isinstance(name, str) else name for name in names]
    job = adoption.adopt(credential, models=pairs, actor=ACTOR, **options).job
    if job is not None:
        job.refresh_from_db()
    return job


def used(credential: Credential) -> dict[str, str]:
    return {row.llm_name: ",".join(row.model_types) for row in credential.tenant_llms.order_by("llm_name")}


def test_chosen_models_are_tested_and_then_used(credential: Credential, upstream: FakeUpstream) -> None:
    job = adopt(credential, "fake-vision", "fake-embedding", ("fake-tts", "tts"))
    assert job is not None and job.type == "probe" and job.result["ok"] and job.result["saved"]
    assert used(credential) == {"fake-embedding": "embedding", "fake-tts": "tts", "fake-vision": "chat,image2text"}
    assert dict(upstream.calls) == {"/models": 1, "/embeddings": 1}  # the usual plan: the cheapest call that can tell
    assert Credential.objects.count() == 1
    states = {row.llm_name: row.state.value for row in discovery.diff(credential).rows}
    assert states["fake-vision"] == "present" and states["fake-chat"] == "new"


def test_one_model_alone_is_called_for_each_type(credential: Credential, upstream: FakeUpstream) -> None:
    adopt(credential, "fake-vision")
    assert upstream.calls["/chat/completions"] == 2


def test_nothing_is_used_when_the_test_fails(credential: Credential, upstream: FakeUpstream) -> None:
    upstream.status("/chat/completions", 400, {"error": {"message": "not a chat model"}})
    job = adopt(credential, "fake-chat")
    assert job is not None and not job.result["ok"]
    assert used(credential) == {}
    assert Credential.objects.count() == 1  # no draft is left


def test_models_can_be_used_untested(credential: Credential, upstream: FakeUpstream) -> None:
    before = RoutingChange.objects.count()
    assert adopt(credential, "fake-chat", test=False) is None
    assert upstream.total_calls == 0
    row = credential.tenant_llms.get()
    assert (row.llm_name, row.verdict, row.max_tokens, row.is_tools) == ("fake-chat", "untested", 8192, None)
    event = AuditEvent.objects.filter(action="credential.updated").latest("id")
    assert (event.detail["models"], event.detail["tested"]) == (1, False)
    assert RoutingChange.objects.count() > before


def test_what_the_upstream_said_of_a_model_is_kept_with_it(people: People, upstream: FakeUpstream) -> None:
    factory = make_factory()
    (llm,) = offer(factory, a="chat")
    saved = save_credential(people.tenant, factory, upstream)
    entries = [
        {"id": "a", "type": "chat", "context_length": 4096, "supports_tools": True},
        {"id": "b", "type": "chat", "supports_tools": False},
    ]
    upstream.status("/models", 200, {"data": entries})
    discovery.discover(saved, actor=ACTOR)
    adopt(saved, "a", "b", test=False)
    rows = {row.llm_name: (row.max_tokens, row.is_tools, row.llm_id) for row in saved.tenant_llms.all()}
    assert rows == {"a": (4096, True, llm.pk), "b": (8192, False, None)}


def test_the_same_again_changes_nothing_and_calls_nobody(credential: Credential, upstream: FakeUpstream) -> None:
    adopt(credential, "fake-chat", "fake-embedding", test=False)
    rows = list(TenantLLM.objects.order_by("pk").values())
    events = AuditEvent.objects.count()
    for test in (True, False):
        assert adopt(credential, "fake-embedding", ("fake-chat", "chat"), "fake-chat", test=test) is None
    assert list(TenantLLM.objects.order_by("pk").values()) == rows
    assert AuditEvent.objects.count() == events
    assert upstream.total_calls == 0


def test_a_further_type_is_added_to_what_is_used_and_the_rest_stays(people: People, upstream: FakeUpstream) -> None:
    saved = save_credential(people.tenant, make_factory(), upstream)
    serve(saved, fake_vision="image2text", fake_chat="embedding")
    saved.tenant_llms.update(max_tokens=123, used_tokens=77, status=INVALID)
    entries = [{"id": "fake-vision", "type": "vlm"}, {"id": "fake-chat"}]
    upstream.status("/models", 200, {"data": entries})
    discovery.discover(saved, actor=ACTOR)
    adopt(saved, "fake-vision", "fake-chat", test=False)
    assert used(saved) == {"fake-chat": "embedding", "fake-vision": "image2text,chat"}  # a guess adds nothing
    row = saved.tenant_llms.get(llm_name="fake-vision")
    assert (row.max_tokens, row.used_tokens, row.status) == (123, 77, INVALID)


def test_a_person_may_know_a_type_better_than_a_name(credential: Credential) -> None:
    adopt(credential, ("fake-tts", "chat"), test=False)
    assert used(credential) == {"fake-tts": "chat"}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["fake-chat", "invented"], "invented"),
        ([("fake-chat", "nonsense")], "nonsense"),
        ([("fake-chat", "ocr")], "ocr"),
    ],
)
def test_one_wrong_choice_refuses_all(credential: Credential, names: list[Any], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        adopt(credential, "fake-embedding", *names)
    assert said in str(caught.value)
    assert used(credential) == {}
    assert not Job.objects.filter(type="probe").exists()


def test_a_model_that_is_disabled_in_the_catalogue_is_refused(credential: Credential) -> None:
    LLM.objects.create(factory=credential.factory, llm_name="fake-chat", model_types=["chat"], status=INVALID)
    for test in (True, False):
        with pytest.raises(InvalidInput, match="disabled"):
            adopt(credential, "fake-chat", test=test)


def test_a_model_without_a_type_needs_one(people: People, upstream: FakeUpstream) -> None:
    saved = save_credential(people.tenant, make_factory(), upstream)
    upstream.status("/models", 200, {"data": [{"id": "painter", "type": "image"}]})
    discovery.discover(saved, actor=ACTOR)
    with pytest.raises(InvalidInput, match="no type"):
        adopt(saved, "painter", test=False)
    adopt(saved, ("painter", "image2text"), test=False)
    assert used(saved) == {"painter": "image2text"}


def test_there_must_be_a_list_and_a_current_one(people: People, upstream: FakeUpstream) -> None:
    saved = save_credential(people.tenant, make_factory(), upstream)
    with pytest.raises(Conflict, match="not been listed"):
        adopt(saved, "fake-chat")
    discovery.discover(saved, actor=ACTOR)
    changed = credentials.update(saved, values={"api_key": "sk-another-0123456789"}, actor=ACTOR)
    with pytest.raises(Conflict, match="changed since"):
        adopt(changed, "fake-chat")


def test_what_is_gone_cannot_be_chosen(people: People, upstream: FakeUpstream) -> None:
    saved = save_credential(people.tenant, make_factory(), upstream)
    serve(saved, fake_old="chat")
    discovery.discover(saved, actor=ACTOR)
    with pytest.raises(InvalidInput, match="fake-old"):
        adopt(saved, "fake-old")


def test_two_at_once_add_each_model_once(credential: Credential) -> None:
    failures: list[BaseException] = []

    def add() -> None:
        try:
            adopt(Credential.objects.select_related("factory", "tenant").get(pk=credential.pk), "fake-chat", test=False)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert used(credential) == {"fake-chat": "chat"}


def test_a_keyless_servers_models_are_adopted(people: People) -> None:
    with FakeUpstream(key=None) as upstream:
        factory = make_factory(keyless=True, signer="none")
        saved = save_credential(people.tenant, factory, upstream, values={})
        discovery.discover(saved, actor=ACTOR)
        job = adopt(saved, "fake-chat")
        assert job is not None and job.result["saved"]
        assert used(saved) == {"fake-chat": "chat"}
