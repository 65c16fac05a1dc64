"""Web processes and those that carry their records: whichever of them ends in whatever way, the books balance."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.upstream import KEY, FakeUpstream
from tests.live.processes import alive, end_with_the_tests, family, gone, until
from tests.live.stack import ROOT, Stack, fetch, free_port
from tests.live.test_chaos import books, database_away
from usage.carrier import LOCK, TITLE

pytestmark = pytest.mark.once

ENDS_WITHIN_S = 15.0  # 2 s by its own bound; the rest is for a machine that is busy
SEED = """
from django.contrib.auth.models import User
from core.audit import SYSTEM, Actor
from providers.models import LLMFactory
from tenants.models import Membership, Tenant
from tenants.services import credentials, tenant_llms, tokens

user = User.objects.create(username="owner")
tenant = Tenant.objects.create(name="T")
Membership.objects.create(tenant=tenant, user=user, role="owner")
factory = LLMFactory.objects.create(name="Acme", quirks={{"version_path": "/v1"}})
credential = credentials.create(tenant=tenant, factory=factory, base_url={url!r}, values={{"api_key": {key!r}}},
                                actor=SYSTEM)
tenant_llms.add(credential=credential, llm_name="fake-chat", model_types=["chat"], actor=SYSTEM)
print(tokens.create(tenant=tenant, name="t", scopes=["invoke"], actor=Actor(user_id=user.pk))[1])
"""


class Web:
    """One web process that nobody supervises, with the carrier that it forked."""

    def __init__(self, place: Stack, token: str) -> None:
        self.port, self.place, self._token = free_port(), place, token
        with place.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "llmadmin.web"],
                cwd=ROOT,
                env={**place.env, "PORT": str(self.port)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_the_tests,
            )
        until(lambda: fetch(f"http://127.0.0.1:{self.port}/healthz")[0] == 200, within_s=60)
        [self.carrier] = carriers(self.process.pid)

    def calls(self, count: int) -> set[str]:
        """Made one after the other; their names, each answered in full."""
        names = {uuid.uuid4().hex for _ in range(count)}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = json.dumps({"model": "fake-chat@Acme", "messages": [{"role": "user", "content": "Hello"}]})
        for name in names:
            headers = {"Authorization": f"Bearer {self._token}", "X-Request-Id": name}
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 200, said
        connection.close()
        return names

    def waiting(self) -> str:
        """What it says about its records."""
        return json.loads(fetch(f"http://127.0.0.1:{self.port}/readyz")[1])["parts"]["spool"]["detail"]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def carriers(pid: int) -> list[int]:
    return [one for one in family(pid)[1:] if Path(f"/proc/{one}/comm").read_text().strip() == TITLE]


def left(place: Stack) -> list[Path]:
    return list((place.data_dir / "usage").glob("*.spool"))


def booked(place: Stack, names: set[str]) -> None:
    """Each of these calls exactly once, and no others."""
    rows = until(lambda: len(found := books(place)) >= len(names) and found, within_s=60)
    assert sorted(row[0] for row in rows) == sorted(names)
    assert ": 0 differences" in place.manage("usage_check")


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as made:
        yield made


@pytest.fixture
def place(new_stack: Callable[..., Stack]) -> Stack:
    made = new_stack(env={"ALLOWED_NETWORKS": "127.0.0.0/8", "LOG_LEVEL": "INFO"}, prepared_by="migrate")
    return made


@pytest.fixture
def webs(place: Stack, upstream: FakeUpstream) -> Iterator[Callable[[], Web]]:
    token = place.manage("shell", "-v0", "-c", SEED.format(url=upstream.url, key=KEY)).split()[-1]
    made: list[Web] = []

    def start() -> Web:
        made.append(Web(place, token))
        return made[-1]

    yield start
    for web in made:
        web.end()


def test_a_killed_carrier_is_missed_by_nobody_and_leaves_no_zombie(place: Stack, webs: Callable[[], Web]) -> None:
    web = webs()
    names = web.calls(20)
    os.kill(web.carrier, signal.SIGKILL)
    names |= web.calls(20)
    booked(place, names)
    until(lambda: family(web.process.pid) == [web.process.pid])  # a zombie would be among them
    assert "usage.carrier_ended" in place.log()
    names |= web.calls(5)
    booked(place, names)
    until(lambda: web.waiting() == "nothing waits")


def test_beside_a_carrier_that_is_stopped_its_web_process_carries(place: Stack, webs: Callable[[], Web]) -> None:
    web = webs()
    names = web.calls(20)
    os.kill(web.carrier, signal.SIGSTOP)
    until(lambda: Path(f"/proc/{web.carrier}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    names |= web.calls(20)
    lock = place.data_dir / "usage" / LOCK
    os.utime(lock, (0, 0))  # as if it had been stopped for long
    booked(place, names)
    until(lambda: web.waiting() == "nothing waits")
    assert "usage.carrier_hangs" in place.log()
    os.kill(web.carrier, signal.SIGCONT)
    until(lambda: lock.stat().st_mtime > 0)
    names |= web.calls(20)
    booked(place, names)
    until(lambda: web.waiting() == "nothing waits")


def test_a_killed_web_process_leaves_its_records_booked_and_no_orphan(place: Stack, webs: Callable[[], Web]) -> None:
    web = webs()
    names = web.calls(40)
    web.process.kill()
    web.process.wait()
    assert gone([web.carrier], within_s=ENDS_WITHIN_S)
    assert left(place) == []
    booked(place, names)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_ends_the_group_ends_both_when_all_is_booked(
    place: Stack, webs: Callable[[], Web], number: signal.Signals
) -> None:
    web = webs()
    names = web.calls(40)
    os.killpg(web.process.pid, number)
    web.process.wait(20)
    assert gone([web.carrier], within_s=ENDS_WITHIN_S)
    assert left(place) == []
    booked(place, names)
    assert "usage.carrier_ended" not in place.log(), "the carrier outlived what it carries for"


def test_processes_share_a_spool_and_stand_by_for_each_other(place: Stack, webs: Callable[[], Web]) -> None:
    first, second = webs(), webs()
    names = first.calls(20) | second.calls(20)
    os.kill(first.carrier, signal.SIGKILL)  # it came first, so that it is the one that carries
    names |= first.calls(20) | second.calls(20)
    booked(place, names)
    assert alive(second.carrier)
    second.process.kill()
    second.process.wait()
    names |= first.calls(20)
    booked(place, names)


def test_a_backlog_grows_while_the_database_is_away_and_is_delivered_later(
    place: Stack, webs: Callable[[], Web]
) -> None:
    web = webs()
    names = web.calls(5)
    booked(place, names)
    time.sleep(2)  # by now the snapshot of models and tokens has been taken
    with database_away(place):
        names |= web.calls(20)
        until(lambda: "bytes wait" in web.waiting())
        time.sleep(2)
        assert "bytes wait" in web.waiting()
        assert len(left(place)) <= 3, "files grow instead of their number"
    booked(place, names)
    until(lambda: web.waiting() == "nothing waits")


def test_a_carrier_ends_with_its_parent_though_the_database_is_away(place: Stack, webs: Callable[[], Web]) -> None:
    web = webs()
    names = web.calls(5)
    with database_away(place):
        names |= web.calls(20)
        web.process.kill()
        web.process.wait()
        assert gone([web.carrier], within_s=ENDS_WITHIN_S)
        later = webs()
        until(lambda: "bytes wait" in later.waiting())
    until(lambda: later.waiting() == "nothing waits")
    booked(place, names)


def test_the_carriers_of_an_installation_do_not_hold_its_door_and_end_with_it(
    new_stack: Callable[..., Stack],
) -> None:
    stack = new_stack(env={"WEB_WORKERS": "2"}, prepared_by="bootstrap").start()
    both = ("web 1", "web 2")  # one of them is enough for the installation to be ready
    found = until(lambda: len(ones := [pid for name in both for pid in carriers(stack.pids()[name])]) == 2 and ones)
    door = listening(stack.port)
    for name in both:
        assert door in sockets(stack.pids()[name])
    for pid in found:
        assert door not in sockets(pid)
    assert stack.stop() == 0
    assert gone(found)
    assert left(stack) == []


def listening(port: int) -> str:
    """The name of the socket that listens there, as /proc has it."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if parts[3] == "0A" and int(parts[1].partition(":")[2], 16) == port:
            return f"socket:[{parts[9]}]"
    raise AssertionError("nobody listens")


def sockets(pid: int) -> set[str]:
    folder = Path(f"/proc/{pid}/fd")
    return {os.readlink(one) for one in folder.iterdir()}
