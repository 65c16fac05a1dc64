"""`manage.py rotate_secrets` as an operator runs it: real processes, real environments, and a kill -9."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.live.stack import ROOT, Stack

pytestmark = pytest.mark.once

MAKE = """
import json
from core.secrets import seal
from providers.models import LLMFactory
from tenants.models import Credential, Tenant
tenant = Tenant.objects.create(name="T")
factory = LLMFactory.objects.create(name="Acme", base_url="https://api.example.com")
rows = [Credential(tenant=tenant, factory=factory, label=str(n)) for n in range({count})]
for n, row in enumerate(rows):
    row.secret = seal(f"key number {{n}}", owner=row.owner, origin="https://api.example.com:443")
Credential.objects.bulk_create(rows)
print(json.dumps([row.pk for row in rows]))
"""
READ = """
import json
from core.secrets import SecretError
from tenants.models import Credential

def text(row):
    try:
        return row.open_secret().reveal(origin="https://api.example.com:443")
    except SecretError as error:
        return error.code
print(json.dumps({row.label: text(row) for row in Credential.objects.all()}))
"""


@pytest.fixture
def place(new_stack: Callable[..., Stack]) -> Stack:
    env = {"JOB_HEARTBEAT_S": "0.3", "JOB_LEASE_S": "1.5", "LOG_LEVEL": "WARNING"}
    return new_stack(env=env, prepared_by="migrate")


def keys(place: Stack, *names: str) -> None:
    place.env["FIELD_ENCRYPTION_KEY"], place.env["SECRET_KEY"] = ",".join(names), "v7Rk2mWq9TzB4nXc8LpDs5HgJf3YaEu6"


def shell(place: Stack, code: str) -> Any:
    return json.loads(place.manage("shell", "-v0", "-c", code).splitlines()[-1])


def fails(place: Stack, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=place.env, capture_output=True, text=True
    )
    assert done.returncode != 0
    return done.stderr


def test_killed_in_the_middle_it_goes_on_and_then_the_old_key_can_go(place: Stack) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    count = 3000
    keys(place, old)
    made = shell(place, MAKE.format(count=count))
    keys(place, new, old)
    assert f"0 under the primary key, {count} would be rotated" in place.manage("rotate_secrets", "--dry-run")

    command = [sys.executable, "-u", "manage.py", "rotate_secrets"]
    process = subprocess.Popen(command, cwd=ROOT, env=place.env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if f"of {count} rows" in line:
            break
    process.kill()
    process.wait()
    process.stderr.close()
    left = place.manage("rotate_secrets", "--dry-run")
    assert f" {count} would be" not in left
    assert " 0 would be" not in left, "it was over before it was killed"

    output = place.manage("rotate_secrets")
    assert f"{count} under the primary key, 0 still need an older key, 0 unreadable" in output
    jobs = shell(
        place,
        "import json; from jobs.models import Job;"
        "print(json.dumps(list(Job.objects.values_list('state', 'attempts', 'result__rotated'))))",
    )
    assert jobs == [["completed", 2, count]]

    keys(place, new)
    assert shell(place, READ) == {str(n): f"key number {n}" for n in range(count)}
    assert len(made) == count


def test_rows_that_no_key_reads_are_named_and_the_rest_is_rotated(place: Stack) -> None:
    lost, old, new = (Fernet.generate_key().decode() for _ in range(3))
    keys(place, lost)
    (pk,) = shell(place, MAKE.format(count=1))
    keys(place, old)
    shell(place, MAKE.replace("Acme", "Other").replace("str(n)", "str(n + 1)").format(count=3))
    keys(place, new, old)
    output = place.manage("rotate_secrets")
    assert f"No key decrypts tenants.credential.secret:{pk}." in output
    assert "3 under the primary key, 0 still need an older key, 1 unreadable" in output
    keys(place, new)
    assert shell(place, READ) == {
        "0": "secret_unreadable",
        "1": "key number 0",
        "2": "key number 1",
        "3": "key number 2",
    }


def test_keys_in_the_data_directory_are_added_rotated_and_retired(place: Stack) -> None:
    file = Path(place.data_dir) / "keys.json"
    shell(place, MAKE.format(count=3))
    (old,) = json.loads(file.read_text())["field_encryption_keys"]
    place.manage("rotate_secrets", "--new-key")
    fresh, *others = json.loads(file.read_text())["field_encryption_keys"]
    assert others == [old]
    assert fresh != old
    assert file.stat().st_mode & 0o777 == 0o600
    assert "3 rows still need an older key" in fails(place, "rotate_secrets", "--retire-old-keys")
    assert json.loads(file.read_text())["field_encryption_keys"] == [fresh, old]
    assert "The older keys are not needed any more" in place.manage("rotate_secrets")
    assert "1 old keys are forgotten" in place.manage("rotate_secrets", "--retire-old-keys")
    assert json.loads(file.read_text())["field_encryption_keys"] == [fresh]
    assert shell(place, READ) == {str(n): f"key number {n}" for n in range(3)}
    assert sorted(path.name for path in file.parent.glob("*keys*")) == ["keys.json"]


@pytest.mark.parametrize("option", ["--new-key", "--retire-old-keys"])
def test_keys_in_the_environment_are_not_the_commands_to_change(new_stack: Callable[..., Stack], option: str) -> None:
    without_tables = new_stack()
    keys(without_tables, Fernet.generate_key().decode())
    assert "FIELD_ENCRYPTION_KEY" in fails(without_tables, "rotate_secrets", option)
