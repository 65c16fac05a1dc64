"""The model servers that other tests rely on do what a real one does."""

from __future__ import annotations

import openai
import pytest

from tests.live.stack import fetch
from tests.llamacpp.fixtures import LlamaCpp


def client(server: LlamaCpp, *, api_key: str = "") -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key=api_key or server.api_key, max_retries=0)


def test_the_chat_model_talks_and_stops(llamacpp_chat: LlamaCpp) -> None:
    with client(llamacpp_chat) as api:
        answer = api.chat.completions.create(
            model=llamacpp_chat.model, messages=[{"role": "user", "content": "the cat is"}], max_tokens=200, seed=1
        )
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_the_embedding_model_gives_vectors(llamacpp_embed: LlamaCpp) -> None:
    with client(llamacpp_embed) as api:
        answer = api.embeddings.create(model=llamacpp_embed.model, input=["green river", "blue house"])
    assert [len(item.embedding) for item in answer.data] == [64, 64]


def test_the_rerank_model_gives_scores(llamacpp_rerank: LlamaCpp) -> None:
    with client(llamacpp_rerank) as api:
        answer = api.post(
            "/rerank",
            cast_to=object,
            body={"model": llamacpp_rerank.model, "query": "green river", "documents": ["blue house", "green tree"]},
        )
    assert isinstance(answer, dict)
    assert sorted(item["index"] for item in answer["results"]) == [0, 1]


def test_a_wrong_key_is_refused(llamacpp_chat: LlamaCpp) -> None:
    with client(llamacpp_chat, api_key="sk-wrong") as api, pytest.raises(openai.AuthenticationError):
        api.chat.completions.create(model=llamacpp_chat.model, messages=[{"role": "user", "content": "hi"}])
    status, body = fetch(f"{llamacpp_chat.base_url}/models", token=llamacpp_chat.api_key)
    assert (status, llamacpp_chat.model in body.decode()) == (200, True)
