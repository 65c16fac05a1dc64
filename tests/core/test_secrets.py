"""A secret opens only on its own row, shows itself only to its own origin, and is seen nowhere else."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import sys
import traceback
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.views.debug import ExceptionReporter
from hypothesis import given
from hypothesis import strategies as st

from core import secrets
from core.secrets import (
    OpenSecret,
    Owner,
    SealedSecret,
    SecretMisdirected,
    SecretMisplaced,
    SecretUnreadable,
    derive_key,
    fingerprint,
    is_current,
    is_readable,
    is_token,
    last4,
    primary_key_id,
    rotate,
    seal,
    unseal,
)

TEXT = "sk-Zq8vJ3mN5tR7wY1bD4gH6kL9"
ORIGIN = "https://api.example.com:443"
OWNER = Owner("tenant", "row", "credential")


def sealed() -> SealedSecret:
    return seal(TEXT, owner=OWNER, origin=ORIGIN)


def opened() -> OpenSecret:
    return unseal(sealed(), owner=OWNER)


def test_its_own_row_and_origin_get_it_back() -> None:
    assert opened().reveal(origin=ORIGIN) == TEXT


@given(text=st.text(max_size=300))
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert unseal(seal(text, owner=OWNER, origin=ORIGIN), owner=OWNER).reveal(origin=ORIGIN) == text


@pytest.mark.parametrize("text", ["", "half a pair \ud800", "nul \0", "x" * 16_384])
def test_odd_texts_come_back_too(text: str) -> None:
    assert unseal(seal(text, owner=OWNER, origin=ORIGIN), owner=OWNER).reveal(origin=ORIGIN) == text
    assert len(fingerprint(text)) == 16


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert sealed() != sealed()


@pytest.mark.parametrize(
    "owner",
    [Owner("other", "row", "credential"), Owner("tenant", "other", "credential"), Owner("tenant", "row", "other")],
)
def test_another_row_tenant_or_purpose_cannot_open_it(owner: Owner) -> None:
    with pytest.raises(SecretMisplaced):
        unseal(sealed(), owner=owner)


@pytest.mark.parametrize(
    "origin",
    [
        "https://api.example.com:8443",
        "http://api.example.com:443",
        "https://evil.example.com:443",
        "https://api.example.com.evil.com:443",
        "",
    ],
)
def test_another_origin_does_not_get_it(origin: str) -> None:
    with pytest.raises(SecretMisdirected) as raised:
        opened().reveal(origin=origin)
    assert TEXT not in f"{raised.value} {raised.value.hint}"


def test_a_secret_without_an_origin_is_sent_nowhere() -> None:
    nowhere = unseal(seal(TEXT, owner=OWNER, origin=""), owner=OWNER)
    with pytest.raises(SecretMisdirected):
        nowhere.reveal(origin="")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "plain",
        TEXT,
        "gAAAA" + "x" * 120,
        "ünïcode",
        pytest.param(Fernet(Fernet.generate_key()).encrypt(b"{}").decode(), id="of another key"),
    ],
)
def test_what_no_key_decrypts_is_unreadable_and_never_an_answer(token: str) -> None:
    with pytest.raises(SecretUnreadable) as raised:
        unseal(SealedSecret(token), owner=OWNER)
    assert raised.value.__cause__ is None
    assert not is_readable(SealedSecret(token))
    assert not is_current(SealedSecret(token))
    with pytest.raises(SecretUnreadable):
        rotate(SealedSecret(token))


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"t":"tenant","r":"row","p":"credential","o":"o","s":"s"}',
        b'{"v":2,"t":"tenant","r":"row","p":"credential","o":"o","s":"s"}',
    ],
)
def test_what_decrypts_but_is_no_envelope_is_unreadable(content: bytes) -> None:
    token = secrets.ciphers()[0].encrypt(content).decode()
    with pytest.raises(SecretUnreadable):
        unseal(SealedSecret(token), owner=OWNER)


def test_one_flipped_bit_makes_it_unreadable() -> None:
    token = sealed().token
    for index in (10, 60, len(token) - 10):
        changed = token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]
        with pytest.raises(SecretUnreadable):
            unseal(SealedSecret(changed), owner=OWNER)


def test_the_wrong_key_raises_and_does_not_answer_with_the_ciphertext(settings: Any) -> None:
    mine = sealed()
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    with pytest.raises(SecretUnreadable):
        unseal(mine, owner=OWNER)


def test_older_keys_still_open_and_rotation_moves_to_the_first(settings: Any) -> None:
    old = sealed()
    new_key = Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEY = [new_key, *settings.FIELD_ENCRYPTION_KEY]
    assert not is_current(old)
    assert is_readable(old)
    moved = rotate(old)
    assert is_current(moved)
    settings.FIELD_ENCRYPTION_KEY = new_key  # a single key may be given bare
    assert unseal(moved, owner=OWNER).reveal(origin=ORIGIN) == TEXT
    with pytest.raises(SecretUnreadable):
        unseal(old, owner=OWNER)


def test_rotation_keeps_owner_and_origin(settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode(), *settings.FIELD_ENCRYPTION_KEY]
    moved = rotate(sealed())
    with pytest.raises(SecretMisplaced):
        unseal(moved, owner=Owner("other", "row", "credential"))
    assert unseal(moved, owner=OWNER).origin == ORIGIN


# --- It is seen nowhere ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, lambda secret: f"{secret!r:>40}", ascii])
@pytest.mark.parametrize("make", [opened, sealed])
def test_no_way_of_printing_shows_it(make: Any, show: Any) -> None:
    secret = make()
    shown = show(secret)
    assert TEXT not in shown
    if isinstance(secret, SealedSecret):
        assert secret.token not in shown


@pytest.mark.parametrize(
    "work", [pickle.dumps, copy.copy, copy.deepcopy, lambda s: pickle.dumps({"a": [s]}, protocol=0)]
)
def test_an_open_secret_is_never_pickled_or_copied(work: Any) -> None:
    with pytest.raises(TypeError, match="pass the row's id"):
        work(opened())


def test_an_open_secret_is_not_json_and_has_no_dictionary() -> None:
    with pytest.raises(TypeError):
        json.dumps(opened())
    with pytest.raises(TypeError):
        vars(opened())
    assert TEXT not in json.dumps({"secret": opened()}, default=str)


def test_a_dataclass_around_it_does_not_show_it() -> None:
    @dataclasses.dataclass
    class Holder:
        secret: OpenSecret

    holder = Holder(opened())
    assert TEXT not in repr(holder)
    with pytest.raises(TypeError):
        dataclasses.asdict(holder)


def fail_with_locals() -> None:
    secret, ciphertext = opened(), sealed()
    raise RuntimeError(f"failed with {secret} and {ciphertext}")


def test_a_traceback_with_locals_does_not_show_it() -> None:
    try:
        fail_with_locals()
    except RuntimeError as error:
        lines = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert TEXT not in "".join(lines.format())
        page = ExceptionReporter(None, *sys.exc_info()).get_traceback_html()
        assert TEXT not in page


def test_djangos_error_page_does_not_show_what_a_refusal_was_about(settings: Any) -> None:
    settings.DEBUG = True
    try:
        opened().reveal(origin="https://evil.example.com:443")
    except SecretMisdirected:
        assert TEXT not in ExceptionReporter(None, *sys.exc_info()).get_traceback_html()


def test_the_report_of_a_failed_sealing_does_not_show_it(settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEY = ["not a key"]
    with pytest.raises(ValueError, match="Fernet key") as raised:
        seal(TEXT, owner=OWNER, origin=ORIGIN)
    frames = ExceptionReporter(None, raised.type, raised.value, raised.tb).get_traceback_frames()
    ours = [frame["vars"] for frame in frames if frame["function"] == "seal"]
    assert ours
    assert TEXT not in str(ours)


def test_a_sealed_secret_may_travel() -> None:
    mine = sealed()
    assert pickle.loads(pickle.dumps(mine)) == mine  # noqa: S301
    assert copy.deepcopy(mine) == mine
    assert hash(copy.copy(mine)) == hash(mine)
    assert mine != mine.token


# --- What it is told by ---------------------------------------------------------------------------------------------


def test_a_fingerprint_tells_equal_secrets_and_depends_on_the_installation(settings: Any) -> None:
    mine = fingerprint(TEXT)
    assert mine == fingerprint(TEXT)
    assert mine != fingerprint(TEXT + "x")
    settings.SECRET_KEY = "another installation's key, long enough"
    assert fingerprint(TEXT) != mine


def test_no_derived_key_serves_two_purposes(settings: Any) -> None:
    assert derive_key("a") != derive_key("b")
    assert len(derive_key("a")) == 32
    assert settings.SECRET_KEY.encode() not in derive_key("a")


@pytest.mark.parametrize(
    ("text", "expected"), [("", ""), ("short", ""), ("eleven char", ""), ("twelve chars", "hars"), (TEXT, "6kL9")]
)
def test_the_last_four_characters_of_a_short_secret_are_not_told(text: str, expected: str) -> None:
    assert last4(text) == expected


def test_the_primary_key_has_a_name_that_says_nothing_about_it(settings: Any) -> None:
    name = primary_key_id()
    assert name not in settings.FIELD_ENCRYPTION_KEY[0]
    settings.FIELD_ENCRYPTION_KEY = [*settings.FIELD_ENCRYPTION_KEY, Fernet.generate_key().decode()]
    assert primary_key_id() == name
    settings.FIELD_ENCRYPTION_KEY = settings.FIELD_ENCRYPTION_KEY[0].encode()
    assert primary_key_id() == name


def test_the_form_of_a_ciphertext_is_recognised() -> None:
    assert is_token(sealed().token)
    assert not is_token(TEXT)
    assert not is_token("gAAAA")


def test_a_secret_may_be_sealed_for_further_origins_of_its_vendor() -> None:
    also = ["https://rerank.example.com:443", "http://plain.example.com:80"]
    found = unseal(rotate(seal(TEXT, owner=OWNER, origin=ORIGIN, also=also)), owner=OWNER)
    assert found.reveal(origin=ORIGIN) == TEXT
    assert found.reveal(origin="https://rerank.example.com:443") == TEXT
    for origin in ("http://plain.example.com:80", "https://elsewhere.example.com:443", ""):
        with pytest.raises(SecretMisdirected):
            found.reveal(origin=origin)


def test_without_an_origin_further_ones_do_not_count() -> None:
    nowhere = unseal(seal(TEXT, owner=OWNER, origin="", also=["https://a.example:443"]), owner=OWNER)
    with pytest.raises(SecretMisdirected):
        nowhere.reveal(origin="https://a.example:443")


@pytest.mark.parametrize("also", ["https://a.example:443", [1], {"https://a.example:443": 1}])
def test_an_envelope_with_malformed_origins_is_unreadable(also: Any) -> None:
    envelope = {"v": 1, "t": "tenant", "r": "row", "p": "credential", "o": ORIGIN, "a": also, "s": TEXT}
    token = secrets.ciphers()[0].encrypt(json.dumps(envelope).encode()).decode()
    with pytest.raises(SecretUnreadable):
        unseal(SealedSecret(token), owner=OWNER)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sk-0123456789abcdef", "cdef"),
        ("short", ""),
        ('{"id":"AKID0123456789","key":"secret-0123456789"}', "6789"),
        ('{"id":"AKID0123456789","key":"abcd"}', ""),
        ('{"nested":{"a":"b"}}', ""),
        ("{not json at all}", "all}"),
    ],
)
def test_the_last_characters_shown_are_those_of_a_secret_that_is_long_enough(text: str, shown: str) -> None:
    assert secrets.last4(text) == shown
