"""What a model's name means: the spellings, their order, and what is said when it means nothing or too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.names import MAX_CANDIDATES, NameAmbiguous, NameNotFound, Names, Resolved, split, split_service

FACTORIES = frozenset({"OpenAI", "Azure-OpenAI", "LM-Studio", "VLLM", "LocalAI", "OpenAI-API-Compatible", "BAAI"})


def names_of(*ids: str, routes: tuple[str, ...] = (), services: tuple[str, ...] = ()) -> Names:
    """Of models that are written as `name@factory`."""
    models = [(one, *one.rpartition("@")[::2]) for one in ids]
    return Names.build(models, routes, FACTORIES, services)


@pytest.mark.parametrize(
    ("text", "name", "factory"),
    [
        ("gpt-4", "gpt-4", None),
        ("gpt-4@OpenAI", "gpt-4", "OpenAI"),
        ("gpt-4@openai", "gpt-4@openai", None),
        ("gpt-4@Unknown", "gpt-4@Unknown", None),
        ("gpt-4@", "gpt-4@", None),
        ("@OpenAI", "", "OpenAI"),
        ("text-embedding@q8_0", "text-embedding@q8_0", None),
        ("a@b@OpenAI", "a@b", "OpenAI"),
        ("a@b@Unknown", "a@b", "Unknown"),
        ("m@q8_0@LM-Studio", "m@q8_0", "LM-Studio"),
        ("x___VLLM@VLLM", "x___VLLM", "VLLM"),
        ("", "", None),
        ("@", "@", None),
        ("@@", "@", ""),
    ],
)
def test_a_name_is_split_as_ragflow_splits_it(text: str, name: str, factory: str | None) -> None:
    assert split(text, FACTORIES) == (name, factory)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ollama~qwen3", ("ollama", "qwen3")),
        ("ollama~a~b", ("ollama", "a~b")),
        ("~qwen3", None),
        ("ollama~", None),
        ("ollama", None),
    ],
)
def test_a_services_model_has_two_parts(text: str, parts: tuple[str, str] | None) -> None:
    assert split_service(text) == parts


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("gpt-4o@OpenAI", "model", "gpt-4o@OpenAI"),
        ("gpt-4o@Azure-OpenAI", "model", "gpt-4o@Azure-OpenAI"),
        ("OpenAI/gpt-4o", "model", "gpt-4o@OpenAI"),
        ("o3", "model", "o3@OpenAI"),
        ("OpenAI/o3", "model", "o3@OpenAI"),
        ("m@q8_0", "model", "m@q8_0@LM-Studio"),
        ("m@q8_0@LM-Studio", "model", "m@q8_0@LM-Studio"),
        ("LM-Studio/m@q8_0", "model", "m@q8_0@LM-Studio"),
        ("qwen3___VLLM@VLLM", "model", "qwen3___VLLM@VLLM"),
        ("qwen3___VLLM", "model", "qwen3___VLLM@VLLM"),
        ("qwen3@VLLM", "model", "qwen3___VLLM@VLLM"),
        ("VLLM/qwen3", "model", "qwen3___VLLM@VLLM"),
        ("qwen3", "model", "qwen3___VLLM@VLLM"),
        ("llama@OpenAI-API-Compatible", "model", "llama___OpenAI-API@OpenAI-API-Compatible"),
        ("BAAI/bge-m3", "model", "BAAI/bge-m3@LM-Studio"),
        ("LM-Studio/BAAI/bge-m3", "model", "BAAI/bge-m3@LM-Studio"),
        ("BAAI/reranker", "model", "BAAI/reranker___VLLM@VLLM"),
        ("fast", "route", "fast"),
        ("team/fast", "route", "team/fast"),
        ("ollama~phi4:14b", "service", "ollama~phi4:14b"),
    ],
)
def test_every_spelling_finds_its_model(text: str, kind: str, found: str) -> None:
    names = names_of(
        *("gpt-4o@OpenAI", "gpt-4o@Azure-OpenAI", "o3@OpenAI", "m@q8_0@LM-Studio", "qwen3___VLLM@VLLM"),
        *("llama___OpenAI-API@OpenAI-API-Compatible", "BAAI/bge-m3@LM-Studio", "bge-m3@BAAI"),
        *("BAAI/reranker___VLLM@VLLM", "reranker@BAAI"),
        routes=("fast", "team/fast"),
        services=("ollama",),
    )
    assert names.resolve(text) == Resolved(kind, found)  # type: ignore[arg-type]


def test_a_model_behind_several_credentials_is_one_model() -> None:
    names = names_of("gpt-4o@OpenAI", "gpt-4o@OpenAI")
    assert names.resolve("gpt-4o") == Resolved("model", "gpt-4o@OpenAI")


def test_an_id_may_be_anything_that_is_not_a_name() -> None:
    names = Names.build([("17", "gpt-4o", "OpenAI")], [], FACTORIES)
    assert {names.resolve(text).id for text in ("17", "gpt-4o", "gpt-4o@OpenAI", "OpenAI/gpt-4o")} == {"17"}


def test_a_bare_name_of_two_factories_lists_both() -> None:
    with pytest.raises(NameAmbiguous) as caught:
        names_of("gpt-4o@OpenAI", "gpt-4o@Azure-OpenAI").resolve("gpt-4o")
    assert caught.value.candidates == ("gpt-4o@Azure-OpenAI", "gpt-4o@OpenAI")


def test_a_name_without_suffix_of_two_factories_lists_both() -> None:
    with pytest.raises(NameAmbiguous) as caught:
        names_of("qwen3___VLLM@VLLM", "qwen3___LocalAI@LocalAI").resolve("qwen3")
    assert caught.value.candidates == ("qwen3___LocalAI@LocalAI", "qwen3___VLLM@VLLM")


def test_a_route_comes_before_the_models_that_are_called_the_same() -> None:
    names = names_of("gpt-4o@OpenAI", "gpt-4o@Azure-OpenAI", routes=("gpt-4o",))
    assert names.resolve("gpt-4o") == Resolved("route", "gpt-4o")
    assert names.resolve("gpt-4o@OpenAI").kind == "model"


def test_a_name_as_it_is_written_comes_before_one_without_its_suffix() -> None:
    names = names_of("qwen3@LM-Studio", "qwen3___VLLM@VLLM")
    assert names.resolve("qwen3").id == "qwen3@LM-Studio"
    assert names.resolve("qwen3@VLLM").id == "qwen3___VLLM@VLLM"


@pytest.mark.parametrize("text", ["gpt-4o@OpenAI", "a@b@OpenAI"])
def test_a_local_model_never_answers_for_a_factory_that_its_name_ends_with(text: str) -> None:
    """Who asks for OpenAI's model must not get what somebody has called so on another server."""
    names = names_of(f"{text}@LM-Studio")
    with pytest.raises(NameNotFound) as caught:
        names.resolve(text)
    assert caught.value.candidates == ()
    assert names.resolve(f"{text}@LM-Studio").kind == "model"


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("gpt-4o@openai", ("gpt-4o@OpenAI",)),
        ("GPT-4o", ("gpt-4o@OpenAI",)),
        ("openai/gpt-4o", ("gpt-4o@OpenAI",)),
        ("gpt-4o@VLLM", ("gpt-4o@OpenAI",)),
        ("Qwen3@vllm", ("qwen3___VLLM@VLLM",)),
        ("elsewhere~gpt-4o", ("gpt-4o@OpenAI",)),
        ("FAST", ("fast",)),
        ("claude", ()),
        ("", ()),
        ("@OpenAI", ()),
        ("/", ()),
        ("OpenAI/", ()),
        ("~", ()),
    ],
)
def test_a_name_of_nothing_comes_with_those_that_are_like_it(text: str, candidates: tuple[str, ...]) -> None:
    names = names_of("gpt-4o@OpenAI", "qwen3___VLLM@VLLM", routes=("fast",))
    with pytest.raises(NameNotFound) as caught:
        names.resolve(text)
    assert caught.value.candidates == candidates


def test_candidates_are_few_however_many_there_are() -> None:
    factories = [f"F{number:03}" for number in range(200)]
    names = Names.build([(f"m@{one}", "m", one) for one in factories], [], factories)
    for text in ("m", "M"):
        with pytest.raises((NameAmbiguous, NameNotFound)) as caught:
            names.resolve(text)
        assert caught.value.candidates == tuple(f"m@F{number:03}" for number in range(MAX_CANDIDATES))


PIECES = st.text(st.sampled_from("ab@~/_*. \0\ud800é"), max_size=6)
WORDS = st.one_of(PIECES, st.text(max_size=20), st.builds(lambda own, end: own + end, PIECES, st.sampled_from(
    ["@OpenAI", "@VLLM", "___VLLM", "___VLLM@VLLM", "~x", "@x"]
)))  # fmt: skip
MODELS = st.lists(st.tuples(WORDS, st.sampled_from(sorted(FACTORIES))), max_size=6)


@given(MODELS, st.lists(WORDS, max_size=3), WORDS)
def test_no_text_does_anything_but_resolve_or_say_why_not(
    models: list[tuple[str, str]], routes: list[str], text: str
) -> None:
    known = {f"{name}@{factory}" for name, factory in models}
    names = Names.build([(f"{name}@{factory}", name, factory) for name, factory in models], routes, FACTORIES, ("a",))
    for asked in (text, *known, *(name for name, _ in models), *(f"{f}/{n}" for n, f in models), *routes):
        try:
            found = names.resolve(asked)
        except NameAmbiguous as error:
            assert len(set(error.candidates)) > 1
            assert set(error.candidates) <= known
        except NameNotFound as error:
            assert set(error.candidates) <= known | set(routes)
            assert asked not in known | set(routes)
        else:
            assert found.id in {"model": known, "route": set(routes), "service": {asked}}[found.kind]
            assert asked not in known or found == Resolved("model", asked)


@given(MODELS, WORDS)
def test_a_name_that_says_its_factory_gets_no_model_of_another(models: list[tuple[str, str]], text: str) -> None:
    factory_of = {f"{name}@{factory}": factory for name, factory in models}
    names = Names.build([(one, one.rpartition("@")[0], factory) for one, factory in factory_of.items()], [], FACTORIES)
    for factory in FACTORIES:
        try:
            found = names.resolve(f"{text}@{factory}")
        except (NameAmbiguous, NameNotFound):
            continue
        assert factory_of[found.id] == factory
