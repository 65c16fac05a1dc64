"""A start that cannot succeed ends at once, with one clear message and no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.stack import ROOT, free_port

pytestmark = pytest.mark.once


def start(tmp_path: Path, **env: str) -> str:
    """What `manage.py run` says before it gives up."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    kept |= {"DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port())}
    done = subprocess.run(
        [sys.executable, "manage.py", "run"],
        cwd=ROOT,
        env={**kept, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("ALLOWED_NETWORKS", "nonsense"),
        ("DATABASE_URL", "mysql://root@localhost/llm"),
        ("DATABASE_URL", "postgresql://postgres@127.0.0.1:5432"),
        ("REDIS_URL", "localhost:6379"),
        ("API_THROTTLE", "often"),
        ("PUBLIC_URL", "llm.example"),
        ("SECRET_KEY_FILE", "/no/such/file"),
        ("DATA_DIR", "/dev/null"),
        ("DATA_DIR", "/dev/null/data"),
    ],
)
def test_a_malformed_setting_is_told_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    said = start(tmp_path, **{name: value})
    assert said.startswith(f"Settings: {name}")
    assert len(said.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    code = (
        "import os, sys; from pathlib import Path; from core import keys\n"
        "os.geteuid() or os.setuid(65534)  # permissions do not hold root back\n"
        "keys.private_directory(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True)
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("django.core.exceptions.ImproperlyConfigured: DATA_DIR: ")
    assert str(folder) in last


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert start(tmp_path, PORT=port).startswith(f"CommandError: Port {port} on 127.0.0.1 is in use.")


def test_servers_that_do_not_answer_are_named_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    said = start(tmp_path, DATABASE_URL=f"postgresql://me:pass-word@127.0.0.1:{free_port()}/llm")
    assert said.startswith("CommandError: The database does not answer: ")
    assert "pass-word" not in said
    assert start(tmp_path, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0").startswith(
        "CommandError: The broker does not answer"
    )
    assert not list((tmp_path / "data").glob("db.sqlite3"))  # nothing is begun that cannot be ended
    assert time.monotonic() - began < 25  # the connection pool would take 30 s to give up
