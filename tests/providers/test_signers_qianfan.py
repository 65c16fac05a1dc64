"""Baidu's Qianfan: the signature of its documentation, the exchange on a socket, and the row that we ship."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from core.origins import origin_of
from core.secrets import OpenSecret, SecretMisdirected
from providers import signers
from providers.calls import call
from providers.dialects import get
from providers.errors import AuthenticationFailed, BadReply, PermissionDenied, RateLimited, UpstreamError, WrongURL
from providers.llm_types import LLMType
from providers.probe_payloads import check_reply, probe_payload
from providers.signers.pairs import Pair
from providers.signers.qianfan import asking, authorization
from providers.target import CredentialFields, Target
from providers.wire import Operation, UpstreamRequest, operation_for
from tests.fakes.upstream import FakeUpstream, Handler
from tests.providers import exchanges
from tests.providers.exchange_cases import POLICY, chat, target
from tests.providers.exchanges import golden, quirks_of

NAME = "qianfan"
PATH = "/BCE-BEARER/token"  # under the fake's /v1
API_KEY = "bce-v3/ALTAK-canary0123456789/0123456789abcdef"
REQUEST = UpstreamRequest("POST", "https://qianfan.baidubce.com/v2/chat/completions", {}, b"{}")
openai = get("openai")


def pair(tail: str) -> str:
    """Keys of a test of its own, so that no token of another is used."""
    return json.dumps({"yiyan_ak": f"ALTAKcanary{tail}", "yiyan_sk": "canary-secret-0123456789"})


def iam(upstream: FakeUpstream) -> None:
    """Gives a numbered key to whoever signs rightly, by its own reckoning."""

    def answer(handler: Handler) -> None:
        request = handler.request_now
        said = request.headers["authorization"]
        start, names, signature = said.rsplit("/", 2)
        key = hmac.digest(b"canary-secret-0123456789", start.encode(), hashlib.sha256).hex()
        lines = [f"{name}:{quote(request.headers[name], safe='')}" for name in names.split(";")]
        canonical = "\n".join(("GET", "/v1/BCE-BEARER/token", request.query, *lines))
        if hmac.digest(key.encode(), canonical.encode(), hashlib.sha256).hex() != signature:
            handler.json({"requestId": "r", "code": "SignatureDoesNotMatch", "message": f"not {said}"}, status=403)
            return
        upstream.key = f"bce-v3/ALTAK-{upstream.calls[PATH]}/0123456789abcdef"
        until = "2999-11-29T06:09:57.000Z"
        handler.json({"userId": "u", "token": upstream.key, "status": "enable", "expireTime": until})

    upstream.behave(PATH, answer)


def test_a_signature_is_the_one_of_the_documentation() -> None:
    headers = {
        "host": "bj.bcebos.com",
        "content-type": "text/plain",
        "content-length": "8",
        "content-md5": "NFzcPqhviddjRNnSOGo4rw==",
        "x-bce-date": "2015-04-27T08:23:49Z",
    }
    query = {"partNumber": "9", "uploadId": "a44cc9bab11cbd156984767aad637851"}
    path, keys = "/v1/test/myfolder/readme.txt", Pair("a" * 32, "b" * 32)
    assert authorization("PUT", path, query, headers, keys, "2015-04-27T08:23:49Z") == (
        "bce-auth-v1/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/2015-04-27T08:23:49Z/1800/"
        "content-length;content-md5;content-type;host;x-bce-date/"
        "d74a04362e6a848f5b39b15421cb449427f419c95a480fd6b8cf9fc783e2999e"
    )


def test_the_request_for_a_key_is_the_documented_one() -> None:
    at = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
    request = asking("https://iam.bj.baidubce.com/v1/BCE-BEARER/token", Pair("ALTAK", "s"), at)
    assert (request.method, request.body) == ("GET", None)
    assert request.url == "https://iam.bj.baidubce.com/v1/BCE-BEARER/token?expireInSeconds=86400"
    assert request.headers["x-bce-date"] == "2026-03-01T12:30:05Z"
    assert request.headers["Authorization"].startswith("bce-auth-v1/ALTAK/2026-03-01T12:30:05Z/1800/host;x-bce-date/")


@pytest.mark.parametrize(
    "secret",
    [
        API_KEY,
        json.dumps({"yiyan_ak": API_KEY}),
        json.dumps({"yiyan_ak": API_KEY, "yiyan_sk": ""}),
        json.dumps({"yiyan_ak": API_KEY, "yiyan_sk": "x"}),
    ],
)
def test_an_api_key_is_sent_as_it_is(secret: str) -> None:
    credential = CredentialFields({}, OpenSecret(secret, REQUEST.origin))
    signer = signers.get(NAME)
    assert signer.exchange(REQUEST, credential, "https://iam.bj.baidubce.com") is None
    assert signer.sign(REQUEST, credential).headers["Authorization"] == f"Bearer {API_KEY}"


def test_a_key_of_another_shape_that_stands_alone_is_sent_too() -> None:
    credential = CredentialFields({}, OpenSecret(json.dumps({"yiyan_ak": "sk-of-a-proxy"}), REQUEST.origin))
    assert signers.get(NAME).sign(REQUEST, credential).headers["Authorization"] == "Bearer sk-of-a-proxy"


@pytest.mark.parametrize("credential", [CredentialFields(), CredentialFields({}, OpenSecret(" ", REQUEST.origin))])
def test_without_keys_a_request_goes_unsigned(credential: CredentialFields) -> None:
    assert signers.get(NAME).exchange(REQUEST, credential, "https://iam.bj.baidubce.com") is None
    assert signers.get(NAME).sign(REQUEST, credential) == REQUEST


def test_keys_are_used_only_where_they_belong() -> None:
    elsewhere = CredentialFields({}, OpenSecret(pair("place"), "https://evil.example:443"))
    with pytest.raises(SecretMisdirected):
        signers.get(NAME).exchange(REQUEST, elsewhere, "https://iam.bj.baidubce.com")
    here = CredentialFields({}, OpenSecret(pair("place"), REQUEST.origin))
    with pytest.raises(SecretMisdirected):
        signers.get(NAME).exchange(REQUEST, here, "https://evil.example")
    with pytest.raises(WrongURL):
        signers.get(NAME).exchange(REQUEST, here, "")


def test_two_keys_are_exchanged_once_for_many_calls(upstream: FakeUpstream) -> None:
    iam(upstream)
    to = target(upstream, NAME, pair("many"))
    for _ in range(3):
        assert chat(to)["choices"]
    assert (upstream.calls[PATH], upstream.calls["/chat/completions"]) == (1, 3)
    assert upstream.requests[-1].headers["authorization"] == f"Bearer {upstream.key}"


def test_a_key_that_ran_out_is_replaced(upstream: FakeUpstream) -> None:
    iam(upstream)
    to = target(upstream, NAME, pair("ran-out"))
    chat(to)
    upstream.key = "another"
    assert chat(to)["choices"]
    assert (upstream.calls[PATH], upstream.calls["/chat/completions"]) == (2, 3)


def fail(kind: type[UpstreamError], upstream: FakeUpstream, tail: str, **changed: str) -> UpstreamError:
    with pytest.raises(kind) as caught:
        chat(target(upstream, NAME, json.dumps({**json.loads(pair(tail)), **changed})))
    assert type(caught.value) is kind
    assert caught.value.step == "sign"
    assert "canary" not in repr(vars(caught.value)) + str(caught.value)
    assert upstream.calls["/chat/completions"] == 0
    return caught.value


def test_keys_that_are_refused_are_told_with_what_else_there_is(upstream: FakeUpstream) -> None:
    iam(upstream)
    error = fail(AuthenticationFailed, upstream, "wrong", yiyan_sk="canary-of-another")
    assert "bce-v3" in error.hint
    assert upstream.requests[0].headers["authorization"] not in repr(vars(error))


@pytest.mark.parametrize(
    ("status", "data", "kind"),
    [
        (400, {"code": "InvalidHTTPAuthHeader", "message": "m"}, AuthenticationFailed),
        (401, {"code": "Unauthorized", "message": "m"}, AuthenticationFailed),
        (403, {"code": "InvalidAccessKeyId", "message": "m"}, AuthenticationFailed),
        (403, {"code": "AccessDenied", "message": "IAMManageAPIKeyPolicy"}, PermissionDenied),
        (429, {"code": "RequestLimit", "message": "m"}, RateLimited),
        (200, {"status": "enable"}, BadReply),
        (200, {"token": "bce-v3/canary", "expireTime": "soon"}, BadReply),
        (200, {"token": 1, "expireTime": "2999-11-29T06:09:57Z"}, BadReply),
        (200, [], BadReply),
    ],
)
def test_what_else_the_exchange_may_answer(
    upstream: FakeUpstream, status: int, data: Any, kind: type[UpstreamError]
) -> None:
    upstream.status(PATH, status, data)
    fail(kind, upstream, f"{status}-{kind.code}")


# The row that we ship


@pytest.mark.parametrize(
    ("name", "operation"), [("rerank_qianfan", Operation.RERANK), ("embeddings_qianfan", Operation.EMBEDDINGS)]
)
def test_the_row_speaks_openais_format(name: str, operation: Operation) -> None:
    case = golden("openai", name)
    exchanges.check_request(openai, operation, case)
    parsed = exchanges.parsed(openai, operation, case)
    assert [list(item) for item in parsed] == case["parsed"]
    assert parsed.usage == case["reply"]["json"]["usage"]


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        (LLMType.CHAT, "ernie-4.5-turbo-128k"),
        (LLMType.IMAGE2TEXT, "ernie-4.5-turbo-vl"),
        (LLMType.EMBEDDING, "embedding-v1"),
        (LLMType.RERANK, "bce-reranker-base"),
    ],
)
def test_a_probe_of_each_type_says_ok(kind: LLMType, model: str) -> None:
    with FakeUpstream(key=API_KEY, models=[model]) as upstream:
        quirks = quirks_of("baiduyiyan", model)
        credential = CredentialFields({}, OpenSecret(json.dumps({"yiyan_ak": API_KEY}), origin_of(upstream.url)))
        to = Target("BaiduYiyan", model, upstream.url, "openai", NAME, quirks, credential, own_base_url=True)
        check_reply(kind, call(to, operation_for(kind), probe_payload(kind, quirks), policy=POLICY))


def test_the_rows_own_errors_are_understood() -> None:
    body = json.dumps(
        {"error": {"code": "invalid_iam_token", "message": "IAM Certification failed", "type": "invalid_request_error"}}
    ).encode()
    with pytest.raises(AuthenticationFailed):
        openai.parse(Operation.CHAT, 401, exchanges.JSON, body)
