from __future__ import annotations

import pytest

from core.origins import origin_of


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.Example.com/v1?x=1#y", "https://api.example.com:443"),
        ("HTTP://example.com", "http://example.com:80"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434"),
        ("https://[2001:DB8::1]/v1", "https://[2001:db8::1]:443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://user:pass@example.com/", "https://example.com:443"),
        ("https://example.com:443", "https://example.com:443"),
        ("wss://tts.example.com/v2", "https://tts.example.com:443"),
        ("ws://127.0.0.1:8080/v2", "http://127.0.0.1:8080"),
        ("example.com", ""),
        ("", ""),
        ("https://", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin
