"""What a call used, out of what upstreams say; and the line it is kept as."""

from __future__ import annotations

from dataclasses import astuple, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ids import new_id
from providers.dialects import completions
from providers.dialects.anthropic import reply as anthropic
from providers.dialects.bedrock import reply as bedrock
from providers.dialects.gemini import reply as gemini
from tests.usage.calls import make_call
from usage.records import COUNTS, LARGEST_COUNT, TOKENS, CallRecord, Usage, from_line, usage_from_openai

# --- Buckets --------------------------------------------------------------------------------------------------------


def openai(prompt: int, completion: int, **details: int) -> dict[str, Any]:
    found = completions.usage(prompt, completion, **details)
    assert found is not None
    return found


def test_cached_and_audio_tokens_are_taken_out_of_the_prompt() -> None:
    said = openai(100, 30, prompt_cached_tokens=40, prompt_audio_tokens=10, prompt_cache_write_tokens=20)
    assert usage_from_openai(said) == Usage(
        input_tokens=30, cached_input_tokens=40, cache_write_tokens=20, audio_input_tokens=10, output_tokens=30
    )


def test_reasoning_and_audio_are_taken_out_of_the_completion() -> None:
    said = openai(5, 30, completion_reasoning_tokens=20, completion_audio_tokens=4)
    assert usage_from_openai(said) == Usage(input_tokens=5, output_tokens=6, reasoning_tokens=20, audio_output_tokens=4)


@pytest.mark.parametrize(
    ("dialect", "said", "buckets"),
    [
        (
            anthropic,
            {
                "input_tokens": 10,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 50,
                "output_tokens": 7,
            },
            Usage(input_tokens=10, cached_input_tokens=1000, cache_write_tokens=50, output_tokens=7),
        ),
        (
            bedrock,
            {"inputTokens": 10, "cacheReadInputTokens": 5, "outputTokens": 7, "totalTokens": 22},
            Usage(input_tokens=10, cached_input_tokens=5, output_tokens=7),
        ),
        (
            gemini,
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 60,
                "candidatesTokenCount": 5,
                "thoughtsTokenCount": 20,
                "totalTokenCount": 125,
            },
            Usage(input_tokens=40, cached_input_tokens=60, output_tokens=5, reasoning_tokens=20),
        ),
    ],
    ids=["anthropic", "bedrock", "gemini"],
)
def test_vendors_that_count_otherwise_come_to_the_same_buckets(
    dialect: Any, said: dict[str, int], buckets: Usage
) -> None:
    assert usage_from_openai(dialect.usage(said)) == buckets


def test_reasoning_that_xai_counts_beside_the_completion_is_added() -> None:
    """https://docs.x.ai/docs/key-information/consumption-and-rate-limits: the total shows it."""
    said = {
        "prompt_tokens": 10120,
        "completion_tokens": 1499,
        "total_tokens": 14428,
        "prompt_tokens_details": {"cached_tokens": 128},
        "completion_tokens_details": {"reasoning_tokens": 2809},
    }
    assert usage_from_openai(said) == Usage(
        input_tokens=9992, cached_input_tokens=128, output_tokens=1499, reasoning_tokens=2809
    )
    smaller = {**said, "completion_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 10120 + 1499 + 2}
    found = usage_from_openai(smaller)
    assert found is not None
    assert (found.output_tokens, found.reasoning_tokens) == (1499, 2)


def test_reasoning_that_the_total_leaves_no_room_for_is_within_the_completion() -> None:
    said = openai(500, 500, completion_reasoning_tokens=200)
    assert usage_from_openai(said) == Usage(input_tokens=500, output_tokens=300, reasoning_tokens=200)


@pytest.mark.parametrize(
    ("said", "buckets"),
    [
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(input_tokens=8, output_tokens=0)),
        ({"total_tokens": 9}, Usage(input_tokens=9)),
        ({"completion_tokens": 3, "total_tokens": 9}, Usage(input_tokens=6, output_tokens=3)),
        ({"completion_tokens": 9, "total_tokens": 3}, Usage(output_tokens=9)),
        ({"prompt_tokens": LARGEST_COUNT, "completion_tokens": 1}, Usage(input_tokens=LARGEST_COUNT, output_tokens=1)),
        ({"prompt_tokens": LARGEST_COUNT + 1, "completion_tokens": 1}, Usage(output_tokens=1)),
        ({"prompt_tokens": 1, "completion_tokens": 2**70, "total_tokens": 2**70 + 1}, Usage(input_tokens=1)),
        ({"prompt_tokens": 10**12, "completion_tokens": 10**12, "total_tokens": 9}, None),
        ({"prompt_tokens": 1e300, "completion_tokens": 1}, Usage(output_tokens=1)),
        ({"seconds": 1e12}, None),
        ({"seconds": 10**400}, None),
        ({"pages_processed": LARGEST_COUNT + 1}, None),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4}, Usage(input_tokens=6, cached_input_tokens=4)),
        ({"prompt_tokens": 10, "cached_tokens": 4}, Usage(input_tokens=6, cached_input_tokens=4)),
        ({"billed_units": {"search_units": 2}}, Usage(searches=2)),
        ({"pages_processed": 3, "doc_size_bytes": 4096}, Usage(pages=3)),
        ({"type": "duration", "seconds": 12.5}, Usage(audio_ms=12500)),
        ({"duration": 3}, Usage(audio_ms=3000)),
        (
            {
                "type": "tokens",
                "input_tokens": 14,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
                "output_tokens": 45,
                "total_tokens": 59,
            },
            Usage(input_tokens=0, audio_input_tokens=14, output_tokens=45),
        ),
        ({"prompt_tokens": 12.0, "completion_tokens": 3.0}, Usage(input_tokens=12, output_tokens=3)),
    ],
)
def test_usage_of_other_shapes_is_understood(said: dict[str, Any], buckets: Usage) -> None:
    assert usage_from_openai(said) == buckets


@pytest.mark.parametrize(
    "said",
    [
        None,
        {},
        [],
        "12",
        {"prompt_tokens": None},
        {"prompt_tokens": "12", "completion_tokens": True},
        {"prompt_tokens": -1, "completion_tokens": 1.5},
        {"seconds": float("nan"), "duration": -1},
        {"prompt_tokens_details": {"cached_tokens": 5}},
    ],
)
def test_what_cannot_be_counted_is_unknown_and_not_zero(said: Any) -> None:
    assert usage_from_openai(said) is None


def test_a_zero_that_was_said_stays_a_zero() -> None:
    found = usage_from_openai(openai(0, 0, prompt_cached_tokens=0))
    assert found == Usage(input_tokens=0, cached_input_tokens=0, output_tokens=0)


counts = st.integers(0, 10**7)


@given(counts, counts, st.dictionaries(st.sampled_from(["cached", "audio", "cache_write"]), counts), counts, counts)
def test_buckets_never_overlap_and_always_add_up_to_the_sums(
    prompt: int, completion: int, parts: dict[str, int], reasoning: int, audio: int
) -> None:
    details = {f"prompt_{name}_tokens": count for name, count in parts.items()}
    said = openai(prompt, completion, **details, completion_reasoning_tokens=min(reasoning, completion))
    said["completion_tokens_details"]["audio_tokens"] = audio
    found = usage_from_openai(said)
    assert found is not None
    assert found.prompt_tokens == prompt
    assert found.completion_tokens == completion
    assert all((getattr(found, name) or 0) >= 0 for name in COUNTS)
    assert found.total_tokens == sum(getattr(found, name) or 0 for name in TOKENS)


names = st.sampled_from(
    [
        *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens"),
        *("prompt_tokens_details", "completion_tokens_details", "audio_tokens", "reasoning_tokens", "seconds", "pages"),
        *("billed_units", "search_units", "characters", "duration", "output_tokens_details"),
    ]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([])
anything = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=6), max_leaves=12)


@given(st.dictionaries(names, anything))
def test_no_usage_object_can_do_harm(said: dict[str, Any]) -> None:
    found = usage_from_openai(said)
    if found is not None:
        known = [count for name in COUNTS if (count := getattr(found, name)) is not None]
        assert known
        assert all(type(count) is int and 0 <= count <= LARGEST_COUNT for count in known)


# --- Lines ----------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ids = st.builds(new_id)
whole = st.integers(0, LARGEST_COUNT)
calls = st.builds(
    CallRecord,
    id=ids,
    tenant_id=ids,
    token_id=ids | st.just(""),
    tenant_llm_id=st.none() | st.integers(1, 2**63 - 1),
    factory=texts,
    llm_name=texts,
    model=texts,
    route=texts,
    operation=texts,
    stream=st.booleans(),
    started_at=st.floats(0, 4e9),
    latency_ms=whole,
    first_token_ms=st.none() | whole,
    outcome=st.sampled_from(["complete", "client_gone", "upstream_cut", "error"]),
    status=st.integers(100, 599),
    error_code=texts,
    attempts=st.lists(st.tuples(texts, texts, whole), max_size=3).map(tuple),
    usage=st.builds(Usage, *[st.none() | whole] * len(COUNTS), st.booleans()),
    cost=st.none() | st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=10),
    request_id=texts,
    end_user=texts,
)


@given(calls)
def test_a_line_gives_back_the_very_record(call: CallRecord) -> None:
    line = call.to_line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert from_line(line) == call


@given(calls, st.data())
def test_a_line_that_is_not_whole_is_told(call: CallRecord, data: st.DataObject) -> None:
    line = call.to_line()
    length = data.draw(st.integers(0, len(line) - 1))
    with pytest.raises(ValueError, match=r".+"):
        from_line(line[:length])
    with pytest.raises(ValueError, match=r".+"):
        from_line(line[length + 1 :])
    place, byte = data.draw(st.integers(0, len(line) - 1)), data.draw(st.integers(1, 255))
    changed = bytearray(line)
    changed[place] ^= byte
    with pytest.raises(ValueError, match=r".+"):
        from_line(bytes(changed))


@given(st.binary(max_size=200))
def test_a_foreign_line_is_told(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_line(line)


def test_a_record_that_json_cannot_say_is_rather_changed_than_lost() -> None:
    call = make_call(model="half \ud83d a pair", latency_ms=2**70, error_code="x\0y")
    found = from_line(call.to_line())
    assert (found.model, found.latency_ms, found.error_code) == ("half ? a pair", 2**53, "x\0y")
    assert astuple(replace(found, model="", latency_ms=0)) == astuple(replace(call, model="", latency_ms=0))


@pytest.mark.parametrize("wrong", [{"id": "7"}, {"started_at": float("inf")}, {"input_tokens": -1}])
def test_a_record_that_makes_no_sense_is_no_line_of_ours(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_line(make_call(**wrong).to_line())


@pytest.mark.parametrize("cost", [Decimal("NaN"), Decimal("-1"), Decimal("Infinity")])
def test_a_cost_that_is_no_money_is_told(cost: Decimal) -> None:
    with pytest.raises(ValueError, match="cost"):
        from_line(make_call(cost=cost).to_line())
