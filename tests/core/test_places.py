"""Paths and addresses of machines are taken out of texts, and little else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.places import ADDRESS, PATH, without_places

WORD = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_-.äß在", min_size=1, max_size=12)
BEFORE = st.sampled_from(["", "open ", "(", "path=", "error: ", '"', "'", ":", "在", "[", "|", "\n", "->"])
AFTER = st.sampled_from(["", " no such file", ")", ": denied", '"', "'", ",", "\n", "]"])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("open /root/.ollama/models/blobs/sha256-1f: no such file", f"open {PATH}: no such file"),
        ('stat "/Users/Jane Doe/models/x.gguf" failed', f'stat "{PATH}" failed'),
        (r"cannot read C:\Users\jane\x.gguf", f"cannot read {PATH}"),
        ("cannot read D:/models/x.gguf, sorry", f"cannot read {PATH}, sorry"),
        (r"no share \\nas\models", f"no share {PATH}"),
        ("see ~/.cache/huggingface", f"see {PATH}"),
        ("[error]/srv/x", f"[error]{PATH}"),
        ("file:///srv/models/x", PATH),
        ("dial tcp 10.1.2.3:11434: connect: connection refused", f"dial tcp {ADDRESS}: connect: connection refused"),
        ("Post http://ollama:11434/api/pull?x=1: EOF", f"Post {ADDRESS} EOF"),
        ("lookup registry on 127.0.0.11:53", f"lookup registry on {ADDRESS}"),
        ("dial tcp [fe80::1%eth0]:80 and ::1", f"dial tcp {ADDRESS} and {ADDRESS}"),
        ("http://localhost:8080/v1 or localhost:8080", f"{ADDRESS} or {ADDRESS}"),
        ("gpu-01.lab.internal:8000 is away", f"{ADDRESS} is away"),
    ],
)
def test_places_are_removed(text: str, left: str) -> None:
    assert without_places(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model 'llama3.2:1b' not found, try pulling it first",
        "org/model:Q4_K_M and/or bert-base/uncased is unknown",
        "see https://ollama.com/help/gpu#memory for help",
        "this model's maximum context length is 8192 tokens, 12:30:45, ratio 3/4, 50 % / 2",
        'unexpected token </think> at 1:2 in {"a": [1, 2]}',
        "vLLM 0.9.2 wants CUDA 12.4; std::bad_alloc",
        "api.openai.com answered",
    ],
)
def test_what_names_no_place_stays(text: str) -> None:
    assert without_places(text) == text


def test_the_services_own_hosts_are_places() -> None:
    urls = ["http://ollama:11434", "https://gpu.example.com/v1"]
    text = "ollama: gpu.example.com refused, ollama:11434 too, https://gpu.example.com/v1/x, gpu.example.community"
    assert without_places(text, urls=urls) == (
        f"ollama: {ADDRESS} refused, {ADDRESS} too, {ADDRESS}, gpu.example.community"
    )


@given(st.lists(WORD, min_size=1, max_size=6), BEFORE, AFTER)
def test_no_part_of_an_absolute_path_is_left(parts: list[str], before: str, after: str) -> None:
    folder = "/" + "/".join(f"Q{part}Q" for part in parts)
    assert "Q" not in without_places(f"{before}{folder}{after}")


@given(st.ip_addresses(), st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format)), BEFORE, AFTER)
def test_no_address_is_left(address: object, port: str, before: str, after: str) -> None:
    written = f"[{address}]{port}" if ":" in str(address) else f"{address}{port}"
    assert str(address) not in without_places(f"call {written}{after}")
    assert str(address) not in without_places(f"{before} http://{written}/x{after}")


@given(st.text(max_size=200), st.lists(st.sampled_from(["http://a:1", "https://x.example", "nonsense", ""])))
def test_any_text_is_taken_and_twice_is_as_good_as_once(text: str, urls: list[str]) -> None:
    once = without_places(text, urls=urls)
    assert without_places(once, urls=urls) == once


@pytest.mark.parametrize("piece", ["/", "a.", "1.", ":", "a://", "\\\\", "[", "'/", "a-", "C:/", "~"])
def test_the_time_it_takes_grows_with_the_length_alone(piece: str) -> None:
    began = time.perf_counter()
    without_places(piece * (40_000 // len(piece)))
    assert time.perf_counter() - began < 2
