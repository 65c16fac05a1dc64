"""What runtimes say is kept; what they leave out is told by metadata first, and by names last."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.llm_types import LLMType
from runtimes.drivers.base import Described
from runtimes.models import ModelType, ServiceModel
from runtimes.services.capabilities import ARCHITECTURES, TYPES, WORDS, complete, parameters_of


def told(name: str = "model", **said: object) -> Described:
    return complete(Described(name, **said), streams=True)  # type: ignore[arg-type]


def test_what_the_runtime_says_wins() -> None:
    model = told("bge-reranker-instruct-coder-7b-Q4_K_M.gguf", model_types=("chat",), instructed=False, coding=False)
    assert model.model_types == ("chat",)
    assert (model.type, model.instructed, model.coding) == ("llm", False, False)
    assert told("qwen-7b", parameters=3, quantization="F16", architecture="own", is_gguf=False) == told(
        "qwen-7b", parameters=3, quantization="F16", architecture="own", is_gguf=False
    )
    assert told("qwen-7b-gguf", parameters=3, is_gguf=False).parameters == 3
    assert told("qwen-7b-gguf", is_gguf=False).is_gguf is False


@pytest.mark.parametrize(
    ("said", "types"),
    [
        ("vlm", ("chat", "image2text")),
        ("embeddings", ("embedding",)),
        ("rerank", ("rerank",)),
        ("audio", ("speech2text",)),
    ],
)
def test_a_runtimes_word_is_put_in_ours(said: str, types: tuple[str, ...]) -> None:
    assert told("model", type=said).model_types == types
    assert told("model", type=said).type == said


def test_a_model_that_speaks_is_told_by_name_from_one_that_listens() -> None:
    assert told("kokoro-tts", type="audio").model_types == ("tts",)


@pytest.mark.parametrize(
    ("architecture", "name", "kind"),
    [
        ("nomic-bert", "some-model", "embeddings"),
        ("xlm_roberta", "some-model", "embeddings"),
        ("bert", "some-reranker", "rerank"),
        ("qwen2vl", "some-model", "vlm"),
        ("clip", "some-model", "vision"),
        ("whisper", "large-v3", "audio"),
        ("llama", "some-model", "llm"),
        ("llama", "llama-embed-8b", "embeddings"),
    ],
)
def test_metadata_comes_before_the_name(architecture: str, name: str, kind: str) -> None:
    assert told(name, architecture=architecture).type == kind


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("llama3.2:3b", {"type": "llm", "parameters": 3 * 10**9, "architecture": "llama"}),
        ("all-minilm:latest", {"architecture": "minilm", "type": "embeddings"}),
        ("BAAI/bge-m3", {"type": "embeddings", "architecture": "bge"}),
        ("bge-reranker-v2-m3", {"type": "rerank"}),
        ("llava:13b", {"type": "vlm", "parameters": 13 * 10**9}),
        ("Qwen2.5-Coder-7B-Instruct-Q4_K_M.gguf", {"coding": True, "instructed": True, "is_gguf": True}),
        ("Qwen2.5-Coder-7B-Instruct-Q4_K_M.gguf", {"quantization": "Q4_K_M", "parameters": 7 * 10**9}),
        ("mlx-community/Meta-Llama-3-8B-Instruct-4bit", {"is_mlx": True, "is_gguf": False, "quantization": "4BIT"}),
        ("mixtral:8x7b", {"parameters": 56 * 10**9, "architecture": "mixtral"}),
        ("qwen3:30b-a3b", {"parameters": 30 * 10**9}),
        ("smollm2:135m", {"parameters": 135 * 10**6}),
        ("gemma-3-4b-it", {"instructed": True, "parameters": 4 * 10**9}),
        ("hermes-2-pro", {"tooling": True}),
        ("codellama:7b", {"coding": True}),
        ("encoder-decoder", {"coding": False}),
        ("italian-model", {"instructed": False}),
        ("gpt-4.1", {"parameters": None}),
    ],
)
def test_names_are_the_last_to_be_asked(name: str, said: dict[str, object]) -> None:
    model = told(name)
    assert {key: getattr(model, key) for key in said} == said


def test_the_file_says_what_the_name_does_not() -> None:
    model = told("my-model", file_path="/models/thing-Q8_0.gguf")
    assert (model.is_gguf, model.quantization) == (True, "Q8_0")
    assert told("my-model", runtime_name="mlx-llm").is_mlx is True


def test_only_what_talks_streams_and_only_where_the_service_does() -> None:
    assert told("llama").streaming is True
    assert told("bge-m3").streaming is False
    assert complete(Described("llama"), streams=False).streaming is False


def test_the_tables_agree() -> None:
    words = {word.value for _, word in WORDS}
    assert set(TYPES) | {"unknown"} == set(ModelType.values)
    assert words == set(TYPES)
    for types in (*TYPES.values(), *ARCHITECTURES.values()):
        assert any(of <= set(types) for of, _ in WORDS)


names = st.text(max_size=80) | st.from_regex(r"[a-z]{1,6}[-_:/.][0-9]{1,4}(\.[0-9])?[bmt](-[a-z0-9]{1,8}){0,3}")


@given(
    name=names,
    kind=st.sampled_from([*ModelType.values, "something new"]),
    architecture=st.text(max_size=20) | st.sampled_from(sorted(ARCHITECTURES)),
    model_types=st.lists(st.sampled_from([*LLMType, "else"]), max_size=3).map(tuple),
    flag=st.none() | st.booleans(),
    parameters=st.none() | st.integers(0, 2**63 - 1),
    file_path=st.text(max_size=60),
    streams=st.booleans(),
)
def test_whatever_a_runtime_says_fits_its_columns_and_stays(
    name: str,
    kind: str,
    architecture: str,
    model_types: tuple[str, ...],
    flag: bool | None,
    parameters: int | None,
    file_path: str,
    streams: bool,
) -> None:
    given = Described(
        name,
        type=kind,
        architecture=architecture,
        model_types=model_types,
        tooling=flag,
        coding=flag,
        parameters=parameters,
        file_path=file_path,
    )
    model = complete(given, streams=streams)
    assert model.type in ModelType.values
    assert set(model.model_types) <= {kind.value for kind in LLMType}
    for each in ("tooling", "coding", "streaming", "is_gguf", "is_mlx"):
        assert isinstance(getattr(model, each), bool)
    assert model.parameters is None or 0 <= model.parameters < 2**63
    assert len(model.quantization) <= ServiceModel._meta.get_field("quantization").max_length
    assert complete(model, streams=streams) == model  # nothing is told twice
    if flag is not None:
        assert (model.tooling, model.coding) == (flag, flag)
    if parameters is not None:
        assert model.parameters == parameters
    if kind in TYPES:
        assert model.type == kind


@given(st.text(max_size=200))
def test_no_name_is_too_odd(name: str) -> None:
    count = parameters_of(name)
    assert count is None or 0 < count <= 10**15
