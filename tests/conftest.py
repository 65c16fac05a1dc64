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
