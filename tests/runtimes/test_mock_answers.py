"""Whatever the Mock runtime is asked, it answers: with what was asked for, or with what is wrong about it."""

from __future__ import annotations

import asyncio
import json
from math import hypot, isclose
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.upstream import Policy, send
from providers.wire import UpstreamRequest
from runtimes.mock import answers, names

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant", "tool"]) | JSON},
    optional={"content": JSON | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": JSON}), max_size=2)},
)
CHAT = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=3) | JSON},
    optional={
        "tools": JSON | st.lists(st.fixed_dictionaries({"function": JSON}), max_size=2),
        "tool_choice": JSON,
        "stop": JSON,
        "max_tokens": JSON | st.integers(1, 50),
        "temperature": JSON,
        "n": JSON | st.integers(1, 3),
        "response_format": JSON | st.fixed_dictionaries({"type": st.just("json_schema"), "json_schema": JSON}),
        "stream": st.booleans(),
        "stream_options": JSON,
    },
)


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def ask(path: str, body: Any) -> tuple[int, bytes]:
    request = UpstreamRequest("POST", f"inproc://mock{path}", {}, json.dumps(body).encode())
    response = asyncio.run(send(request, Policy(in_process=True, total_timeout_s=30)))
    return response.status, response.body


MANY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(CHAT)
def test_a_chat_of_any_shape_is_answered_or_refused(body: dict[str, Any]) -> None:
    status, answer = ask("/v1/chat/completions", {"model": "mock-model-7B", **body})
    assert status in (200, 400)
    if status == 200 and body.get("stream"):
        assert answer.endswith(b"data: [DONE]\n\n")
    else:
        assert ("choices" if status == 200 else "error") in json.loads(answer)


@MANY
@given(JSON, JSON, JSON)
def test_embeddings_and_rankings_of_any_shape_are_answered_or_refused(one: Any, other: Any, third: Any) -> None:
    body = {"model": "mock-model-embeddings", "input": one, "dimensions": other, "encoding_format": third}
    assert ask("/v1/embeddings", body)[0] in (200, 400)
    body = {"model": "mock-model-rerank", "query": one, "documents": other, "top_n": third}
    assert ask("/v1/rerank", body)[0] in (200, 400)


@MANY
@given(st.text(max_size=60), st.integers(1, 64))
def test_every_vector_has_the_length_one(text: str, dimensions: int) -> None:
    vector = answers.vector(text, dimensions)
    assert len(vector) == dimensions
    assert isclose(hypot(*vector), 1, rel_tol=1e-6)
    assert answers.vector(text, dimensions) == vector
    assert 0 <= answers.relevance(vector, answers.vector(text[:10], dimensions)) <= 1


@MANY
@given(st.text(max_size=80))
def test_pieces_and_tokens_make_the_whole_text(text: str) -> None:
    assert "".join(answers.Said(text, (), "stop", 1, 1).pieces) == text
    assert "".join(answers._TOKENS.findall(text)) == text


@MANY
@given(JSON)
def test_an_example_of_any_schema_can_be_written(schema: Any) -> None:
    json.dumps(answers.example(schema, "text"))


@pytest.mark.parametrize("type", [{}, [{}], [[]], [], None, 1])
def test_a_schema_whose_type_is_none_has_an_example(type: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": type}, "b": {"type": "array", "items": {"type": type}}}}
    assert set(answers.example(schema, "text")) == {"a", "b"}
    assert answers.example({"type": type}, "text") == "text"


@pytest.mark.parametrize(
    ("name", "type", "parameters"),
    [
        ("llama3.2:3b", "llm", 3_000_000_000),
        ("mock-model-0.5B", "llm", 500_000_000),
        ("org/Qwen2.5-VL-7B", "vlm", 7_000_000_000),
        ("nomic-embed-text", "embeddings", None),
        ("bge-reranker-0b", "rerank", None),
    ],
)
def test_a_name_says_what_a_model_is(name: str, type: str, parameters: int | None) -> None:
    kind = names.kind_of(name)
    assert (kind.type, kind.parameters) == (type, parameters)
    assert names.size_bytes(name) == names.size_bytes(name) > 0


def test_a_fault_is_a_word_of_its_own() -> None:
    assert names.shows("my-slow-3b", "slow")
    assert names.shows("Slow", "slow")
    assert not names.shows("slowly", "slow")
