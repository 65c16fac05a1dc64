"""What a model's name means: the spellings, their order, and what is said when it means nothing or too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.names import MAX_CANDIDATES, MAX_MISTYPED, MAX_NEAREST, NameAmbiguous, NameNotFound, Names, Resolved, split

pytestmark = pytest.mark.once

FACTORIES = frozenset({"OpenAI", "Azure-OpenAI", "LM-Studio", "VLLM", "LocalAI", "OpenAI-API-Compatible", "BAAI"})


def names_of(*ids: str, routes: tuple[str, ...] = (), served: tuple[str, ...] = ()) -> Names:
    """Of models that are written as `name@factory`, and of services' as `service~name`."""
    models = [(one, *one.rpartition("@")[::2]) for one in ids]
    return Names.build(models, routes, FACTORIES, [(one, one.partition("~")[2]) for one in served])


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
        ("ollama~phi4:14b", "model", "ollama~phi4:14b"),
        ("ollama~all-minilm", "model", "ollama~all-minilm:latest"),
        ("all-minilm", "model", "ollama~all-minilm:latest"),
        ("phi4:14b", "model", "ollama~phi4:14b"),
        ("ollama~o3", "model", "ollama~o3"),
        ("o3", "model", "o3@OpenAI"),
        ("ollama~hf.co/some/one:Q4", "model", "ollama~hf.co/some/one:Q4"),
        ("phi4:14b@ollama", "model", "ollama~phi4:14b"),
        ("all-minilm@ollama", "model", "ollama~all-minilm:latest"),
        ("o3@ollama", "model", "ollama~o3"),
        ("hf.co/some/one:Q4@ollama", "model", "ollama~hf.co/some/one:Q4"),
    ],
)
def test_every_spelling_finds_its_model(text: str, kind: str, found: str) -> None:
    names = names_of(
        *("gpt-4o@OpenAI", "gpt-4o@Azure-OpenAI", "o3@OpenAI", "m@q8_0@LM-Studio", "qwen3___VLLM@VLLM"),
        *("llama___OpenAI-API@OpenAI-API-Compatible", "BAAI/bge-m3@LM-Studio", "bge-m3@BAAI"),
        *("BAAI/reranker___VLLM@VLLM", "reranker@BAAI"),
        routes=("fast", "team/fast"),
        served=("ollama~phi4:14b", "ollama~all-minilm:latest", "ollama~o3", "ollama~hf.co/some/one:Q4"),
    )
    assert names.resolve(text) == Resolved(kind, found)  # type: ignore[arg-type]


def test_a_service_that_is_called_like_a_factory_does_not_answer_for_it() -> None:
    names = names_of(served=("VLLM~qwen3",))
    with pytest.raises(NameNotFound) as caught:
        names.resolve("qwen3@VLLM")
    assert caught.value.candidates == ("VLLM~qwen3",)
    assert names.resolve("VLLM~qwen3").kind == "model"


def test_a_whole_name_means_its_own_model_whatever_others_are_called() -> None:
    names = names_of(served=("a~x", "b~a~x", "b~x@a"))
    assert [names.resolve(text).id for text in ("a~x", "x@a", "b~a~x", "a~x@b", "b~x@a")] == [
        *("a~x", "a~x", "b~a~x", "b~a~x", "b~x@a")
    ]


@pytest.mark.parametrize("name", ["qwen3", "qwen3@VLLM", "gpt-4o", "OpenAI/o3", "fast", "o3@OpenAI"])
def test_a_service_changes_nothing_of_what_a_tenants_own_names_mean(name: str) -> None:
    own = ("gpt-4o@OpenAI", "gpt-4o@Azure-OpenAI", "o3@OpenAI", "qwen3___VLLM@VLLM")
    served = (f"den~{name}", f"den~{name}:latest", f"attic~{name}")

    def meant(names: Names) -> object:
        try:
            return names.resolve(name)
        except NameAmbiguous as error:
            return error.candidates

    assert meant(names_of(*own, routes=("fast",), served=served)) == meant(names_of(*own, routes=("fast",)))


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


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("mock~mock-model-7", "mock~mock-model-7B"),
        ("mock-model-7", "mock~mock-model-7B"),
        ("Mokc~mock-model-7b", "mock~mock-model-7B"),
        ("gpt4o", "gpt-4o@OpenAI"),
        ("gtp-4o@OpenAI", "gpt-4o@OpenAI"),
        ("gpt-4o@OpenIA", "gpt-4o@OpenAI"),
        ("faster", "fast"),
        *((text, None) for text in ("claude", "slow", "", "@", "f", "4o", "\ud800" * 9, "x" * 255)),
    ],
)
def test_a_mistyped_name_has_the_meant_one_nearest(text: str, nearest: str | None) -> None:
    names = names_of("gpt-4o@OpenAI", "qwen3___VLLM@VLLM", routes=("fast",), served=("mock~mock-model-7B",))
    found = names.nearest(text)
    assert found[:1] == (() if nearest is None else (nearest,))
    assert names.nearest(text) is found, "it was worked out once more"


def test_the_nearest_names_are_few_however_many_are_alike_and_asked_for() -> None:
    names = names_of(*(f"vendor/model-{number:04}-instruct@OpenAI" for number in range(1_000)))
    assert len(names.nearest("vendor/model-x-instruct")) == MAX_NEAREST
    assert names.nearest("vendor/model-0999-instrct")[0] == "vendor/model-0999-instruct@OpenAI"
    few = names_of("fast@OpenAI")
    for number in range(MAX_MISTYPED + 9):
        few.nearest(f"{number:09}")
    assert len(few.mistyped) == MAX_MISTYPED


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
    built = [(f"{name}@{factory}", name, factory) for name, factory in models]
    names, without = (Names.build(built, routes, FACTORIES, served) for served in ([("a~x", "x")], []))
    own, known = known, known | {"a~x"}
    for asked in (text, *known, *(name for name, _ in models), *(f"{f}/{n}" for n, f in models), *routes):
        try:
            found = names.resolve(asked)
        except NameAmbiguous as error:
            assert len(set(error.candidates)) > 1
            assert set(error.candidates) <= known
        except NameNotFound as error:
            assert set(error.candidates) <= known | set(routes)
            assert set(names.nearest(asked)) <= known | set(routes)
            assert asked not in known | set(routes)
        else:
            assert found.id in {"model": known, "route": set(routes)}[found.kind]
            assert asked not in own or found == Resolved("model", asked)
            assert found.id == "a~x" or without.resolve(asked) == found


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
