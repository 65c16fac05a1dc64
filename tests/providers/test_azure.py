"""Azure OpenAI: both forms of its API, its key, and Microsoft Entra's tokens; judged by OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from openai import AzureOpenAI, OpenAI

from core.origins import origin_of
from core.secrets import OpenSecret, SecretMisdirected
from providers import signers
from providers.calls import call
from providers.dialects import get
from providers.errors import (
    AuthenticationFailed,
    ContentFiltered,
    ModelNotFound,
    RateLimited,
    Unsupported,
    UpstreamError,
    WrongURL,
)
from providers.probe_payloads import silent_wav
from providers.quirks import Quirks
from providers.target import CredentialFields, Target
from providers.wire import Operation, UpstreamRequest
from tests.fakes.upstream import FakeUpstream, Handler
from tests.providers.exchange_cases import POLICY, chat, numbers_tokens
from tests.providers.exchanges import factory_of

ROW: dict[str, Any] = factory_of("azure-openai")
RESOURCE = "https://my-resource.openai.azure.com"
DATED = "2024-10-21"
TENANT, CLIENT = "contoso.onmicrosoft.com", "00001111-aaaa-2222-bbbb-3333cccc4444"
CLIENT_SECRET = "qWgdYAmab0YSkuL1qKv5bPX~words.nobody_knows"
ENTRA = {"auth_mode": "entra_id", "entra_tenant_id": TENANT, "entra_client_id": CLIENT}
PAYLOADS: dict[Operation, dict[str, Any]] = {
    Operation.CHAT: {"messages": [{"role": "user", "content": "Hi"}]},
    Operation.EMBEDDINGS: {"input": ["a"]},
    Operation.TRANSCRIPTION: {"file": silent_wav()},
    Operation.SPEECH: {"input": "a", "voice": "alloy"},
    Operation.MODELS: {},
}
ASKS: dict[Operation, Callable[[OpenAI, str], Any]] = {
    Operation.CHAT: lambda client, name: client.chat.completions.create(
        model=name, messages=[{"role": "user", "content": "Hi"}]
    ),
    Operation.EMBEDDINGS: lambda client, name: client.embeddings.create(model=name, input=["a"]),
    Operation.TRANSCRIPTION: lambda client, name: client.audio.transcriptions.create(
        model=name, file=("a.wav", silent_wav())
    ),
    Operation.SPEECH: lambda client, name: client.audio.speech.create(model=name, input="a", voice="alloy"),
    Operation.MODELS: lambda client, name: client.models.list(),
}


def target(base_url: str = RESOURCE, model: str = "gpt-4o", *, key: str = "k", also: str = "", **fields: str) -> Target:
    quirks = Quirks.from_data({**ROW["quirks"], **({"token_url": also} if also else {})})
    secret = OpenSecret(key, origin_of(base_url), [origin_of(quirks.token_url)])
    of = CredentialFields(fields, secret)
    return Target("Azure-OpenAI", model, base_url, ROW["dialect"], ROW["signer"], quirks, of, own_base_url=True)


def built(operation: Operation, to: Target) -> UpstreamRequest:
    return get(to.dialect).build(operation, PAYLOADS[operation], to)


@pytest.mark.parametrize("operation", ASKS)
@pytest.mark.parametrize("version", ["", DATED])
def test_calls_go_where_openais_own_client_sends_them(operation: Operation, version: str) -> None:
    with FakeUpstream(key=None) as azure:
        root, options = azure.root, {"api_key": "k", "max_retries": 0}
        client: OpenAI
        if version:
            client = AzureOpenAI(azure_endpoint=root, api_version=version, **options)
        else:
            client = OpenAI(base_url=f"{root}/openai/v1", **options)
        with client, pytest.raises(Exception, match="404"):
            ASKS[operation](client, "my deployment")
        with pytest.raises(UpstreamError):
            call(target(root, "my deployment", api_version=version), operation, PAYLOADS[operation], policy=POLICY)
        theirs, ours = azure.requests
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)
    assert ours.headers["api-key"] == "k"
    if operation in (Operation.CHAT, Operation.EMBEDDINGS):
        assert ours.json["model"] == theirs.json["model"]


@pytest.mark.parametrize(
    "pasted",
    [
        *("", "/", "/openai", "/openai/v1", "/openai/v1/", "/openai/deployments/other"),
        *("/openai/deployments/other/chat/completions", "/openai/v1/chat/completions"),
    ],
)
def test_whatever_of_the_path_is_pasted_the_call_is_the_same(pasted: str) -> None:
    for base in (RESOURCE, "https://proxy.example/azure"):
        to = target(base + pasted)
        assert built(Operation.CHAT, to).url == f"{base}/openai/v1/chat/completions"
        to = target(base + pasted, api_version=DATED)
        assert built(Operation.CHAT, to).url == (
            f"{base}/openai/deployments/gpt-4o/chat/completions?api-version={DATED}"
        )


@pytest.mark.parametrize("version", ["v1", "latest", "preview", "2024", "2024-10-21&x=1", "2024-10-21/..", " "])
def test_what_is_no_date_means_the_v1_api(version: str) -> None:
    assert built(Operation.CHAT, target(api_version=version)).url == f"{RESOURCE}/openai/v1/chat/completions"


def test_a_preview_is_a_date_too_and_a_deployments_name_stays_in_its_place() -> None:
    to = target(model="../other?x", api_version="2025-04-01-preview")
    assert built(Operation.EMBEDDINGS, to).url == (
        f"{RESOURCE}/openai/deployments/..%2Fother%3Fx/embeddings?api-version=2025-04-01-preview"
    )


def test_models_that_reason_get_their_parameters_whatever_the_form() -> None:
    for version in ("", DATED):
        to = target(model="gpt-5", api_version=version)
        asked = {**PAYLOADS[Operation.CHAT], "max_tokens": 5, "temperature": 0.1}
        body = json.loads(get("openai").build(Operation.CHAT, asked, to).body or b"")
        assert body["max_completion_tokens"] == 5
        assert "temperature" not in body


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"field": "f", "path": "/a/{model}", "list_path": "/a"}, "quirks.dated: parameter missing"),
        ({"field": "f", "path": "a", "list_path": "/a", "parameter": "v"}, "quirks.dated.path: "),
        (["x"], "quirks.dated: "),
    ],
)
def test_a_malformed_quirk_is_named(data: Any, path: str) -> None:
    with pytest.raises(ValueError, match="quirks") as caught:
        Quirks.from_data({"dated": data})
    assert str(caught.value).startswith(path)


ERRORS = [
    (401, {"code": "401", "message": "Access denied due to invalid subscription key."}, AuthenticationFailed),
    (404, {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}, ModelNotFound),
    (404, {"code": "404", "message": "Resource not found"}, WrongURL),
    (
        429,
        {"code": "429", "message": "Requests have exceeded call rate limit of your current pricing tier."},
        RateLimited,
    ),
    (
        400,
        {
            "code": "content_filter",
            "message": "The response was filtered due to the prompt.",
            "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
        },
        ContentFiltered,
    ),
]


@pytest.mark.parametrize(("status", "error", "kind"), ERRORS)
def test_each_of_its_errors_has_its_class(status: int, error: dict[str, Any], kind: type[UpstreamError]) -> None:
    with pytest.raises(UpstreamError) as caught:
        get("openai").parse(Operation.CHAT, status, {}, json.dumps({"error": error}).encode())
    assert type(caught.value) is kind


# Microsoft Entra


@pytest.fixture
def azure(upstream: FakeUpstream) -> FakeUpstream:
    """A resource under /v1, and where its tokens come from, at the root."""
    numbers_tokens(upstream, f"/{TENANT}/oauth2/v2.0/token")
    return upstream


def with_entra(azure: FakeUpstream, **fields: str) -> Target:
    """The fake upstream has its calls at its root's /v1, and checks the token."""
    to = target(azure.url, key=fields.pop("key", CLIENT_SECRET), also=azure.root, **{**ENTRA, **fields})
    quirks = Quirks.from_data({"version_path": "/v1", "token_url": azure.root})
    return Target("Azure-OpenAI", "fake-chat", azure.url, "openai", "azure", quirks, to.credential)


def test_an_applications_secret_buys_a_token_for_many_calls(azure: FakeUpstream) -> None:
    to = with_entra(azure)
    for _ in range(3):
        assert chat(to)["choices"]
    asked = [received for received in azure.requests if received.path.endswith("/token")]
    assert len(asked) == 1
    assert {name: values[0] for name, values in parse_qs(asked[0].body.decode()).items()} == {
        "grant_type": "client_credentials",
        "client_id": CLIENT,
        "client_secret": CLIENT_SECRET,
        "scope": "https://cognitiveservices.azure.com/.default",
    }
    assert azure.requests[-1].headers["authorization"] == "Bearer token-1"
    assert "api-key" not in azure.requests[-1].headers


def test_a_token_that_was_taken_back_is_replaced_once(azure: FakeUpstream) -> None:
    to = with_entra(azure, entra_client_id=CLIENT.replace("4444", "5555"))
    chat(to)
    azure.key = "another"
    assert chat(to)["choices"]
    assert azure.calls[f"/{TENANT}/oauth2/v2.0/token"] == 2


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (401, "invalid_client", "AADSTS7000215: Invalid client secret provided."),
        (400, "unauthorized_client", "AADSTS700016: Application was not found in the directory."),
        (400, "invalid_request", "AADSTS90002: Tenant not found."),
    ],
)
def test_what_entra_refuses_is_a_wrong_key_and_never_shown(
    azure: FakeUpstream, status: int, error: str, said: str
) -> None:
    def refuses(handler: Handler) -> None:
        text = f"{said} Sent: {handler.request_now.body.decode()} {CLIENT_SECRET}"
        data = {"error": error, "error_description": text, "error_codes": [1], "correlation_id": "x"}
        handler.json(data, status=status)

    azure.behave(f"/{TENANT}/oauth2/v2.0/token", refuses)
    with pytest.raises(AuthenticationFailed) as caught:
        chat(with_entra(azure, entra_client_id=CLIENT.replace("4444", f"66{status}"[:4])))
    shown = repr(vars(caught.value)) + str(caught.value)
    assert said.partition(":")[0] in shown
    assert "nobody_knows" not in shown
    assert azure.calls["/chat/completions"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"entra_tenant_id": ""},
        {"entra_tenant_id": "a/b"},
        {"entra_tenant_id": "common?x="},
        {"entra_client_id": ""},
        {"entra_client_id": "me"},
        {"key": " "},
    ],
)
def test_an_incomplete_application_is_told_before_anything_is_sent(azure: FakeUpstream, fields: dict[str, str]) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        chat(with_entra(azure, **fields))
    assert "portal" in caught.value.hint
    assert azure.connections == 0


def test_the_client_secret_goes_to_the_declared_address_only() -> None:
    request, signer = built(Operation.CHAT, target()), signers.get("azure")
    of = target(key=CLIENT_SECRET, **ENTRA).credential
    exchange = signer.exchange(request, of, "https://login.microsoftonline.com")
    assert exchange is not None
    assert exchange.build().request.url == f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
    assert CLIENT_SECRET not in repr(exchange) + repr(exchange.build())
    with pytest.raises(SecretMisdirected):
        signer.exchange(request, of, "https://login.evil.example")
    with pytest.raises(WrongURL):
        signer.exchange(request, of, "")


def test_an_unknown_mode_is_unsupported_and_a_key_needs_no_exchange() -> None:
    request, signer = built(Operation.CHAT, target()), signers.get("azure")
    with pytest.raises(Unsupported, match="magic"):
        signer.exchange(request, target(auth_mode="magic").credential, "https://login.microsoftonline.com")
    for mode in ("", "api_key"):
        assert signer.exchange(request, target(auth_mode=mode).credential, "") is None
    assert signer.sign(request, CredentialFields()) == request
