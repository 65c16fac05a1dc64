"""What goes wrong at a vendor's, in every format that a third party's simulator has, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.origins import origin_of
from core.secrets import OpenSecret
from providers.errors import (
    AuthenticationFailed,
    BadReply,
    ModelNotFound,
    Overloaded,
    RateLimited,
    ServerFailed,
    Unreachable,
    UpstreamError,
)
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from tests.aimock import Aimock
from tests.providers.test_dialects_aimock import ask, chat, streamed

By = Callable[[Target, dict[str, Any]], Any]
# How each format reaches the simulator: dialect, signer, model, quirks and plain fields of the credential.
FORMATS: dict[str, tuple[str, str, str, dict[str, Any], dict[str, str]]] = {
    "openai": ("openai", "bearer", "gpt-5", {"version_path": "/v1"}, {}),
    "azure": ("openai", "header:api-key", "deployment", {"version_path": "/openai/v1"}, {}),
    "anthropic": ("anthropic", "header:x-api-key", "claude-sonnet-4-6", {"version_path": "/v1"}, {}),
    "gemini": ("gemini", "header:x-goog-api-key", "gemini-2.5-flash", {"version_path": "/v1beta"}, {}),
    "vertex": (
        *("vertex", "bearer", "gemini-2.5-flash", {"version_path": "/v1"}),
        {"google_project_id": "project-1", "google_region": "us-central1"},
    ),
    "bedrock": ("bedrock", "bearer", "anthropic.claude-3-5-sonnet-20240620-v1:0", {}, {}),
    "cohere": ("cohere", "bearer", "command-a-03-2025", {}, {}),
    "ollama": ("ollama", "bearer", "llama3.2", {}, {}),
}


@pytest.fixture(params=FORMATS)
def reach(request: pytest.FixtureRequest, aimock: Aimock) -> Callable[..., Target]:
    """Makes the target of one format."""
    dialect, signer, model, quirks, fields = FORMATS[request.param]
    url = aimock.base_url.removesuffix("/v1")

    def target(key: str = aimock.api_key) -> Target:
        credential = CredentialFields(fields, OpenSecret(key, origin_of(url)))
        return Target(request.param, model, url, dialect, signer, Quirks.from_data(quirks), credential)

    return target


whole_and_streamed = pytest.mark.parametrize("by", [chat, streamed], ids=["whole", "streamed"])


@whole_and_streamed
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("I ask too often", RateLimited),
        ("Are you busy?", Overloaded),
        ("An unknown model, please", ModelNotFound),
        ("Will you fall over?", ServerFailed),
        ("Please hang up", Unreachable),
    ],
)
def test_each_fault_is_its_member_of_the_tree(
    reach: Callable[..., Target], by: By, said: str, kind: type[UpstreamError]
) -> None:
    with pytest.raises(UpstreamError) as caught:
        by(reach(), ask(said))
    assert type(caught.value) is kind
    assert caught.value.retry_after_s == (7 if kind is RateLimited else None)
    assert caught.value.hint


@whole_and_streamed
def test_a_wrong_key_is_told_and_not_repeated(reach: Callable[..., Target], by: By) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        by(reach("sk-wrong-0123456789"), ask("Hello"))
    assert "sk-wrong" not in repr(vars(caught.value))


@whole_and_streamed
def test_what_is_no_json_is_a_bad_reply(reach: Callable[..., Target], by: By) -> None:
    with pytest.raises(BadReply) as caught:
        by(reach(), ask("Please garble it"))
    assert "Expecting value" not in str(caught.value)


def test_a_stream_that_breaks_off_is_no_whole_answer(reach: Callable[..., Target]) -> None:
    try:
        answer, finished = streamed(reach(), ask("Please break off"))
    except BadReply as error:
        assert error.step == "body"
    else:
        assert not finished
        assert answer["finish_reason"] is None


def test_what_is_streamed_is_what_comes_whole(reach: Callable[..., Target]) -> None:
    (choice,) = chat(reach(), ask("Hello"))["choices"]
    answer, finished = streamed(reach(), ask("Hello"))
    assert finished
    assert (answer["message"]["content"], answer["finish_reason"]) == (
        choice["message"]["content"],
        choice["finish_reason"],
    )
