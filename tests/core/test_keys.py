"""The installation's keys are made once, belong to their owner alone, and are never half-written."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from core import keys


def stored(folder: Path) -> dict[str, object]:
    return json.loads((folder / "keys.json").read_text())


def test_the_first_start_makes_keys_that_only_the_owner_reads(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    made = keys.load_or_create(folder)
    assert len(made.secret_key) >= 50
    assert Fernet(made.field_encryption_keys[0])
    assert (folder / "keys.json").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_second_start_finds_them_again(tmp_path: Path) -> None:
    assert keys.load_or_create(tmp_path) == keys.load_or_create(tmp_path)


def _make(folder: str) -> str:
    return keys.load_or_create(Path(folder)).secret_key


def test_many_first_starts_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(_make, [str(tmp_path)] * 12))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"secret_key": "s", "field_encryption_keys": []}',
        '{"secret_key": "", "field_encryption_keys": ["k"]}',
        '{"secret_key": "s", "field_encryption_keys": "abc"}',
        '{"secret_key": "s", "field_encryption_keys": ["not-a-key-but-secret"]}',
        '{"secret_key": "s", "field_encryption_keys": [5]}',
    ],
)
def test_a_damaged_file_is_neither_used_nor_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    with pytest.raises(ImproperlyConfigured, match="restore it from a backup") as raised:
        keys.load_or_create(tmp_path)
    assert raised.value.__suppress_context__
    assert file.read_text() == content


def test_a_new_key_comes_first_and_the_others_stay(tmp_path: Path) -> None:
    before = keys.load_or_create(tmp_path)
    assert keys.add_field_key(tmp_path) == 2
    after = keys.load_or_create(tmp_path)
    assert after.secret_key == before.secret_key
    assert after.field_encryption_keys[1:] == before.field_encryption_keys
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_retiring_keeps_the_first(tmp_path: Path) -> None:
    keys.load_or_create(tmp_path)
    keys.add_field_key(tmp_path)
    first = keys.load_or_create(tmp_path).field_encryption_keys[0]
    assert keys.retire_field_keys(tmp_path) == 1
    assert stored(tmp_path)["field_encryption_keys"] == [first]
    assert keys.retire_field_keys(tmp_path) == 0


def _add(folder: str) -> int:
    return keys.add_field_key(Path(folder))


def test_keys_added_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    keys.load_or_create(tmp_path)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert sorted(pool.map(_add, [str(tmp_path)] * 8)) == list(range(2, 10))
    assert len(set(keys.load_or_create(tmp_path).field_encryption_keys)) == 9


def test_what_a_process_left_that_died_in_the_middle_is_no_obstacle(tmp_path: Path) -> None:
    keys.load_or_create(tmp_path)
    (tmp_path / "keys.json.new").write_text("half")
    assert keys.add_field_key(tmp_path) == 2


def test_a_private_file_is_created_once(tmp_path: Path) -> None:
    file = tmp_path / "x"
    assert keys.write_private(file, "one") is True
    assert keys.write_private(file, "two") is False
    assert file.read_text() == "one"
