"""The installation's own keys: made once in DATA_DIR, readable by its owner alone."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

FILE_NAME = "keys.json"


@dataclass(frozen=True, slots=True)
class Keys:
    secret_key: str
    field_encryption_keys: list[str]


def private_directory(path: Path) -> Path:
    """`path`, made with mode 0700 if it is not there; ImproperlyConfigured if nothing can be kept in it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"DATA_DIR: the folder {path} cannot be made: {error.strerror}.") from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ImproperlyConfigured(f"DATA_DIR: nothing can be written to the folder {path}.")
    return path


def write_private(path: Path, content: str) -> bool:
    """Create a file of mode 0600 whole or not at all; False if it is there already, which is then left as it is."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def load_or_create(data_dir: Path) -> Keys:
    """The keys of `data_dir`; fresh ones on its first use, even if several processes start at once."""
    path = private_directory(data_dir) / FILE_NAME
    if not path.exists():
        write_private(path, _as_text(secrets.token_urlsafe(48), [Fernet.generate_key().decode()]))
    return _read(path)


def add_field_key(data_dir: Path) -> int:
    """Put a fresh encryption key in front of those of `data_dir`; answers how many there are then."""
    with _locked(data_dir):
        keys = _read(data_dir / FILE_NAME)
        return _replace(data_dir, keys, [Fernet.generate_key().decode(), *keys.field_encryption_keys])


def retire_field_keys(data_dir: Path) -> int:
    """Forget all encryption keys but the first; answers how many went. What only they decrypt is lost."""
    with _locked(data_dir):
        keys = _read(data_dir / FILE_NAME)
        return len(keys.field_encryption_keys) - _replace(data_dir, keys, keys.field_encryption_keys[:1])


def _read(path: Path) -> Keys:
    try:
        stored = json.loads(path.read_text())
        secret_key, field_keys = stored["secret_key"], stored["field_encryption_keys"]
        if not isinstance(secret_key, str) or not isinstance(field_keys, list) or not secret_key or not field_keys:
            raise ValueError
        for key in field_keys:
            Fernet(key)
    except OSError as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):  # what they say may quote the file
        raise ImproperlyConfigured(
            f"{path} is damaged: restore it from a backup. Without it no stored key can be read."
        ) from None
    return Keys(secret_key, field_keys)


def _replace(data_dir: Path, keys: Keys, field_keys: list[str]) -> int:
    """Swap the file for one with these encryption keys: whoever reads it meanwhile sees the old one or the new one."""
    fresh = data_dir / f"{FILE_NAME}.new"
    fresh.unlink(missing_ok=True)  # left by a process that died here
    write_private(fresh, _as_text(keys.secret_key, field_keys))
    os.replace(fresh, data_dir / FILE_NAME)
    folder = os.open(data_dir, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return len(field_keys)


def _as_text(secret_key: str, field_keys: list[str]) -> str:
    return json.dumps({"secret_key": secret_key, "field_encryption_keys": field_keys}, indent=2) + "\n"


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """One writer at a time; the lock goes with the process that holds it."""
    folder = os.open(data_dir, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
