"""Ids are UUIDs of version 7: unique, unguessable, and sorted by the time they were made."""

from __future__ import annotations

import re
import time
import uuid

import pytest

from core.ids import ID_LENGTH, new_id, time_of


def test_an_id_is_32_hexadecimal_characters() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", new_id())
    assert ID_LENGTH == 32


def test_it_is_a_uuid_of_version_7() -> None:
    for _ in range(1000):
        parsed = uuid.UUID(new_id())
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_it_carries_the_time_it_was_made_at() -> None:
    before = time.time_ns() // 1_000_000
    made = int(new_id()[:12], 16)
    assert before <= made <= time.time_ns() // 1_000_000


def test_it_says_when_it_was_made() -> None:
    before = time.time()
    made_at = time_of(new_id())
    assert made_at is not None
    assert before - 0.001 <= made_at.timestamp() <= time.time()


NOT_OURS = ["", "x" * 32, "9b2f4c1a7d3e4f60" * 2, f"{'f' * 12}7000{'8':0<16}", f"{'0' * 12}7000{'8':0<17}"]


@pytest.mark.parametrize("text", NOT_OURS)
def test_what_is_no_id_of_ours_says_nothing_of_a_time(text: str) -> None:
    assert time_of(text) is None


def test_later_ids_sort_after_earlier_ones() -> None:
    first = new_id()
    time.sleep(0.002)
    assert first < new_id()


def test_no_two_are_the_same() -> None:
    assert len({new_id() for _ in range(100_000)}) == 100_000


def test_what_is_random_in_it_differs_from_one_to_the_next() -> None:
    tails = [int(new_id()[13:16] + new_id()[17:], 16) for _ in range(200)]
    assert len(set(tails)) == 200
