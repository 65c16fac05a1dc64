"""What a gateway process remembers is bounded, shared between callers, and dropped when it is no longer true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.audit import SYSTEM
from core.clock import now
from gateway import store as store_module
from gateway.snapshot import load
from gateway.store import SnapshotStore
from providers.models import INVALID, LLMFactory
from tenants.models import ApiToken, Tenant, TenantLLM
from tenants.services import routing, tenant_llms, tokens
from tests.gateway.conftest import World, make_credential, make_model
from tests.people import make_tenant, make_token, make_user


def run(work: Callable[[SnapshotStore], Awaitable[None]], **options: float) -> None:
    async def main() -> None:
        store = SnapshotStore(**options)  # type: ignore[arg-type]
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(main())


async def models(store: SnapshotStore, token: str) -> list[str] | None:
    found = await store.find(tokens.digest(token))
    return None if found is None else list(found[1].models)


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float) -> float:
    """How long it took for the condition to hold."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < within_s, f"not within {within_s} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


def elsewhere(work: Callable[[], object]) -> Awaitable[object]:
    """Do it in another thread, on a connection of its own."""

    def call() -> object:
        try:
            return work()
        finally:
            connection.close()

    return asyncio.to_thread(call)


def silently(work: Callable[[], object]) -> Callable[[], object]:
    """As if another process did it: this one is not told, and has to find out."""

    def call() -> object:
        receivers, routing.committed.receivers = routing.committed.receivers, []
        try:
            return work()
        finally:
            routing.committed.receivers = receivers

    return call


@pytest.mark.parametrize("told", [True, False], ids=["in this process", "in another process"])
@pytest.mark.parametrize(
    "change",
    [
        lambda w: tokens.revoke(w.tenant.api_tokens.get(), actor=SYSTEM),
        lambda w: tenant_llms.set_status([w.model], status=INVALID, actor=SYSTEM),
        lambda w: _disable(w.factory),
        lambda w: _disable(w.tenant),
        lambda w: User.objects.get().delete(),
    ],
    ids=["token", "model", "factory", "tenant", "person"],
)
def test_a_change_is_seen_within_two_seconds(world: World, change: Callable[[World], object], told: bool) -> None:
    async def work(store: SnapshotStore) -> None:
        assert await models(store, world.token) == ["acme-large@Acme"]

        async def gone() -> bool:
            return not await models(store, world.token)

        assert not await gone()
        made = (lambda: change(world)) if told else silently(lambda: change(world))
        await elsewhere(made)
        await until(gone, within_s=2)

    run(work)


def _disable(row: Tenant | LLMFactory) -> None:
    row.status = INVALID
    row.save()


def test_a_new_token_works_at_once(world: World) -> None:
    async def work(store: SnapshotStore) -> None:
        await models(store, world.token)
        token = await elsewhere(silently(lambda: make_token(world.tenant, user=User.objects.get())))
        assert await models(store, str(token)) == ["acme-large@Acme"]

    run(work, poll_s=3600)


def test_a_token_expires_by_itself(world: World) -> None:
    ApiToken.objects.update(expires_at=now() + timedelta(seconds=1))

    async def work(store: SnapshotStore) -> None:
        assert await models(store, world.token) is not None

        async def refused() -> bool:
            return await models(store, world.token) is None

        await until(refused, within_s=2)

    run(work, poll_s=3600)


def test_many_callers_at_once_take_one_picture(world: World) -> None:
    async def work(store: SnapshotStore) -> None:
        found = await asyncio.gather(*(store.find(tokens.digest(world.token)) for _ in range(50)))
        assert len({id(pair[1]) for pair in found if pair}) == 1

    run(work)


def test_no_query_is_made_for_what_is_known(world: World) -> None:
    async def work(store: SnapshotStore) -> None:
        await models(store, world.token)
        threads = store._load_threads
        threads.shutdown()  # whoever needs the database now fails
        for _ in range(10):
            assert await models(store, world.token) == ["acme-large@Acme"]

    run(work, poll_s=3600)


def test_only_so_many_tenants_are_remembered(world: World) -> None:
    made = []
    for number in range(5):
        person = make_user()
        tenant = make_tenant(owner=person)
        make_model(make_credential(tenant, world.factory), f"model-{number}")
        made.append((make_token(tenant, user=person), [f"model-{number}@Acme"]))

    async def work(store: SnapshotStore) -> None:
        for _ in range(2):
            for token, expected in made:
                assert await models(store, token) == expected
                assert len(store) <= 2

    run(work, max_tenants=2)


def test_what_is_remembered_serves_on_while_the_database_is_away(world: World) -> None:
    async def work(store: SnapshotStore) -> None:
        assert await models(store, world.token) is not None
        store._poll_thread.shutdown()  # every poll fails from here on
        await asyncio.sleep(0.3)
        assert await models(store, world.token) == ["acme-large@Acme"]
        assert store.age_s > 0.2

    run(work, poll_s=0.05)


def test_the_age_is_that_of_the_last_look_at_the_database(world: World) -> None:
    assert store_module.age_s() is None

    async def work(store: SnapshotStore) -> None:
        await store.start()
        await asyncio.sleep(0.3)
        age = store_module.age_s()
        assert age is not None and age < 0.25

    run(work, poll_s=0.05)
    assert store_module.age_s() is None


def test_use_of_a_token_is_recorded(world: World) -> None:
    async def work(store: SnapshotStore) -> None:
        await models(store, world.token)

    run(work)
    assert ApiToken.objects.get().last_used_at is not None


def test_an_unknown_token_leaves_nothing_behind(world: World) -> None:
    async def work(store: SnapshotStore) -> None:
        for number in range(50):
            assert await store.find(tokens.digest(f"lla_{number}")) is None
        assert len(store) == 0
        assert not store._tenant_of

    run(work)


def test_a_picture_of_many_models_costs_no_more_queries(world: World) -> None:
    with CaptureQueriesContext(connection) as few:
        load(world.tenant.pk)
    TenantLLM.objects.bulk_create(
        TenantLLM(
            tenant=world.tenant,
            credential=world.credential,
            factory=world.factory,
            llm_name=f"m{number}",
            model_types=["chat"],
        )
        for number in range(200)
    )
    with CaptureQueriesContext(connection) as many:
        assert len(load(world.tenant.pk).models) == 201
    assert len(many) == len(few)
