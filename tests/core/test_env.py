"""Settings come from the environment: typed, refused with a clear message, and never quoting a secret."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from core import env
from tests import backend
from tests.live.stack import ROOT

PASSWORD = "Zq8vJ3mN5tR7wY1b"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("X", "X_FILE"):
        monkeypatch.delenv(name, raising=False)


def given_value(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("X", value)


@pytest.mark.parametrize("value", ["", "   "])
def test_nothing_set_means_the_default(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert env.integer("X", 5) == 5
    given_value(monkeypatch, value)
    assert env.integer("X", 5) == 5
    assert env.flag("X", True) is True
    assert env.seconds("X", 1.5) == 1.5
    assert env.items("X", ["a"]) == ["a"]
    assert env.networks("X") == []
    assert env.choice("X", "a", ["a", "b"]) == "a"
    assert env.database("X", {"ENGINE": "d"}) == {"ENGINE": "d"}


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("TRUE", True), ("yes", True), ("off", False), ("0", False)]
)
def test_flags(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    given_value(monkeypatch, value)
    assert env.flag("X", not expected) is expected


def test_lists_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    given_value(monkeypatch, " a , b,,c ")
    assert env.items("X") == ["a", "b", "c"]
    given_value(monkeypatch, "127.0.0.0/8, ::1")
    assert env.networks("X") == ["127.0.0.0/8", "::1/128"]


def test_a_pair_is_set_together(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.pair("X", "X_OTHER") == ("", "")
    given_value(monkeypatch, "a")
    with pytest.raises(ImproperlyConfigured, match="X_OTHER"):
        env.pair("X", "X_OTHER")
    monkeypatch.setenv("X_OTHER", "b")
    assert env.pair("X", "X_OTHER") == ("a", "b")


def test_choices_are_found_whatever_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    given_value(monkeypatch, "debug")
    assert env.choice("X", "INFO", ["DEBUG", "INFO"]) == "DEBUG"


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda: env.flag("X", True), "maybe"),
        (lambda: env.integer("X", 1), "1.5"),
        (lambda: env.integer("X", 1), "NaN"),
        (lambda: env.integer("X", 1, at_least=1), "0"),
        (lambda: env.integer("X", 1, at_most=9), "10"),
        (lambda: env.seconds("X", 1), "nan"),
        (lambda: env.seconds("X", 1), "inf"),
        (lambda: env.seconds("X", 1), "-1"),
        (lambda: env.choice("X", "a", ["a", "b"]), "c"),
        (lambda: env.networks("X"), "10.0.0.1/8"),
        (lambda: env.networks("X"), "everywhere"),
        (lambda: env.database("X", {}), "mysql://root@localhost/x"),
        (lambda: env.database("X", {}), "nonsense"),
        (lambda: env.database("X", {}), "postgresql://me@db.example:5432"),
        (lambda: env.rate("X", ""), "abc"),
        (lambda: env.rate("X", ""), "0/min"),
        (lambda: env.rate("X", ""), "5/fortnight"),
        (lambda: env.url("X", "", schemes=["redis"]), "nonsense"),
        (lambda: env.url("X", "", schemes=["redis"]), "http://db.example"),
        (lambda: env.url("X", "", schemes=["redis"]), "redis:///0"),
        (lambda: env.url("X", "", schemes=["redis"]), "redis://db.example:port/0"),
    ],
)
def test_a_malformed_value_names_itself(monkeypatch: pytest.MonkeyPatch, read: Any, value: str) -> None:
    given_value(monkeypatch, value)
    with pytest.raises(ImproperlyConfigured, match=r"^X must be "):
        read()


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_no_value_breaks_a_reader_otherwise(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("X", value)
        readers: list[Any] = [
            lambda: env.flag("X", True),
            lambda: env.integer("X", 1),
            lambda: env.seconds("X", 1),
            lambda: env.networks("X"),
            lambda: env.database("X", {}),
            lambda: env.items("X"),
            lambda: env.rate("X", ""),
            lambda: env.url("X", "", schemes=["https"]),
        ]
        for read in readers:
            try:
                read()
            except ImproperlyConfigured as error:
                assert str(error).startswith("X must be")


@pytest.mark.parametrize(
    "url",
    [f"mysql://root:{PASSWORD}@db/x", f"postgresql://u:{PASSWORD}@[::1/x", f"postgresql://u:{PASSWORD}@db:port/x"],
)
def test_a_database_url_is_never_quoted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    given_value(monkeypatch, url)
    with pytest.raises(ImproperlyConfigured) as raised:
        env.database("X", {})
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


def test_an_address_is_never_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    given_value(monkeypatch, f"redis://:{PASSWORD}@db.example:port/0")
    with pytest.raises(ImproperlyConfigured) as raised:
        env.url("X", "", schemes=["redis", "rediss"])
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


def test_names_are_bound_to_places(monkeypatch: pytest.MonkeyPatch) -> None:
    given_value(monkeypatch, " A_KEY = https://A.example/, B_*=http://[::1]:8000,C ,")
    assert env.bindings("X") == [("A_KEY", "https://a.example:443"), ("B_*", "http://[::1]:8000"), ("C", "")]
    given_value(monkeypatch, " ")
    assert env.bindings("X") == []


@pytest.mark.parametrize(
    "value",
    [
        *(
            f"A={PASSWORD}",
            f"{PASSWORD}-x",
            f"A=https://u:{PASSWORD}@a.example",
            f"A=ftp://{PASSWORD}",
            "A=",
            "=https://a",
        ),
        *(f"A=https://a.example/{PASSWORD}", f"A=https://a.example:{PASSWORD}", "A=https://a.example:99999", "A B"),
    ],
)
def test_a_name_without_a_good_place_is_refused_and_never_quoted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    given_value(monkeypatch, value)
    with pytest.raises(ImproperlyConfigured, match="X must be names of variables") as raised:
        env.bindings("X")
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


def test_rates_and_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in ("60/min", "1/s", "1000/day"):
        given_value(monkeypatch, rate)
        assert env.rate("X", "") == rate
    given_value(monkeypatch, "rediss://:p%40ss@[::1]:6380/2")
    assert env.url("X", "", schemes=["redis", "rediss"]) == "rediss://:p%40ss@[::1]:6380/2"


def test_database_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    given_value(monkeypatch, "postgresql://user:p%40ss@db.example.com:6432/llm")
    config = env.database("X", {})
    assert (config["USER"], config["PASSWORD"], config["HOST"], config["PORT"], config["NAME"]) == (
        "user",
        "p@ss",
        "db.example.com",
        6432,
        "llm",
    )
    given_value(monkeypatch, "sqlite:////data/x.sqlite3")
    assert env.database("X", {})["NAME"] == "/data/x.sqlite3"


def test_a_value_may_come_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("X_FILE", str(file))
    given_value(monkeypatch, "ignored")
    assert env.text("X") == PASSWORD


def test_a_file_that_cannot_be_read_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("X_FILE", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match=r"X_FILE=.*missing: No such file"):
        env.text("X")


def test_a_file_of_raw_bytes_is_refused_without_showing_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(PASSWORD.encode() + b"\xff\xfe")
    monkeypatch.setenv("X_FILE", str(file))
    with pytest.raises(ImproperlyConfigured) as raised:
        env.text("X")
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "change",
    [
        {"PORT": "http"},
        {"DATABASE_URL": f"mysql://root:{PASSWORD}@db/x"},
        {"FIELD_ENCRYPTION_KEY": PASSWORD, "SECRET_KEY": PASSWORD},
        {"WEB_WORKERS": "0"},
        {"ASSUME_ROLE_SECRET_ACCESS_KEY": PASSWORD},
        {"ALLOWED_NETWORKS": "everywhere"},
    ],
)
def test_a_malformed_setting_stops_the_start_and_shows_no_secret(change: dict[str, str]) -> None:
    environment = {"PATH": "/usr/bin:/bin", "DATA_DIR": str(backend.fresh_folder("env")), **change}
    command = [sys.executable, "manage.py", "check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert next(iter(change)) in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
