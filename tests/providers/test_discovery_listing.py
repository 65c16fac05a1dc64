"""Asking for all models: pages, bounds, richer places, and what has to be asked singly; on real sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

import botocore.loaders
import pytest

from core.origins import origin_of
from core.secrets import OpenSecret
from providers.discovery import Bounds, Discovered, Listing, Source, list_models, places, typed
from providers.errors import AuthenticationFailed, BadReply, TimedOut, UpstreamError
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from tests.aimock import Aimock
from tests.fakes.asking import POLICY
from tests.fakes.upstream import FakeUpstream, Handler
from tests.llamacpp.fixtures import LlamaCpp


def to(upstream: FakeUpstream, dialect: str = "openai", **quirks: Any) -> Target:
    base_url = upstream.url if dialect == "openai" else upstream.root
    return Target("F", "", base_url, dialect=dialect, signer="none", quirks=Quirks.from_data(quirks))


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    """One that asks for no key."""
    with FakeUpstream(key=None) as fake:
        yield fake


def credential(key: str, base_url: str) -> CredentialFields:
    return CredentialFields({}, OpenSecret(key, origin_of(base_url)))


def listed(target: Target, **bounds: Any) -> Listing:
    return list_models(places(target), policy=POLICY, bounds=Bounds(**bounds))


def ids(listing: Listing) -> list[str]:
    return list(listing.models)


def kinds(listing: Listing) -> dict[str, Discovered]:
    return {name: typed(name, reading) for name, reading in listing.models.items()}


def pages(upstream: FakeUpstream, path: str, answer: Callable[[dict[str, str]], Any]) -> None:
    """What is answered depends on the query."""

    def handle(handler: Handler) -> None:
        query = parse_qs(handler.request_now.query)
        handler.json(answer({name: values[0] for name, values in query.items()}))

    upstream.behave(path, handle)


def claude_pages(count: int, size: int = 2) -> Callable[[dict[str, str]], Any]:
    """`count` pages of `size` models each, as Anthropic has them."""

    def answer(query: dict[str, str]) -> Any:
        page = int(query.get("after_id", "m-0-0").split("-")[1]) + 1
        data = [{"id": f"m-{page}-{number}"} for number in range(size)]
        return {"data": data, "has_more": page < count, "last_id": data[-1]["id"]}

    return answer


def test_pages_are_followed_to_the_end(upstream: FakeUpstream) -> None:
    pages(upstream, "/models", claude_pages(3))
    found = listed(to(upstream, "anthropic", version_path="/v1"))
    assert ids(found) == ["m-1-0", "m-1-1", "m-2-0", "m-2-1", "m-3-0", "m-3-1"]
    assert found.complete


def test_pages_that_never_end_are_left_at_the_bound(upstream: FakeUpstream) -> None:
    pages(upstream, "/models", claude_pages(10**9))
    found = listed(to(upstream, "anthropic", version_path="/v1"), pages=5)
    assert (len(found.models), found.complete) == (10, False)
    assert upstream.total_calls == 5


def test_a_page_that_names_itself_as_the_next_is_asked_once(upstream: FakeUpstream) -> None:
    pages(upstream, "/v2/models", lambda query: {"models": [{"name": "models/g"}], "nextPageToken": "again"})
    found = listed(to(upstream, "gemini", version_path="/v2"))
    assert (ids(found), found.complete) == (["g"], False)
    assert upstream.total_calls == 2


def test_more_models_than_the_bound_are_cut_off(upstream: FakeUpstream) -> None:
    pages(upstream, "/models", claude_pages(10**9, size=7))
    found = listed(to(upstream, "anthropic", version_path="/v1"), models=20)
    assert (len(found.models), found.complete) == (20, False)
    upstream.status("/models", 200, {"data": [{"id": f"m{number}"} for number in range(50)]})
    found = listed(to(upstream), models=50)
    assert (len(found.models), found.complete) == (50, True)


def test_an_answer_larger_than_the_bound_is_refused(upstream: FakeUpstream) -> None:
    upstream.status("/models", 200, {"data": [{"id": "m", "description": "x" * 5000}]})
    with pytest.raises(BadReply, match="larger"):
        listed(to(upstream), page_bytes=4096)
    upstream.status("/models", 200, {"data": [{"id": "m" * 600}, {"id": "n", "aliases": ["a" * 600, "b"] * 50}]})
    assert {name: len(reading.aliases) for name, reading in listed(to(upstream)).models.items()} == {"n": 20}
    upstream.endless("/models")
    with pytest.raises(BadReply, match="larger"):
        listed(to(upstream), page_bytes=1024 * 1024)


def test_time_is_bounded_for_all_calls_together(upstream: FakeUpstream) -> None:
    upstream.hang("/models")
    started = time.monotonic()
    with pytest.raises(TimedOut):
        listed(to(upstream), time_s=0.3)
    assert time.monotonic() - started < POLICY.total_timeout_s
    answer = claude_pages(10**9)

    def slowly(query: dict[str, str]) -> Any:
        upstream.closing.wait(0.1)
        return answer(query)

    pages(upstream, "/models", slowly)
    found = listed(to(upstream, "anthropic", version_path="/v1"), time_s=1, pages=10**6)
    assert found.models and not found.complete


def test_whoever_waits_can_stop_between_calls(upstream: FakeUpstream) -> None:
    class Enough(Exception):
        pass

    said: list[str] = []

    def step(word: str) -> None:
        said.append(word)
        if len(said) == 3:
            raise Enough

    pages(upstream, "/models", claude_pages(10**9))
    with pytest.raises(Enough):
        list_models([to(upstream, "anthropic", version_path="/v1")], policy=POLICY, step=step)
    assert upstream.total_calls == 2
    assert said[1] == "Listing the models, page 2"


# --- Richer places ----------------------------------------------------------------------------------------------------

LM_STUDIO = [{"path": "/api/v1/models", "root": True}, {"path": "/api/v0/models", "root": True}]


@pytest.mark.parametrize("base", ["/v1", "/v1/", "", "/api/v0", "/v1/chat/completions"])
def test_a_place_at_the_root_is_found_from_any_base_url(upstream: FakeUpstream, base: str) -> None:
    quirks = Quirks.from_data({"version_path": "/v1", "listings": LM_STUDIO})
    upstream.status("/api/v0/models", 200, {"data": [{"id": "n", "type": "embeddings"}]})
    found = listed(Target("F", "", upstream.root + base, signer="none", quirks=quirks))
    assert ids(found) == ["n"]
    assert list(upstream.calls) == ["/api/v1/models", "/api/v0/models"]


def test_lm_studios_own_list_is_read(upstream: FakeUpstream) -> None:
    entry = {"type": "llm", "key": "google/gemma", "max_context_length": 8192, "capabilities": {"vision": True}}
    upstream.status("/api/v1/models", 200, {"models": [entry]})
    found = kinds(listed(to(upstream, listings=LM_STUDIO)))
    assert found["google/gemma"].types == ("chat", "image2text")


def test_a_query_and_another_wire_format_are_part_of_a_place(upstream: FakeUpstream) -> None:
    upstream.status("/models", 200, {"data": [{"id": "m"}]})
    assert ids(listed(to(upstream, listings=[{"query": {"output_modalities": "all"}}]))) == ["m"]
    assert upstream.requests[0].query == "output_modalities=all"
    upstream.status("/info", 200, {"model_id": "x/y", "model_type": {"reranker": {}}})
    found = kinds(listed(to(upstream, version_path="/v1", listings=[{"dialect": "tei"}])))
    assert found["x/y"].types == ("rerank",)


def test_only_a_place_that_is_not_there_is_passed_over(upstream: FakeUpstream) -> None:
    upstream.key = "sk-right-0123456789"
    with pytest.raises(AuthenticationFailed):
        listed(to(upstream, listings=[{"path": "/models"}]))
    assert upstream.total_calls == 1
    upstream.html("/models")
    with pytest.raises(UpstreamError):
        listed(to(upstream, listings=[{"path": "/models"}]))
    assert upstream.total_calls == 3


def test_a_server_that_says_200_to_what_it_does_not_know_is_passed_over(upstream: FakeUpstream) -> None:
    upstream.status("/api/v1/models", 200, {"error": "Unexpected endpoint or method. (GET /api/v1/models)"})
    upstream.status("/api/v0/models", 500, {"error": "broken"})
    assert len(listed(to(upstream, listings=LM_STUDIO)).models) == 6


# --- What has to be asked singly --------------------------------------------------------------------------------------


def show(handler: Handler) -> None:
    name = json.loads(handler.request_now.body)["model"]
    if name == "broken":
        handler.json({"error": "no such model"}, status=404)
    else:
        handler.json({"capabilities": ["embedding"], "model_info": {"bert.context_length": 512}, "name": name})


def test_ollama_is_asked_about_the_models_of_which_its_list_says_little(upstream: FakeUpstream) -> None:
    known = {"name": "known", "capabilities": ["completion"], "details": {"context_length": 4096}}
    upstream.status("/api/tags", 200, {"models": [{"name": "mute"}, known, {"name": "broken"}, {"name": "also"}]})
    upstream.behave("/api/show", show)
    found = listed(to(upstream, "ollama"))
    assert found.complete
    told = kinds(found)
    assert {name: one.types for name, one in told.items()} == {
        "mute": ("embedding",), "known": ("chat",), "broken": ("chat",), "also": ("embedding",),
    }  # fmt: skip
    assert (told["mute"].max_tokens, told["known"].max_tokens) == (512, 4096)
    assert upstream.calls == {"/api/tags": 1, "/api/show": 3}


def test_no_more_models_are_asked_about_than_the_bound(upstream: FakeUpstream) -> None:
    upstream.status("/api/tags", 200, {"models": [{"name": f"m{number}"} for number in range(9)]})
    upstream.behave("/api/show", show)
    found = listed(to(upstream, "ollama"), details=5, at_once=2)
    assert upstream.calls["/api/show"] == 5
    assert len(found.models) == 9


# --- Two lists of one vendor ------------------------------------------------------------------------------------------

BEDROCK = [
    {"modelId": "amazon.nova-lite-v1:0", "inputModalities": ["TEXT", "IMAGE"], "outputModalities": ["TEXT"]},
    {"modelId": "amazon.titan-embed-text-v2:0", "outputModalities": ["EMBEDDING"]},
    {"modelId": "amazon.rerank-v1:0", "inputModalities": ["TEXT"], "outputModalities": ["TEXT"]},
]
PROVISIONED = {"modelId": "anthropic.claude-opus", "inferenceTypesSupported": ["INFERENCE_PROFILE"]}
PROFILES = [{"inferenceProfileId": "eu.anthropic.claude-opus", "status": "ACTIVE", "type": "SYSTEM_DEFINED"}]


def bedrock(upstream: FakeUpstream, profiles: Any) -> Listing:
    summaries = [{**model, "inferenceTypesSupported": ["ON_DEMAND"]} for model in BEDROCK]
    upstream.status("/foundation-models", 200, {"modelSummaries": [*summaries, PROVISIONED, "odd", {}]})
    pages(upstream, "/inference-profiles", profiles)
    return listed(to(upstream, "bedrock", no_model_list=True, listings=[{"dialect": "bedrock"}]))


def test_bedrock_lists_what_can_be_called_and_the_profiles_of_the_rest(upstream: FakeUpstream) -> None:
    def profiles(query: dict[str, str]) -> Any:
        more = {} if "nextToken" in query else {"nextToken": "t+/="}
        return {"inferenceProfileSummaries": PROFILES if more else [{"inferenceProfileId": "eu.last"}], **more}

    found = bedrock(upstream, profiles)
    assert {name: one.types for name, one in kinds(found).items()} == {
        "amazon.nova-lite-v1:0": ("chat", "image2text"), "amazon.titan-embed-text-v2:0": ("embedding",),
        "amazon.rerank-v1:0": ("rerank",), "eu.anthropic.claude-opus": ("chat",), "eu.last": ("chat",),
    }  # fmt: skip
    assert found.complete
    assert [parse_qs(one.query) for one in upstream.requests[1:]] == [
        {"maxResults": ["1000"]}, {"maxResults": ["1000"], "nextToken": ["t+/="]},
    ]  # fmt: skip


def test_a_further_page_that_fails_leaves_the_list_incomplete(upstream: FakeUpstream) -> None:
    found = bedrock(upstream, lambda query: {"message": "not authorised to do this"})
    assert (len(found.models), found.complete) == (3, False)


def test_bedrocks_lists_are_those_of_its_service_model() -> None:
    service = botocore.loaders.Loader().load_service_model("bedrock", "service-2")
    for name, path, items, key in (
        ("ListFoundationModels", "/foundation-models", "modelSummaries", "modelId"),
        ("ListInferenceProfiles", "/inference-profiles", "inferenceProfileSummaries", "inferenceProfileId"),
    ):
        operation = service["operations"][name]
        assert (operation["http"]["method"], operation["http"]["requestUri"]) == ("GET", path)
        members = service["shapes"][operation["output"]["shape"]]["members"]
        item = service["shapes"][service["shapes"][members[items]["shape"]]["member"]["shape"]]
        assert key in item["members"]
    asked = service["shapes"][service["operations"]["ListInferenceProfiles"]["input"]["shape"]]["members"]
    assert {"maxResults", "nextToken"} <= set(asked)


# --- Real servers -----------------------------------------------------------------------------------------------------


def test_real_llama_cpp_servers_are_told_apart(
    llamacpp_chat: LlamaCpp, llamacpp_embed: LlamaCpp, llamacpp_rerank: LlamaCpp
) -> None:
    for server, types, tokens in (
        (llamacpp_chat, ("chat",), 1024),
        (llamacpp_embed, ("embedding",), 512),
        (llamacpp_rerank, ("rerank",), 512),
    ):
        target = Target("F", "", server.base_url, credential=credential(server.api_key, server.base_url))
        (found,) = kinds(listed(target)).values()
        assert (found.name, found.types, found.vision) == (server.model, types, False)
        assert found.max_tokens == tokens


@pytest.mark.parametrize(
    ("dialect", "quirks", "source", "tokens"),
    [
        ("openai", {}, Source.NAME, None),
        ("ollama", {}, Source.NAME, None),
        (
            "openai", {"listings": [{"path": "/api/v1/models", "root": True, "query": {"output_modalities": "all"}}]},
            Source.UPSTREAM, 128000,
        ),
    ],
)  # fmt: skip
def test_the_lists_of_a_mock_of_other_people_are_read(
    aimock: Aimock, dialect: str, quirks: dict[str, Any], source: Source, tokens: int | None
) -> None:
    key = credential(aimock.api_key, aimock.base_url)
    target = Target("F", "", aimock.base_url, dialect=dialect, quirks=Quirks.from_data(quirks), credential=key)
    found = kinds(listed(target))
    chat = found.get("gpt-4o") or found["openai/gpt-4o"]
    assert (chat.types[0], chat.source, chat.max_tokens) == ("chat", source, tokens)
