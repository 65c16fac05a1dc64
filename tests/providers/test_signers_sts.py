"""Roles on AWS: assumed with the tenant's keys or with the installation's, held against AWS's own library."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import botocore.session
import pytest
import time_machine
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials
from botocore.parsers import create_parser

from core.origins import origin_of
from core.secrets import OpenSecret
from providers import signers
from providers.errors import (
    AuthenticationFailed,
    BadReply,
    GenericUpstreamError,
    PermissionDenied,
    RateLimited,
    ServerFailed,
    Unsupported,
    UpstreamError,
    Verdict,
    WrongURL,
)
from providers.quirks import Quirks
from providers.signers.exchange import Exchange
from providers.signers.sigv4 import Keys, Scope, signed
from providers.target import CredentialFields, Target
from providers.wire import UpstreamRequest, UpstreamResponse
from tests.fakes.upstream import FakeUpstream, Handler
from tests.providers.exchange_cases import chat

AT = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
SIGNER = "sigv4:bedrock"
HOST = "https://bedrock-runtime.eu-west-1.amazonaws.com"
STS = "https://sts.eu-west-1.amazonaws.com"
ROLE = "arn:aws:iam::123456789012:role/team/llm"
ACCESS, HIDDEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
OUR_ACCESS, OUR_HIDDEN = "AKIDINSTALLATION", "own/SecretKey+OfTheInstallation0123456789"
OURS = json.dumps({"aws_access_key_id": OUR_ACCESS, "aws_secret_access_key": OUR_HIDDEN})
THEIRS = json.dumps({"bedrock_ak": ACCESS, "bedrock_sk": HIDDEN})
TENANT = "0123456789abcdef0123456789abcdef"


def granted(access_key: str = "ASIATEMPORARY1", *, until: datetime | None = None) -> bytes:
    until = until or datetime.now(UTC) + timedelta(hours=1)
    return f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <Arn>arn:aws:sts::123456789012:assumed-role/llm/llmadmin</Arn>
      <AssumedRoleId>ARO123EXAMPLE123:llmadmin</AssumedRoleId>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>{access_key}</AccessKeyId>
      <SecretAccessKey>temporary/SecretKey&amp;+0123456789abcdef</SecretAccessKey>
      <SessionToken>FwoGZXIvYXdzEBYaD//////////wEXAMPLE==</SessionToken>
      <Expiration>{until.strftime("%Y-%m-%dT%H:%M:%SZ")}</Expiration>
    </Credentials>
    <PackedPolicySize>6</PackedPolicySize>
  </AssumeRoleResult>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</AssumeRoleResponse>""".encode()


def refused(code: str, message: str = "no") -> bytes:
    return f"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
  <RequestId>c6104cbe</RequestId>
</ErrorResponse>""".encode()


def credential(
    url: str, token_url: str, mode: str = "assume_role", *, ours: bool = True, **changes: str
) -> CredentialFields:
    fields = {"auth_mode": mode, "aws_role_arn": ROLE, "bedrock_region": "eu-west-1", **changes}
    further = [origin_of(token_url)]
    secret = OpenSecret(THEIRS, origin_of(url), further) if mode == "assume_role" else None
    installation = OpenSecret(OURS, origin_of(token_url)) if ours and mode == "iam_role" else None
    owner = TENANT if mode == "iam_role" else ""
    return CredentialFields(fields, secret, owner=owner, installation=installation)


def exchange(mode: str = "assume_role", **changes: str) -> Exchange:
    found = signers.get(SIGNER).exchange(request(), credential(HOST, STS, mode, **changes), STS)
    assert found is not None
    return found


def request(url: str = HOST) -> UpstreamRequest:
    return UpstreamRequest("POST", f"{url}/model/m/converse", {"Content-Type": "application/json"}, b"{}")


def form_of(asked: UpstreamRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs((asked.body or b"").decode()).items()}


def as_aws_asks(**parameters: Any) -> AWSRequest:
    """The request that AWS's own client makes."""
    client = botocore.session.get_session().create_client(
        "sts", region_name="eu-west-1", aws_access_key_id=ACCESS, aws_secret_access_key=HIDDEN
    )
    seen: list[AWSRequest] = []

    class Raw:
        def stream(self) -> Any:
            yield granted()

        def read(self) -> bytes:
            return granted()

    def answer(request: AWSRequest, **more: Any) -> AWSResponse:
        seen.append(request)
        return AWSResponse(request.url, 200, {"content-type": "text/xml"}, Raw())

    client.meta.events.register("before-send.sts.AssumeRole", answer)
    client.assume_role(**parameters)
    return seen[0]


@pytest.mark.parametrize("external", ["", TENANT])
def test_the_form_is_the_one_that_awss_library_sends(external: str) -> None:
    mode = "iam_role" if external else "assume_role"
    with time_machine.travel(AT, tick=False):
        ours = exchange(mode).build().request
        session = form_of(ours)["RoleSessionName"]
        more = {"ExternalId": external} if external else {}
        theirs = as_aws_asks(RoleArn=ROLE, RoleSessionName=session, DurationSeconds=3600, **more)
    assert form_of(ours) == {name: values[0] for name, values in parse_qs(theirs.body).items()}
    assert (ours.method, ours.url) == (theirs.method, theirs.url)


@pytest.mark.parametrize(("mode", "keys"), [("assume_role", (ACCESS, HIDDEN)), ("iam_role", (OUR_ACCESS, OUR_HIDDEN))])
def test_the_request_is_signed_as_awss_library_signs_it(mode: str, keys: tuple[str, str]) -> None:
    with time_machine.travel(AT, tick=False):
        ours = exchange(mode).build().request
        theirs = AWSRequest("POST", ours.url, headers={"Content-Type": ours.headers["Content-Type"]}, data=ours.body)
        SigV4Auth(Credentials(*keys), "sts", "eu-west-1").add_auth(theirs)
    assert ours.headers["Authorization"] == theirs.headers["Authorization"]


def test_the_keys_are_those_that_awss_library_reads() -> None:
    body = granted(until=AT)
    ours = exchange().parse(UpstreamResponse(200, {}, body, 1))
    shape = botocore.session.get_session().get_service_model("sts").operation_model("AssumeRole").output_shape
    theirs = create_parser("query").parse({"body": body, "headers": {}, "status_code": 200}, shape)["Credentials"]
    assert ours.values == {name: theirs[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")}
    assert ours.expires_at == theirs["Expiration"]


def test_a_call_is_signed_with_the_temporary_keys() -> None:
    found = exchange()
    token = found.parse(UpstreamResponse(200, {}, granted(until=AT + timedelta(hours=1)), 1))
    with time_machine.travel(AT, tick=False):
        done = signers.get(SIGNER).sign(request(), credential(HOST, STS), token)
    keys = Keys("ASIATEMPORARY1", "temporary/SecretKey&+0123456789abcdef", "FwoGZXIvYXdzEBYaD//////////wEXAMPLE==")
    assert done == signed(request(), keys, Scope("eu-west-1", "bedrock"), AT)
    for thing in (token, found):
        assert "temporary/" not in repr(thing)
        assert HIDDEN not in repr(thing)


# On a socket


@pytest.fixture
def aws(upstream: FakeUpstream) -> FakeUpstream:
    """STS at the root, whose keys are numbered; a call is answered whoever signed it. Without the tenant's external id
    the role is nobody's."""
    upstream.key = None

    def answer(handler: Handler) -> None:
        form = parse_qs(handler.request_now.body.decode())
        if "AKIDINSTALLATION" in handler.request_now.headers["authorization"] and "ExternalId" not in form:
            handler.reply(403, "text/xml", refused("AccessDenied"), {})
        else:
            handler.reply(200, "text/xml", granted(f"ASIANUMBER{upstream.calls['/']}"), {})

    upstream.behave("/", answer)
    return upstream


def target(aws: FakeUpstream, mode: str, *, ours: bool = True, **changes: str) -> Target:
    quirks = Quirks.from_data({"token_url": aws.root})
    of = credential(aws.url, aws.root, mode, ours=ours, **changes)
    return Target("Fake", "fake-chat", aws.url, signer=SIGNER, quirks=quirks, credential=of)


def forms(aws: FakeUpstream) -> list[dict[str, list[str]]]:
    return [parse_qs(received.body.decode()) for received in aws.requests if received.path == "/"]


def test_a_role_is_assumed_once_for_many_calls(aws: FakeUpstream) -> None:
    to = target(aws, "assume_role", aws_role_arn=f"{ROLE}-once")
    for _ in range(3):
        assert chat(to)["choices"]
    assert (aws.calls["/"], aws.calls["/chat/completions"]) == (1, 3)
    assert "Credential=ASIANUMBER1/" in aws.requests[-1].headers["authorization"]
    assert "ExternalId" not in forms(aws)[0]


def test_the_installation_assumes_a_role_for_its_tenant_only(aws: FakeUpstream) -> None:
    to = target(aws, "iam_role", aws_role_arn=f"{ROLE}-ours")
    for _ in range(2):
        assert chat(to)["choices"]
    without, with_it = forms(aws)
    assert "ExternalId" not in without
    assert with_it["ExternalId"] == [TENANT]
    assert with_it["RoleSessionName"] == [f"llmadmin-{TENANT}"]
    assert "Credential=ASIANUMBER2/" in aws.requests[-1].headers["authorization"]


def test_a_role_that_anybody_could_name_is_not_used(aws: FakeUpstream) -> None:
    aws.raw("/", granted(), content_type="text/xml")
    with pytest.raises(PermissionDenied) as caught:
        chat(target(aws, "iam_role", aws_role_arn=f"{ROLE}-open"))
    assert TENANT in caught.value.hint
    assert (aws.calls["/"], aws.calls["/chat/completions"]) == (1, 0)


@pytest.mark.parametrize("ours", [True, False])
def test_without_keys_of_its_own_or_a_tenant_the_installation_assumes_nothing(aws: FakeUpstream, ours: bool) -> None:
    to = target(aws, "iam_role", ours=ours)
    of = CredentialFields(
        to.credential.fields, None, owner="" if ours else TENANT, installation=to.credential.installation
    )
    with pytest.raises(Unsupported) as caught:
        chat(Target("Fake", "fake-chat", aws.url, signer=SIGNER, quirks=to.quirks, credential=of))
    assert "assume_role" in caught.value.hint
    assert caught.value.step == "sign"
    assert aws.connections == 0


def test_keys_that_expired_early_are_replaced_once(aws: FakeUpstream) -> None:
    to = target(aws, "assume_role", aws_role_arn=f"{ROLE}-early")
    chat(to)

    def expired(handler: Handler) -> None:
        if "ASIANUMBER1/" in handler.request_now.headers["authorization"]:
            handler.json({"error": {"message": "expired", "code": "invalid_token"}}, status=401)
        else:
            handler.answer()

    aws.behave("/chat/completions", expired)
    assert chat(to)["choices"]
    assert aws.calls["/"] == 2


@pytest.mark.parametrize("mode", ["assume_role", "iam_role"])
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", PermissionDenied),
        (403, "RegionDisabledException", PermissionDenied),
        (403, "InvalidClientTokenId", AuthenticationFailed),
        (403, "SignatureDoesNotMatch", AuthenticationFailed),
        (400, "ValidationError", AuthenticationFailed),
        (400, "Throttling", RateLimited),
        (500, "InternalFailure", ServerFailed),
    ],
)
def test_a_refusal_becomes_its_member_of_the_tree(
    aws: FakeUpstream, status: int, code: str, kind: type[UpstreamError], mode: str
) -> None:
    aws.raw("/", refused(code, f"not for {HIDDEN}"), status=status, content_type="text/xml")
    if mode == "iam_role" and code in ("InvalidClientTokenId", "SignatureDoesNotMatch"):
        kind = GenericUpstreamError  # whose keys these are matters: a tenant's credential is not to blame
    with pytest.raises(kind) as caught:
        chat(target(aws, mode, aws_role_arn=f"{ROLE}-{code}"))
    assert type(caught.value) is kind
    assert caught.value.step == "sign"
    assert caught.value.upstream_status == status
    assert aws.calls["/chat/completions"] == 0
    assert (caught.value.verdict is Verdict.BAD_KEY) == (kind is AuthenticationFailed)
    if kind is PermissionDenied and mode == "iam_role":
        assert TENANT in caught.value.hint


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>Welcome</html>", b"{}", granted().replace(b"SessionToken", b"Other")),
        *(granted().replace(b"<Expiration>", b"<Expiration>soon "), granted(access_key="A KEY")),
        granted().replace(b"Z</Exp", b"</Exp"),
    ],
)
def test_an_answer_without_keys_is_a_bad_reply_that_shows_none(aws: FakeUpstream, body: bytes) -> None:
    aws.raw("/", body, content_type="text/xml")
    with pytest.raises(BadReply) as caught:
        chat(target(aws, "assume_role", aws_role_arn=f"{ROLE}-nothing"))
    assert "temporary/" not in repr(vars(caught.value))


# What is refused before anything is sent


@pytest.mark.parametrize(
    "role", ["", "llm", "arn:aws:iam::123:role/x", "arn:aws:iam::123456789012:user/x", f"{ROLE}\n&x=1"]
)
def test_what_names_no_role_is_refused(role: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        exchange(aws_role_arn=role)
    assert "arn:aws:iam" in caught.value.hint


def test_an_unknown_mode_is_unsupported_and_the_plain_one_needs_no_exchange() -> None:
    with pytest.raises(Unsupported, match="magic"):
        signers.get(SIGNER).exchange(request(), credential(HOST, STS, "magic"), STS)
    for mode in ("access_key_secret", ""):
        assert signers.get(SIGNER).exchange(request(), credential(HOST, STS, mode), STS) is None


def test_a_role_needs_keys_to_assume_it_with() -> None:
    of = CredentialFields({"auth_mode": "assume_role", "aws_role_arn": ROLE})
    with pytest.raises(AuthenticationFailed):
        signers.get(SIGNER).exchange(request(), of, STS)


def test_tokens_come_from_the_declared_address_only() -> None:
    signer = signers.get(SIGNER)
    with pytest.raises(WrongURL):
        signer.exchange(request(), credential(HOST, STS), "")
    for mode in ("assume_role", "iam_role"):
        with pytest.raises(Exception, match="not sent to"):
            signer.exchange(request(), credential(HOST, STS, mode), "https://sts.evil.example")


def test_whatever_of_the_keys_is_sent_is_taken_out_of_what_aws_answers() -> None:
    held = {**json.loads(THEIRS), "aws_session_token": "FwoGZXIvYXdzEXAMPLE=="}
    of = CredentialFields(credential(HOST, STS).fields, OpenSecret(json.dumps(held), origin_of(HOST), {origin_of(STS)}))
    found = signers.get(SIGNER).exchange(request(), of, STS)
    assert found is not None
    asked = found.build()
    assert asked.request.headers["X-Amz-Security-Token"] in asked.secrets
    assert ACCESS in asked.secrets
    assert "" not in exchange().build().secrets


def test_every_tenant_and_role_has_keys_of_its_own() -> None:
    of = credential(HOST, STS, "iam_role")
    other = CredentialFields(of.fields, None, owner="another", installation=of.installation)
    found = [signers.get(SIGNER).exchange(request(), one, STS) for one in (of, other)]
    found += [exchange("iam_role", aws_role_arn=f"{ROLE}2"), exchange()]
    assert len({one.identity for one in found if one is not None}) == 4
