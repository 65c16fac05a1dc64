"""Settings come from the environment, and a bad one stops the start and names itself."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.stack import ROOT

pytestmark = pytest.mark.once


def read(tmp_path: Path, *names: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The named settings of a fresh process, as JSON on its standard output."""
    code = (
        "import json; from llmadmin import settings as s;"
        f"print(json.dumps({{n: getattr(s, n) for n in {list(names)!r}}}, default=str))"
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**kept, "DATA_DIR": str(tmp_path / "data"), **env},
        capture_output=True,
        text=True,
    )


def test_nothing_set_means_one_machine_and_no_servers(tmp_path: Path) -> None:
    done = read(tmp_path, "HOST", "PORT", "DEBUG", "CELERY_BROKER_URL", "DATABASES", "ALLOWED_NETWORKS")
    found = json.loads(done.stdout)
    assert (found["HOST"], found["PORT"], found["DEBUG"]) == ("127.0.0.1", 8000, False)
    assert found["CELERY_BROKER_URL"].startswith("filesystem://")
    assert found["DATABASES"]["default"]["ENGINE"].endswith("sqlite3")
    assert found["ALLOWED_NETWORKS"] == []
    keys = tmp_path / "data" / "keys.json"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.parent.stat().st_mode) == 0o700


def test_the_keys_are_made_once(tmp_path: Path) -> None:
    first = json.loads(read(tmp_path, "SECRET_KEY", "FIELD_ENCRYPTION_KEY").stdout)
    assert json.loads(read(tmp_path, "SECRET_KEY", "FIELD_ENCRYPTION_KEY").stdout) == first
    assert json.loads(read(tmp_path / "other", "SECRET_KEY").stdout)["SECRET_KEY"] != first["SECRET_KEY"]


def test_servers_are_used_when_they_are_named(tmp_path: Path) -> None:
    done = read(
        tmp_path,
        "DATABASES",
        "CELERY_BROKER_URL",
        DATABASE_URL="postgresql://me:pw@db.example:5433/llm",
        REDIS_URL="redis://cache.example:6380/2",
    )
    found = json.loads(done.stdout)
    database = found["DATABASES"]["default"]
    assert (database["HOST"], str(database["PORT"]), database["NAME"]) == ("db.example", "5433", "llm")
    assert found["CELERY_BROKER_URL"] == "redis://cache.example:6380/2"


def test_installations_that_share_a_redis_share_no_key(tmp_path: Path) -> None:
    shared = {"REDIS_URL": "redis://cache.example:6380/2"}
    done = read(tmp_path, "CACHES", "CELERY_BROKER_TRANSPORT_OPTIONS", **shared, REDIS_PREFIX="ours:")
    found = json.loads(done.stdout)
    assert found["CACHES"]["default"]["KEY_PREFIX"].startswith("ours:")
    assert found["CELERY_BROKER_TRANSPORT_OPTIONS"]["global_keyprefix"] == "ours:"


def test_a_value_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("8123\n")
    assert json.loads(read(tmp_path, "PORT", PORT_FILE=str(tmp_path / "port")).stdout)["PORT"] == 8123


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("WEB_WORKERS", "0"),
        ("DEBUG", "perhaps"),
        ("PROBE_WAIT", "nan"),
        ("ALLOWED_NETWORKS", "127.0.0.1/8"),
        ("DATABASE_URL", "mysql://root@localhost/llm"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_malformed_value_stops_the_start_and_names_itself(tmp_path: Path, name: str, value: str) -> None:
    done = read(tmp_path, "PORT", **{name: value})
    assert done.returncode != 0
    *_, last = done.stderr.strip().splitlines()
    assert "ImproperlyConfigured" in last
    assert name in last


def test_a_database_url_is_not_shown_when_it_is_wrong(tmp_path: Path) -> None:
    done = read(tmp_path, "PORT", DATABASE_URL="oracle://me:my-password@db/llm")
    assert "my-password" not in done.stderr
