"""Calls go on, and the books balance, while the processes around them are killed, paused and taken away.

CHAOS_ROUNDS says how often the web processes are killed, three times unless set; CHAOS_AWAY_S for how long the database
is away, five seconds unless set.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import backend
from tests.fakes.upstream import KEY, FakeUpstream
from tests.live.postgres_server import IS_THERE, PostgresServer
from tests.live.processes import until
from tests.live.stack import Stack
from tests.live.test_breaking import break_database
from tests.live.test_main_job import COMPATIBLE, add
from tests.usage.redis_server import BINARY, RedisServer

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "3"))
AWAY_S = float(os.environ.get("CHAOS_AWAY_S", "5"))
MODEL = f"fake-chat___OpenAI-API@{COMPATIBLE}"
TOKENS, COST = 10, "0.000012"  # of each call to the fake model, at the price that PREPARE sets
ANSWERS_WITHIN_S = 30.0
PREPARE = """
from core.audit import SYSTEM
from providers.models import LLM, LLMFactory
from tenants.models import Tenant, TenantLLM
from usage.services import limits
factory = LLMFactory.objects.get(name="OpenAI-API-Compatible")
priced = LLM.objects.create(factory=factory, llm_name="fake-chat___OpenAI-API", model_types=["chat"], input_price=1,
                            output_price=2, price_source="operator")
TenantLLM.objects.update(llm=priced)
limits.create(tenant=Tenant.objects.get(), actor=SYSTEM, requests_per_minute=1000000, parallel=1000)
"""
BOOKS = """
import json
from usage.models import UsageRecord
def cost(one): return "none" if one.cost is None else f"{one.cost.normalize():f}"
print(json.dumps([[one.request_id, one.outcome, (one.input_tokens or 0) + (one.output_tokens or 0), cost(one)]
                  for one in UsageRecord.objects.all()]))
"""


class Load:
    """Callers that ask one thing after another, whole and streamed by turns, and note what they got in full."""

    def __init__(self, stack: Stack, *, callers: int = 4) -> None:
        self.full: set[str] = set()
        self.asked: set[str] = set()
        self.answers: Counter[int] = Counter()  # by status; 0 where the connection broke
        self.slowest_s = 0.0
        self._port, self._token = stack.port, stack.token
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(ANSWERS_WITHIN_S * 2)
        assert not any(thread.is_alive() for thread in self._threads), "a request hangs"

    def goes_on(self, calls: int = 20) -> None:
        """Wait until so many more calls were answered in full."""
        wanted = len(self.full) + calls
        until(lambda: len(self.full) >= wanted, within_s=60)

    def goes_on_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.goes_on()

    def _run(self) -> None:
        stream = False
        while not self._stopped.is_set():
            stream = not stream
            name, began = uuid.uuid4().hex, time.monotonic()
            self.asked.add(name)
            try:
                status, whole = self._ask(name, stream)
            except (OSError, http.client.HTTPException):
                status, whole = 0, False
                time.sleep(0.05)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.answers[status] += 1
            if whole:
                self.full.add(name)

    def _ask(self, name: str, stream: bool) -> tuple[int, bool]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWERS_WITHIN_S)
        try:
            body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
            headers = {"Authorization": f"Bearer {self._token}", "X-Request-Id": name}
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            said = answer.read()
            whole = said.endswith(b"data: [DONE]\n\n") if stream else said.endswith(b"}")
            return answer.status, answer.status == 200 and whole
        finally:
            connection.close()


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def place(fake: FakeUpstream) -> Iterator[Stack]:
    stack = started(fake)
    yield stack
    stack.close()


def started(upstream: FakeUpstream, **env: str) -> Stack:
    """An installation whose tenant has a priced model at the fake upstream, and a limit that is never reached."""
    everywhere = {"ALLOWED_NETWORKS": "127.0.0.0/8", "WEB_WORKERS": "2"}
    stack = Stack(env={**everywhere, **env}, prepared_by="bootstrap").start()
    assert add(stack, "fake-chat", "chat", upstream.url, KEY)["retcode"] == 0
    stack.manage("shell", "-v0", "-c", PREPARE)
    time.sleep(2)  # the time in which every worker is to have seen it
    return stack


def books(stack: Stack) -> list[list[Any]]:
    return list(json.loads(stack.manage("shell", "-v0", "-c", BOOKS).strip().splitlines()[-1]))


def balanced(stack: Stack, load: Load) -> None:
    """Every answer that came in full is in the books exactly once, with its tokens and its price; sums are right."""
    assert load.full
    rows = until(lambda: (found := books(stack)) and load.full <= {row[0] for row in found} and found, within_s=90)
    times = Counter(row[0] for row in rows)
    assert set(times.values()) == {1}
    mine = [row for row in rows if row[0] in load.asked]
    assert {(*row[1:],) for row in mine if row[0] in load.full} == {("complete", TOKENS, COST)}
    assert ": 0 differences" in stack.manage("usage_check")


def test_what_was_answered_is_booked_once_however_often_workers_are_killed(place: Stack) -> None:
    stack = place
    with Load(stack) as load:
        for number in range(ROUNDS):
            load.goes_on()
            name = f"web {1 + number % 2}"
            old = stack.pids()[name]
            os.kill(old, signal.SIGKILL)
            until(lambda name=name, old=old: stack.pids()[name] != old)
        load.goes_on()
    assert set(load.answers) <= {0, 200}, load.answers
    balanced(stack, load)


@contextmanager
def database_away(stack: Stack) -> Iterator[None]:
    """Nobody can write: the file is locked by somebody else, or the server takes no connections."""
    if backend.chosen() == backend.SERVERS:
        give_back = break_database(stack)
        try:
            yield
        finally:
            give_back()
        return
    other = sqlite3.connect(stack.data_dir / "db.sqlite3", timeout=30, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def test_calls_go_on_and_are_booked_later_while_the_database_is_away(place: Stack) -> None:
    stack = place
    with Load(stack) as load:
        load.goes_on()
        with database_away(stack):
            load.goes_on_for(AWAY_S)
        load.goes_on()
    assert set(load.answers) == {200}, load.answers
    balanced(stack, load)


@contextmanager
def survived(fake: FakeUpstream, server: PostgresServer | RedisServer, setting: str) -> Iterator[Load]:
    """Load on an installation with a server of its own: what is done to the server fails, delays or loses no call."""
    server.start()
    stack = None
    try:
        stack = started(fake, **{setting: server.url})
        with Load(stack) as load:
            load.goes_on()
            yield load
            load.goes_on()
        assert set(load.answers) == {200}, load.answers
        assert load.slowest_s < ANSWERS_WITHIN_S
        balanced(stack, load)
    finally:
        if stack is not None:
            stack.close()
        server.stop()


@pytest.mark.skipif(not IS_THERE, reason="PostgreSQL's server is not installed")
def test_calls_go_on_and_are_booked_later_while_postgresql_is_stopped(fake: FakeUpstream) -> None:
    server = PostgresServer()
    with survived(fake, server, "DATABASE_URL") as load:
        server.stop()
        load.goes_on_for(AWAY_S)
        server.start()


@pytest.mark.skipif(BINARY is None, reason="redis-server is not installed")
def test_calls_go_on_while_redis_is_paused_killed_and_back(fake: FakeUpstream) -> None:
    redis = RedisServer()
    with survived(fake, redis, "REDIS_URL") as load:
        redis.pause()
        load.goes_on(100)
        redis.resume()
        load.goes_on()
        redis.stop()
        load.goes_on(100)
        redis.start()
