"""Services are written by one module: checked as a whole, audited, and with keys that go nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core import audit
from core.audit import SYSTEM, Event
from core.errors import InvalidInput, NotFound
from core.secrets import SecretMisdirected
from runtimes.models import CallDefaults, Health, LLMService, ServiceTenant
from runtimes.services import services
from tests.people import People
from tests.runtimes.making import LOOPBACK, make_service

pytestmark = pytest.mark.django_db
KEY = "a-key-of-the-runtime-0123456789"


@pytest.fixture
def events() -> Iterator[list[Event]]:
    seen: list[Event] = []

    def see(event: Event, **_: Any) -> None:
        seen.append(event)

    audit.recorded.connect(see)
    yield seen
    audit.recorded.disconnect(see)


def create(**values: Any) -> LLMService:
    given = {"name": "vendor", "type": "openai", "urls": ["https://api.vendor.example"], "actor": SYSTEM}
    return services.create(**{**given, **values})


def test_a_new_service_is_disabled_and_nobodys(events: list[Event]) -> None:
    service = create(urls=["https://API.vendor.example/v1/ ".strip()])
    assert (service.is_enabled, service.audience, service.health) == (False, "none", "unknown")
    assert service.urls == ["https://api.vendor.example/v1"]
    assert [event.action for event in events] == ["service.created"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "Not a name"}, "name"),
        ({"type": "nothing"}, "type"),
        ({"urls": ["ftp://x.example"]}, "urls"),
        ({"urls": ["https://u:p@x.example"]}, "urls"),
        ({"urls": ["inproc://mock"]}, "urls"),
        ({"urls": "https://x.example"}, "urls"),
        ({"api_format": "nothing"}, "api_format"),
        ({"api_key_env_var": "FIELD_ENCRYPTION_KEY"}, "api_key_env_var"),
        ({"api_key_env_var": "SECRET_KEY_FILE"}, "api_key_env_var"),
        ({"api_key_env_var": "PATH"}, "api_key_env_var"),
        ({"api_key_env_var": "not a name"}, "api_key_env_var"),
        ({"short_timeout_s": 0}, "short_timeout_s"),
        ({"options": {"prices": {"*": {"input": "free"}}}}, "options"),
        ({"options": {"x": "\0"}}, "options"),
        ({"description": "a\0b"}, "description"),
        ({"color": "red"}, "color"),
    ],
)
def test_bad_input_names_its_field_and_writes_nothing(values: dict[str, Any], field: str, events: list[Event]) -> None:
    with pytest.raises(InvalidInput) as error:
        create(**values)
    assert field in error.value.fields
    assert not LLMService.objects.exists()
    assert events == []


def test_names_are_unique() -> None:
    create()
    with pytest.raises(InvalidInput) as error:
        create()
    assert "name" in error.value.fields


def test_a_key_is_sealed_for_the_origins_of_the_service(events: list[Event]) -> None:
    service = create(key=KEY, urls=["https://one.example", "https://two.example"])
    service.refresh_from_db()
    opened = service.open_secret()
    assert opened is not None
    assert opened.reveal(origin="https://one.example:443") == opened.reveal(origin="https://two.example:443") == KEY
    with pytest.raises(SecretMisdirected):
        opened.reveal(origin="https://three.example:443")
    assert service.secret_last4 == "6789"
    assert KEY not in str([event.detail for event in events])


def test_a_service_that_moves_needs_its_key_again(events: list[Event]) -> None:
    service = create(key=KEY)
    with pytest.raises(InvalidInput) as error:
        services.update(service_id=service.pk, actor=SYSTEM, urls=["https://thief.example"])
    assert error.value.code == "key_for_another_origin"
    service.refresh_from_db()
    assert service.urls == ["https://api.vendor.example"]
    services.update(service_id=service.pk, actor=SYSTEM, urls=["https://api.vendor.example/other"])
    moved = services.update(service_id=service.pk, actor=SYSTEM, urls=["https://new.example"], key=f"{KEY}-2")
    opened = moved.open_secret()
    assert opened is not None
    assert opened.reveal(origin="https://new.example:443") == f"{KEY}-2"
    bare = services.update(service_id=service.pk, actor=SYSTEM, urls=["https://third.example"], key="")
    assert (bare.secret, bare.secret_last4, bare.secret_fingerprint) == (None, "", "")


def test_a_service_without_urls_keeps_its_key_for_the_usual_ones() -> None:
    service = create(urls=[], key=KEY)
    opened = service.open_secret()
    assert opened is not None
    assert opened.origin == "https://api.openai.com:443"
    with pytest.raises(InvalidInput):
        services.update(service_id=service.pk, actor=SYSTEM, type="anthropic")


def test_a_key_goes_to_one_plain_http_server_at_most() -> None:
    with pytest.raises(InvalidInput, match="one http"):
        create(key=KEY, urls=["http://one.example", "http://two.example"])


def test_what_does_not_change_is_no_event(events: list[Event]) -> None:
    service = create()
    events.clear()
    services.update(service_id=service.pk, actor=SYSTEM, description="")
    services.disable(service_id=service.pk, actor=SYSTEM)
    services.set_default(service_id=None, actor=SYSTEM)
    services.approve_networks(service_id=service.pk, networks=[], actor=SYSTEM)
    assert events == []
    services.update(service_id=service.pk, actor=SYSTEM, description="new", short_timeout_s=9)
    assert [(event.action, event.detail["changed"]) for event in events] == [
        ("service.updated", ["description", "short_timeout_s"])
    ]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1", "http://10.1.2.3", "http://[::1]:2"])
def test_private_addresses_take_an_approved_network(url: str) -> None:
    service = create(type="ollama", urls=[url])
    with pytest.raises(InvalidInput) as error:
        services.enable(service_id=service.pk, actor=SYSTEM)
    assert error.value.code == "network_not_approved"
    assert "approve" in error.value.hint
    networks = ["127.0.0.0/8", "10.0.0.0/8", "::1/128"]
    services.approve_networks(service_id=service.pk, networks=networks, actor=SYSTEM)
    assert services.enable(service_id=service.pk, actor=SYSTEM).is_enabled
    with pytest.raises(InvalidInput):
        services.approve_networks(service_id=service.pk, networks=[], actor=SYSTEM)
    with pytest.raises(InvalidInput):
        services.update(service_id=service.pk, actor=SYSTEM, urls=["http://192.168.3.4"])
    service.refresh_from_db()
    assert service.urls == [url]


def test_the_installations_own_networks_count_too(settings: Any) -> None:
    settings.ALLOWED_NETWORKS = LOOPBACK
    service = create(type="ollama", urls=["http://127.0.0.1:1"])
    assert services.enable(service_id=service.pk, actor=SYSTEM).is_enabled


def test_a_wrong_network_is_refused() -> None:
    service = create()
    for wrong in (["10.0.0.1/8"], ["everywhere"], "10.0.0.0/8"):
        with pytest.raises(InvalidInput):
            services.approve_networks(service_id=service.pk, networks=wrong, actor=SYSTEM)


def test_enabling_makes_it_due_and_disabling_forgets_its_health(events: list[Event]) -> None:
    service = make_service("https://api.vendor.example", health=Health.UP, failures=3, is_enabled=True)
    services.disable(service_id=service.pk, actor=SYSTEM)
    service.refresh_from_db()
    assert (service.is_enabled, service.health, service.failures) == (False, "unknown", 0)
    services.enable(service_id=service.pk, actor=SYSTEM)
    assert [one.pk for one in LLMService.objects.due(service.created_at)] == [service.pk]
    services.delete(service_id=service.pk, actor=SYSTEM)
    assert [event.action for event in events] == ["service.disabled", "service.enabled", "service.deleted"]
    with pytest.raises(NotFound):
        services.enable(service_id=service.pk, actor=SYSTEM)


def test_who_may_call_it(people: People, events: list[Event]) -> None:
    service = make_service("https://api.vendor.example")

    def allowed() -> list[bool]:
        of = (people.tenant.pk, people.elsewhere.pk)
        return [LLMService.objects.for_tenant(tenant_id).exists() for tenant_id in of]

    assert allowed() == [True, True]
    services.set_audience(service_id=service.pk, audience="some", tenant_ids=[people.tenant.pk], actor=SYSTEM)
    assert allowed() == [True, False]
    services.set_audience(service_id=service.pk, audience="none", actor=SYSTEM)
    assert allowed() == [False, False]
    assert ServiceTenant.objects.count() == 1, "who was chosen is remembered"
    services.set_audience(service_id=service.pk, audience="some", actor=SYSTEM)
    assert allowed() == [True, False]
    services.set_audience(service_id=service.pk, audience="some", tenant_ids=[], actor=SYSTEM)
    assert allowed() == [False, False]
    with pytest.raises(InvalidInput):
        services.set_audience(service_id=service.pk, audience="everybody", actor=SYSTEM)
    assert {event.action for event in events} == {"service.audience_changed"}


def test_one_service_is_the_default() -> None:
    first, second = make_service(), make_service()
    services.set_default(service_id=first.pk, actor=SYSTEM)
    services.set_default(service_id=second.pk, actor=SYSTEM)
    services.set_default(service_id=second.pk, actor=SYSTEM)
    assert list(LLMService.objects.filter(is_default=True)) == [second]
    services.set_default(service_id=None, actor=SYSTEM)
    assert not LLMService.objects.filter(is_default=True).exists()


def test_defaults_of_calls_are_one_row() -> None:
    assert CallDefaults.current().temperature is None
    services.set_call_defaults(temperature=0.7, max_tokens=4096, actor=SYSTEM)
    services.set_call_defaults(temperature=0.5, max_tokens=None, actor=SYSTEM)
    defaults = CallDefaults.objects.get()
    assert (defaults.temperature, defaults.max_tokens) == (0.5, None)
    for wrong in ({"temperature": 3.0, "max_tokens": 1}, {"temperature": None, "max_tokens": 0}):
        with pytest.raises(InvalidInput):
            services.set_call_defaults(**wrong, actor=SYSTEM)
