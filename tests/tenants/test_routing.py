"""Every write that changes how a call is routed is announced in its own transaction; others are not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction

from core.audit import SYSTEM
from core.clock import now
from providers.models import INVALID, LLM, LLMFactory
from providers.services import curation
from tenants.models import Credential, Membership, Role, Route, RoutingChange, Tenant, TenantLLM
from tenants.models.routing import EVERYBODY
from tenants.services import credentials, routes, routing, tenant_llms, tokens
from tenants.services.route_plans import RoutePlan, TargetPlan
from tests.gateway.conftest import World
from tests.people import actor_of, make_member


def announced(work: Callable[[], object]) -> set[str]:
    """For which tenants a piece of work announces changes."""
    RoutingChange.objects.all().delete()
    work()
    return set(RoutingChange.objects.values_list("tenant_id", flat=True))


def owner_of(world: World) -> User:
    return User.objects.get(memberships__tenant=world.tenant, memberships__role=Role.OWNER)


def set_and_save(row: Credential | TenantLLM | Tenant | LLMFactory, column: str, value: object) -> None:
    setattr(row, column, value)
    row.save(update_fields=[column])


@pytest.mark.parametrize(
    "work",
    [
        lambda w, a: tokens.revoke(w.tenant.api_tokens.get(), actor=a),
        lambda w, a: tokens.create(tenant=w.tenant, name="t", scopes=["read"], actor=a),
        lambda w, a: tenant_llms.set_status([w.model], status=INVALID, actor=a),
        lambda w, a: tenant_llms.delete([w.model], actor=a),
        lambda w, a: tenant_llms.update(w.model, status=INVALID, actor=a),
        lambda w, a: tenant_llms.add(credential=w.credential, llm_name="n", model_types=["chat"], actor=a),
        lambda w, a: credentials.update(w.credential, status=INVALID, actor=a),
        lambda w, a: credentials.delete(w.credential, actor=a),
        lambda w, a: set_and_save(w.credential, "state", "quarantined"),
        lambda w, a: set_and_save(w.tenant, "status", INVALID),
        lambda w, a: Membership.objects.get().delete(),
        lambda w, a: owner_of(w).delete(),
        lambda w, a: owner_of(w).save(),
        lambda w, a: w.tenant.delete(),
    ],
)
def test_what_changes_a_tenants_routing_is_announced(world: World, work: Callable[..., object]) -> None:
    actor, tenant_id = actor_of(owner_of(world)), world.tenant.pk
    assert announced(lambda: work(world, actor)) == {tenant_id}


@pytest.mark.parametrize(
    "work",
    [
        lambda route, a: routes.update(route, name="faster", actor=a),
        lambda route, a: routes.update(route, targets=[TargetPlan(route.targets.get().tenant_llm_id, 2)], actor=a),
        lambda route, a: routes.set_status([route], status=INVALID, actor=a),
        lambda route, a: routes.delete(route, actor=a),
        lambda route, a: route.save(),
        lambda route, a: route.targets.get().save(),
        lambda route, a: route.targets.get().delete(),
        lambda route, a: route.targets.all().delete(),
    ],
)
def test_what_changes_a_route_is_announced(world: World, work: Callable[..., object]) -> None:
    actor = actor_of(owner_of(world))
    plan = RoutePlan("fast", "chat", [TargetPlan(world.model.pk)])
    assert announced(lambda: routes.create(tenant=world.tenant, plan=plan, actor=actor)) == {world.tenant.pk}
    assert announced(lambda: work(Route.objects.get(), actor)) == {world.tenant.pk}


@pytest.mark.parametrize(
    "work",
    [
        lambda w: set_and_save(w.factory, "status", INVALID),
        lambda w: curation.set_status([w.factory], status=INVALID, actor=SYSTEM),
        lambda w: LLM.objects.create(factory=w.factory, llm_name="n", model_types=["chat"]),
        lambda w: owner_of(w).groups.add(Group.objects.get(name="curator")),
    ],
)
def test_what_concerns_every_tenant_is_announced_to_all(world: World, work: Callable[[World], object]) -> None:
    assert announced(lambda: work(world)) == {EVERYBODY}


def test_counters_and_times_of_use_announce_nothing(world: World) -> None:
    def work() -> None:
        set_and_save(world.model, "used_tokens", 5)
        set_and_save(world.credential, "checked_at", now())
        tokens.authenticate(world.token)
        owner = owner_of(world)
        owner.last_login = now()
        owner.save(update_fields=["last_login"])

    assert announced(work) == set()


def test_a_change_that_is_rolled_back_was_never_announced(world: World) -> None:
    def work() -> None:
        with transaction.atomic():
            set_and_save(world.model, "status", INVALID)
            transaction.set_rollback(True)

    assert announced(work) == set()


def test_many_changes_in_one_transaction_are_announced_once(world: World) -> None:
    with transaction.atomic():
        announced(lambda: [set_and_save(world.model, "status", INVALID) for _ in range(5)])
    assert RoutingChange.objects.count() == 1


def test_a_savepoint_that_is_rolled_back_takes_its_announcement_along(world: World) -> None:
    def work() -> None:
        with transaction.atomic():
            with transaction.atomic():
                routing.bump(world.tenant.pk)
                transaction.set_rollback(True)
            routing.bump(world.tenant.pk)

    assert announced(work) == {world.tenant.pk}
    assert RoutingChange.objects.count() == 1


def test_the_process_itself_hears_of_a_change_when_it_is_committed(world: World) -> None:
    heard: list[str] = []

    def hear(tenant_id: str, **_: object) -> None:
        heard.append(tenant_id)

    routing.committed.connect(hear)
    try:
        with transaction.atomic():
            routing.bump(world.tenant.pk)
            assert heard == []
        assert heard == [world.tenant.pk]
    finally:
        routing.committed.disconnect(hear)


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer at a time")
def test_a_change_committed_late_is_seen_although_a_later_one_came_first(world: World) -> None:
    inserted, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            routing.bump(world.tenant.pk)
            inserted.set()
            go_on.wait(10)
        connection.close()

    writer = threading.Thread(target=slow)
    writer.start()
    assert inserted.wait(10)
    routing.bump(world.tenant.pk)  # does not wait for the slow one
    first = RoutingChange.objects.all().stamps([world.tenant.pk])
    go_on.set()
    writer.join()
    assert RoutingChange.objects.all().stamps([world.tenant.pk]) != first


def test_old_changes_are_pruned(world: World) -> None:
    routing.bump(world.tenant.pk)
    RoutingChange.objects.update(created_at=now() - timedelta(hours=2))
    routing.bump(world.tenant.pk)
    assert routing.prune() >= 1
    assert RoutingChange.objects.count() == 1


def test_a_new_member_of_the_tenant_is_announced(world: World) -> None:
    assert announced(lambda: make_member(world.tenant)) == {world.tenant.pk}
