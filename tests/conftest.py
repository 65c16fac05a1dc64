"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.cache import cache
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as properties

from tests import backend, flush
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
    """Files that start processes come first, so that none is left to one process at the end.

    What no backend changes is left out once a run has done it on another one.
    """
    long = {item.path for item in items if not STARTS_PROCESSES.isdisjoint(getattr(item, "fixturenames", ()))}
    items.sort(key=lambda item: item.path not in long)
    if not os.environ.get(backend.ONCE_ALREADY):
        return
    kept = [item for item in items if not _knows_no_backend(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


STARTS_PROCESSES = {"new_stack", "stack", "place", "breakable", "webs", "door"}


def _knows_no_backend(item: pytest.Item) -> bool:
    """Whether it is marked so, or is a test of the lower rooms that touches no database."""
    if item.get_closest_marker("once") or item.get_closest_marker("browser"):
        return True
    fixtures = set(getattr(item, "fixturenames", ()))
    touches = {"db", "transactional_db", "new_stack"} & fixtures or item.get_closest_marker("django_db")
    return not touches and not {"core", "providers", "runtimes"}.isdisjoint(item.path.parts)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The database is emptied quickly between tests, and dropped at the end, whoever may still be connected to it."""
    with django_db_blocker.unblock():
        flush.install()
    yield
    if backend.chosen() == backend.EMBEDDED:
        return
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


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
