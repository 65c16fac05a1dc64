"""Clouds that resell models, through our own upstream client, judged by a third party's simulator."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.origins import origin_of
from core.secrets import OpenSecret
from providers.calls import call
from providers.dialects import for_type
from providers.errors import AuthenticationFailed, RateLimited
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Embeddings, Operation
from tests.aimock import DIMENSIONS, Aimock
from tests.fakes.upstream import FakeUpstream
from tests.providers.exchanges import factory_of
from tests.providers.test_dialects_aimock import POLICY, TOOLS, ask, chat, streamed

PEM = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
ACCOUNT = {
    "type": "service_account",
    "private_key_id": "1",
    "client_email": "aimock@project.example",
    "private_key": PEM.decode(),
}


@pytest.fixture
def google() -> Iterator[FakeUpstream]:
    """Where Google's tokens come from."""
    with FakeUpstream(key=None) as upstream:
        yield upstream


def vertex(aimock: Aimock, google: FakeUpstream, *, token: str = "", model: str = "gemini-2.5-flash") -> Target:
    """Gemini on Vertex AI, with a service account's token that the simulator knows."""
    google.status("/token", 200, {"access_token": token or aimock.api_key, "expires_in": 3599})
    secret = base64.b64encode(json.dumps({**ACCOUNT, "of": google.root}).encode()).decode()
    url = aimock.base_url.removesuffix("/v1")
    fields = {"google_project_id": "project-1", "google_region": "us-central1"}
    credential = CredentialFields(fields, OpenSecret(secret, origin_of(url), [origin_of(google.root)]))
    quirks = Quirks.from_data({"version_path": "/v1", "token_url": google.root, "publishers": {"claude-": "anthropic"}})
    return Target("Google Cloud", model, url, "vertex", "google_service_account", quirks, credential)


def test_gemini_on_vertex_answers_whole_and_streamed(aimock: Aimock, google: FakeUpstream) -> None:
    target = vertex(aimock, google)
    reply = chat(target, ask("Hello", temperature=0.5, max_tokens=50, stop=["x"]))
    assert reply["choices"][0]["message"]["content"] == "Hello from aimock."
    assert google.calls["/token"] == 1
    key = OpenSecret(aimock.api_key, origin_of(target.base_url))
    plain = replace(target, signer="bearer", credential=CredentialFields(target.credential.fields, key))
    answer, finished = streamed(plain, ask("Hello"))
    assert finished
    assert (answer["message"]["content"], answer["finish_reason"]) == ("Hello from aimock.", "stop")


def test_a_tool_is_called_on_vertex_and_its_result_goes_back(aimock: Aimock, google: FakeUpstream) -> None:
    target = vertex(aimock, google)
    choice = chat(target, ask("How is the weather?", tools=TOOLS, tool_choice="auto"))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    (called,) = choice["message"]["tool_calls"]
    assert json.loads(called["function"]["arguments"]) == {"city": "Berlin"}
    result = {"role": "tool", "tool_call_id": called["id"], "content": "sunny"}
    again = ask("How is the weather?", choice["message"], result, tools=TOOLS)
    assert chat(target, again)["choices"][0]["message"]["content"] == "It is sunny."


@pytest.mark.parametrize("kind", [LLMType.CHAT, LLMType.IMAGE2TEXT])
def test_a_probe_of_vertex_says_ok(aimock: Aimock, google: FakeUpstream, kind: LLMType) -> None:
    target = vertex(aimock, google)
    _, operation = for_type(kind, "vertex")
    check_reply(kind, call(target, operation, probe_payload(kind, target.quirks), policy=POLICY))


def test_failures_of_vertex_are_told_apart(aimock: Aimock, google: FakeUpstream) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        chat(vertex(aimock, google, token="ya29.wrong-0123456789"), ask("Hello"))
    assert "ya29" not in repr(vars(caught.value))
    with pytest.raises(RateLimited):
        chat(vertex(aimock, google), ask("I ask too often"))


def azure(aimock: Aimock, *, version: str = "2024-10-21", key: str = "", model: str = "my-deployment") -> Target:
    row = factory_of("azure-openai")
    url = aimock.base_url.removesuffix("/v1")
    credential = CredentialFields({"api_version": version}, OpenSecret(key or aimock.api_key, origin_of(url)))
    return Target(
        "Azure-OpenAI", model, url, row["dialect"], row["signer"], Quirks.from_data(row["quirks"]), credential
    )


@pytest.mark.parametrize("version", ["2024-10-21", ""])
def test_azure_answers_whole_and_streamed_in_both_forms(aimock: Aimock, version: str) -> None:
    target = azure(aimock, version=version)
    assert chat(target, ask("Hello"))["choices"][0]["message"]["content"] == "Hello from aimock."
    answer, finished = streamed(target, ask("Hello"))
    assert finished
    assert (answer["message"]["content"], answer["finish_reason"]) == ("Hello from aimock.", "stop")


@pytest.mark.parametrize("version", ["2024-10-21", ""])
def test_azure_embeds_in_both_forms(aimock: Aimock, version: str) -> None:
    target = azure(aimock, version=version, model="an-embedding-model")
    reply = call(target, Operation.EMBEDDINGS, {"input": ["Hello"]}, policy=POLICY)
    assert isinstance(reply, Embeddings)
    assert [len(vector) for vector in reply] == [DIMENSIONS]


def test_a_tool_is_called_on_azure_and_its_result_goes_back(aimock: Aimock) -> None:
    choice = chat(azure(aimock), ask("How is the weather?", tools=TOOLS, tool_choice="auto"))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    (called,) = choice["message"]["tool_calls"]
    result = {"role": "tool", "tool_call_id": called["id"], "content": "sunny"}
    again = ask("How is the weather?", choice["message"], result, tools=TOOLS)
    assert chat(azure(aimock), again)["choices"][0]["message"]["content"] == "It is sunny."


def test_failures_of_azure_are_told_apart(aimock: Aimock) -> None:
    with pytest.raises(AuthenticationFailed):
        chat(azure(aimock, key="wrong-0123456789"), ask("Hello"))
    with pytest.raises(RateLimited):
        chat(azure(aimock), ask("I ask too often"))
