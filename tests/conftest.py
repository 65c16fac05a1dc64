"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.conf import settings as configured
from django.core.cache import cache
from hypothesis import HealthCheck
from hypothesis import settings as properties

from tests import backend
from tests.people import People, make_people

# How long an example takes says how busy the machine is. What CI tries is the same each time; people try something new.
properties.register_profile(
    "llmadmin", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
properties.load_profile("llmadmin")

pytest_plugins = ["tests.fakes.plugin", "tests.live.fixtures", "tests.llamacpp.fixtures", "tests.aimock"]


def pytest_report_header() -> str:
    return f"backend: {backend.NAMES[backend.chosen()]}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The provider layer's pure tests know no backend: once a run has done them, its next backend leaves them out."""
    if not os.environ.get(backend.PURE_ALREADY):
        return
    kept = [item for item in items if not _is_pure(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def _is_pure(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    touches = {"db", "transactional_db", "new_stack"} & fixtures or item.get_closest_marker("django_db")
    return "providers" in item.path.parts and not touches


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    """No test is throttled or locked out by what another one did."""
    yield
    if backend.chosen() == backend.EMBEDDED:
        cache.clear()
        return
    client = cache._cache.get_client()  # clear() would empty the whole Redis database, which is not ours
    keys = list(client.scan_iter(f"{configured.CACHES['default']['KEY_PREFIX']}:*"))
    if keys:
        client.delete(*keys)


@pytest.fixture
def people(db: None) -> People:
    """One tenant with owner, admin and member, and an outsider who owns another one."""
    return make_people()


@pytest.fixture
def jobs_run_at_once(transactional_db: None) -> Iterator[None]:
    """Jobs are done in the test's own process at the commit that enqueued them, as a worker would do them."""
    from celery import current_app

    import jobs.tasks  # noqa: F401  (an eager task must be known here)

    current_app.conf.task_always_eager = True
    yield
    current_app.conf.task_always_eager = False


@pytest.fixture
def loopback_allowed(settings: pytest.FixtureRequest) -> None:
    """Calls may reach upstreams on this machine."""
    settings.ALLOWED_NETWORKS = ["127.0.0.0/8", "::1/128"]
