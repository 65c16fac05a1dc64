"""OpenAI's wire format through our own upstream client, judged by a real server of it: llama.cpp's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.origins import origin_of
from core.secrets import OpenSecret
from providers.calls import call
from providers.dialects import for_type
from providers.errors import AuthenticationFailed, BadRequest, ContextLengthExceeded, Unsupported, UpstreamError
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Embeddings, Operation, Ranking
from tests.llamacpp.fixtures import LlamaCpp
from tests.llamacpp.models import WIDTH
from tests.providers.test_dialects_aimock import POLICY, TOOLS, chat, streamed

# The model says words at random: with a seed they are the same each time, and it does not stop by itself.
QUESTION = {"role": "user", "content": "the cat is"}
CAT: dict[str, Any] = {"messages": [QUESTION], "seed": 1, "max_tokens": 12, "ignore_eos": True}


def to(server: LlamaCpp, *, key: str = "") -> Target:
    credential = CredentialFields({}, OpenSecret(key or server.api_key, origin_of(server.base_url)))
    quirks = Quirks.from_data({"version_path": "/v1", "strip_suffix": "___"})
    root = server.base_url.removesuffix("/v1")
    return Target("VLLM", f"{server.model}___VLLM", root, "openai", "bearer", quirks, credential)


def ask(server: LlamaCpp, operation: Operation, payload: dict[str, Any]) -> Any:
    return call(to(server), operation, payload, policy=POLICY)


def test_a_chat_is_the_same_whole_and_streamed(llamacpp_chat: LlamaCpp) -> None:
    reply = ask(llamacpp_chat, Operation.CHAT, CAT)
    (choice,) = reply["choices"]
    answer, finished = streamed(to(llamacpp_chat), CAT)
    assert finished
    assert answer["message"]["content"] == choice["message"]["content"] != ""
    assert answer["finish_reason"] == choice["finish_reason"] == "length"
    for usage in (reply["usage"], answer["usage"]):
        assert usage["completion_tokens"] == 12
        assert usage["total_tokens"] == usage["prompt_tokens"] + 12


def test_how_likely_each_token_was_comes_back(llamacpp_chat: LlamaCpp) -> None:
    (choice,) = ask(llamacpp_chat, Operation.CHAT, {**CAT, "logprobs": True, "top_logprobs": 2})["choices"]
    said = choice["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in said] == [2] * len(said)
    assert "".join(token["token"] for token in said) == choice["message"]["content"]


@pytest.mark.parametrize("by", [chat, streamed], ids=["whole", "streamed"])
def test_tools_and_their_results_are_understood(llamacpp_chat: LlamaCpp, by: Any) -> None:
    """The model has not learnt to call them; the server reads them all the same."""
    called = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Berlin"}'},
    }
    said = {"role": "assistant", "content": None, "tool_calls": [called]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "green"}
    answer = by(to(llamacpp_chat), {**CAT, "messages": [QUESTION, said, result], "tools": TOOLS, "tool_choice": "auto"})
    assert "tool_calls" not in str(answer)
    assert "content" in str(answer)
    with pytest.raises(UpstreamError) as caught:
        by(to(llamacpp_chat), {**CAT, "tools": [{"type": "function"}], "tool_choice": "auto"})
    assert caught.value.upstream_status


def test_an_answer_keeps_to_a_schema(llamacpp_chat: LlamaCpp) -> None:
    schema = {"type": "object", "properties": {"light": {"enum": ["on", "off"]}}, "required": ["light"]}
    form = {"type": "json_schema", "json_schema": {"name": "light", "schema": schema}}
    (choice,) = ask(
        llamacpp_chat, Operation.CHAT, {**CAT, "ignore_eos": False, "max_tokens": 100, "response_format": form}
    )["choices"]
    assert json.loads(choice["message"]["content"])["light"] in ("on", "off")


def test_texts_are_embedded_as_numbers_or_packed(llamacpp_embed: LlamaCpp) -> None:
    texts = {"input": ["green river", "blue house"]}
    plain = ask(llamacpp_embed, Operation.EMBEDDINGS, texts)
    packed = ask(llamacpp_embed, Operation.EMBEDDINGS, {**texts, "encoding_format": "base64"})
    assert isinstance(plain, Embeddings)
    assert [len(vector) for vector in plain] == [WIDTH, WIDTH]
    assert plain[0] != plain[1]
    for one, other in zip(plain, packed, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    assert plain.usage
    assert plain.usage["prompt_tokens"] > 0


def test_documents_are_ranked(llamacpp_rerank: LlamaCpp) -> None:
    documents = ["blue house", "green tree", "green river"]
    ranking = ask(llamacpp_rerank, Operation.RERANK, {"query": "green river", "documents": documents, "top_n": 2})
    assert isinstance(ranking, Ranking)
    assert len(ranking) == 2
    assert {score.position for score in ranking} <= {0, 1, 2}


def test_its_model_is_listed(llamacpp_chat: LlamaCpp) -> None:
    assert [model.id for model in ask(llamacpp_chat, Operation.MODELS, {})] == [llamacpp_chat.model]


def test_a_probe_of_each_type_says_ok(
    llamacpp_chat: LlamaCpp, llamacpp_embed: LlamaCpp, llamacpp_rerank: LlamaCpp
) -> None:
    servers = {LLMType.CHAT: llamacpp_chat, LLMType.EMBEDDING: llamacpp_embed, LLMType.RERANK: llamacpp_rerank}
    for kind, server in servers.items():
        _, operation = for_type(kind, "openai")
        check_reply(kind, ask(server, operation, probe_payload(kind, Quirks())))


def test_a_wrong_key_is_told_and_not_repeated(llamacpp_chat: LlamaCpp) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        call(to(llamacpp_chat, key="sk-wrong-0123456789"), Operation.CHAT, CAT, policy=POLICY)
    assert "sk-wrong" not in repr(vars(caught.value))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"messages": [{"role": "user", "content": "the cat is " * 3000}]}, ContextLengthExceeded),
        ({"messages": [{"role": "user", "content": "Hi"}], "temperature": "hot"}, UpstreamError),
        ({"messages": "Hi"}, BadRequest),
    ],
)
def test_what_it_refuses_is_its_member_of_the_tree(
    llamacpp_chat: LlamaCpp, payload: dict[str, Any], kind: type[UpstreamError]
) -> None:
    with pytest.raises(kind) as caught:
        ask(llamacpp_chat, Operation.CHAT, payload)
    assert caught.value.upstream_status
    with pytest.raises(kind):
        streamed(to(llamacpp_chat), payload)


def test_what_the_server_was_not_started_for_is_unsupported(llamacpp_chat: LlamaCpp) -> None:
    with pytest.raises(Unsupported):
        ask(llamacpp_chat, Operation.RERANK, {"query": "x", "documents": ["y"]})
