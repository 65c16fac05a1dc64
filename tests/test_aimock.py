"""The simulator that other tests rely on does what they expect."""

from __future__ import annotations

import openai
import pytest

from tests.aimock import DIMENSIONS, Aimock


def test_aimock_answers_its_key_only_and_remembers(aimock: Aimock) -> None:
    aimock.forget()
    with openai.OpenAI(base_url=aimock.base_url, api_key=aimock.api_key, max_retries=0) as api:
        answer = api.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
        vectors = api.embeddings.create(model="text-embedding-3-small", input=["hi"])
    assert answer.choices[0].message.content == "Hello from aimock."
    assert len(vectors.data[0].embedding) == DIMENSIONS
    assert len(aimock.journal) == 2
    with (
        openai.OpenAI(base_url=aimock.base_url, api_key="sk-wrong", max_retries=0) as api,
        pytest.raises(openai.AuthenticationError),
    ):
        api.models.list()
