"""`manage.py run`, from the first start to the end."""

from __future__ import annotations

import json
import signal
import socket
import stat
from collections.abc import Callable

import pytest

from tests.live.processes import family, gone, until
from tests.live.stack import Stack, fetch

pytestmark = pytest.mark.once

MakeStack = Callable[..., Stack]


def test_a_started_installation_is_alive_and_ready(stack: Stack) -> None:
    assert stack.get("/healthz") == (200, {"status": "ok"})
    status, body = stack.get("/readyz")
    assert (status, body["status"]) == (200, "ready")
    assert {name: part["ok"] for name, part in body["parts"].items()} == {
        "database": True,
        "broker": True,
        "worker": True,
        "snapshot": True,
        "spool": True,
        "limits": True,
    }


def test_the_logins_are_shown_once_and_written_down_privately(stack: Stack) -> None:
    file = stack.data_dir / "first-run.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(stack.data_dir.stat().st_mode) == 0o700
    assert set(stack.first_run) == {"url", "admin_user", "admin_password", "tenant_id", "api_token"}
    assert stack.first_run["url"] == stack.url
    assert stack.log().count(stack.admin.password) == 1
    assert stack.log().count(stack.token) == 1


def test_a_second_start_prepares_and_changes_nothing(new_stack: MakeStack) -> None:
    stack = new_stack().start()
    count = (
        "from django.apps import apps; import json;"
        "print(json.dumps({m._meta.label: m.objects.count() for m in apps.get_models()"
        " if m._meta.app_label in {'providers', 'tenants', 'auth'}}, sort_keys=True))"
    )
    pids = [pid for one in stack.pids().values() for pid in family(one)]
    assert stack.stop(signal.SIGINT) == 0
    assert gone(pids)
    assert fetch(f"{stack.url}/healthz")[0] == 0
    rows, logins = stack.manage("shell", "-v", "0", "-c", count), stack.first_run
    stack.log_file.write_text("")

    stack.launch()
    until(lambda: fetch(f"{stack.url}/healthz")[0] == 200)
    assert fetch(f"{stack.url}/readyz")[0] == 200, "ready by the time it is first reached"
    assert not any(word in stack.log() for word in ("Preparing", "Catalogue", "Services"))
    assert stack.manage("shell", "-v", "0", "-c", count) == rows
    assert json.loads(rows)["providers.LLM"] > 1000
    assert stack.first_run == logins
    assert logins["admin_password"] not in stack.log()

    told = stack.process
    pids = [pid for one in stack.pids().values() for pid in family(one)]
    assert told is not None
    told.kill()
    assert gone(pids), "no orphan survives a supervisor that is killed"


def test_a_port_in_use_is_said_clearly(new_stack: MakeStack) -> None:
    stack = new_stack()
    with socket.socket() as other:
        other.bind(("127.0.0.1", stack.port))
        other.listen()
        assert stack.launch().wait(30) != 0
    assert f"Port {stack.port} on 127.0.0.1 is in use" in stack.log()
    assert "Traceback" not in stack.log()


def test_one_folder_is_not_run_twice(stack: Stack, new_stack: MakeStack) -> None:
    second = new_stack(data_dir=stack.data_dir)
    assert second.launch().wait(30) != 0
    assert "running already" in second.log()
