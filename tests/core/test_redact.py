"""Keys are taken out of texts."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.redact import MASK, redact

KEYS = [
    "sk-proj-4f9aB-cdEFgh_1234567890",
    "sk-ant-api03-abcdefghijklmnop",
    "AIzaSyA-1234567890abcdefghijklmnopqrstu",
    "gsk_abcdefghijklmnop1234",
    "hf_abcdefghijklmnopqrstuv",
    "nvapi-abcdefghijkl-mnop",
    "xai-abcdefghijklmnop1234",
    "AKIAIOSFODNN7EXAMPLE",
    "LTAI5tAbCdEfGhIjKlMnOp",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
]


@pytest.mark.parametrize("key", KEYS)
def test_what_looks_like_a_vendors_key_is_removed_unasked(key: str) -> None:
    assert key not in redact(f"Incorrect API key provided: {key}. See the docs.")
    assert key not in redact(f"the vendor said {key} is wrong")
    assert key not in redact(json.dumps({"error": {"message": key}}))


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer plainsecret123",
        'headers={"Authorization": "Bearer plainsecret123"}',
        "x-api-key: plainsecret123",
        '{"api_key": "plainsecret123"}',
        "api_key=plainsecret123&x=1",
        "password = plainsecret123",
        "https://user:plainsecret123@example.com/v1",
        "GET https://example.com/v1/models?key=plainsecret123 failed",
        "/v1/models?alt=json&key=plainsecret123",
        "aws_secret_access_key: plainsecret123",
        "-----BEGIN PRIVATE KEY-----\nplainsecret123\n-----END PRIVATE KEY-----",
    ],
)
def test_a_named_secret_is_removed(text: str) -> None:
    assert "plainsecret123" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 4096 tokens, but you asked for 5000 in the parameter max_tokens.",
        "KeyError('model_type')",
        "The model `gpt-9` does not exist.",
        "rate limit: 400 requests per minute; see https://example.com/limits",
        "Bearer tokens are needed",
        "Test if the api key is available",
    ],
)
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=8, max_size=40), st.text(max_size=20))
def test_a_known_secret_is_removed_in_every_spelling(secret: str, around: str) -> None:
    spellings = [
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        base64.b64encode(secret.encode()).decode().rstrip("="),
    ]
    for spelling in spellings:
        assert spelling not in redact(f"{around} {spelling} {around}", secrets=[secret]).replace(MASK, "\0")


def test_a_dummy_key_does_not_garble_the_text() -> None:
    assert redact("example of max length", secrets=["x"]) == "example of max length"
    assert redact("the key test in testing", secrets=["test"]) == f"the key {MASK} in testing"


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def test_a_huge_hostile_text_takes_no_time() -> None:
    began = time.process_time()
    redact("a-" * 100_000 + "api_key" * 20_000 + "://" + "x" * 200_000)
    assert time.process_time() - began < 5  # a pattern that backtracks takes minutes


ODD = "k\"/+\\'$%<&Gd7Hq2xV9tL4zNq8Wk"


@pytest.mark.parametrize(
    "spelled",
    [
        quote(ODD),
        quote(ODD, safe=""),
        quote_plus(ODD),
        quote(ODD).replace("%2B", "%2b").replace("%5C", "%5c").replace("%3C", "%3c"),
        json.dumps(ODD).replace("/", "\\/"),
        html.escape(ODD),
        html.escape(ODD, quote=False),
        html.escape(ODD).replace("&#x27;", "&#39;"),
        base64.urlsafe_b64encode(ODD.encode()).decode(),
    ],
)
def test_a_secret_is_removed_however_it_is_escaped(spelled: str) -> None:
    assert "Gd7Hq2" not in redact(f"no: {spelled}!", secrets=[ODD])
    assert spelled not in redact(f"no: {spelled}!", secrets=[ODD])


@pytest.mark.parametrize("length", [4, 10, 20, 27])
def test_what_a_shortened_text_kept_of_a_secret_is_removed(length: int) -> None:
    assert redact(f"It says: “no {ODD[:length]}…”", secrets=[ODD]) == f"It says: “no {MASK}…”"


def test_our_own_tokens_are_removed_and_names_of_models_are_not() -> None:
    assert redact("lla_dGhpcyBpcyBub3QgYSByZWFsIHRva2VuISEhIQ-_abc") == MASK
    assert redact("jina-embeddings-v3@Jina") == "jina-embeddings-v3@Jina"
