"""Temporary AWS keys: a role assumed with the tenant's keys (assume_role), or with the installation's own (iam_role).

A tenant names the role itself, and the installation may be trusted by the roles of many. So it assumes one with the
tenant's id as the external id only, and only if the role cannot be assumed without that: else any tenant could name it.
Sources: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, …/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from providers.dialects import failures
from providers.dialects.bodies import Problem, unexpected, words
from providers.errors import (
    AuthenticationFailed,
    BadReply,
    GenericUpstreamError,
    PermissionDenied,
    RateLimited,
    UpstreamError,
)
from providers.signers.exchange import Token
from providers.wire import UpstreamResponse

DURATION_S = 3600  # what every role allows
ROLE = re.compile(r"arn:aws[a-z\-]*:iam::\d{12}:role/[\w+=,.@/\-]{1,512}", re.A)
PARTS = ("AccessKeyId", "SecretAccessKey", "SessionToken")
_KINDS: Mapping[str, failures.Kind] = {
    "AccessDenied": PermissionDenied,
    "RegionDisabledException": PermissionDenied,
    "ExpiredToken": AuthenticationFailed,
    "IncompleteSignature": AuthenticationFailed,
    "InvalidClientTokenId": AuthenticationFailed,
    "MissingAuthenticationToken": AuthenticationFailed,
    "SignatureDoesNotMatch": AuthenticationFailed,
    "ValidationError": AuthenticationFailed,
    "Throttling": RateLimited,
}


def role_in(fields: Mapping[str, str]) -> str:
    """The role that a credential names; raises AuthenticationFailed if it is none."""
    role = fields.get("aws_role_arn", "").strip()
    if not ROLE.fullmatch(role):
        raise AuthenticationFailed(
            "The credential names no role that could be assumed.",
            hint="Enter the role's ARN, such as arn:aws:iam::123456789012:role/llm.",
            step="sign",
        )
    return role


def assume_role(role: str, *, session: str, external_id: str) -> dict[str, str]:
    """The form that asks for a role's keys. `session` is what AWS's own logs call us."""
    form = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": re.sub(r"[^\w+=,.@\-]", "-", session, flags=re.A)[:64],
        "DurationSeconds": str(DURATION_S),
    }
    return {**form, "ExternalId": external_id} if external_id else form


def read(response: UpstreamResponse, *, external_id: str, ours: bool) -> Token:
    """The keys in an answer. `ours`: they were asked for with the installation's keys, so a refusal of those is not
    the tenant's fault."""
    text = response.body.decode("utf-8", "replace")
    if not 200 <= response.status < 300:
        raise _refusal(response, text, external_id, ours=ours)
    values = {name: _element(text, name) for name in PARTS}
    try:
        expires_at = datetime.fromisoformat(_element(text, "Expiration"))
    except ValueError:
        expires_at = None
    if expires_at is None or expires_at.tzinfo is None or not all(map(_is_word, values.values())):
        raise _no_keys()
    return Token(values, expires_at.astimezone(UTC))


def check_that_it_is_refused(response: UpstreamResponse, *, external_id: str) -> None:
    """The answer to asking for a role without its external id: raises PermissionDenied if it was granted."""
    text = response.body.decode("utf-8", "replace")
    if 200 <= response.status < 300:
        raise PermissionDenied(
            "The role can be assumed without an external id, so it could be used by others, too; it was not.",
            hint=f"Let its trust policy require sts:ExternalId {external_id}.",
            step="sign",
        )
    if _element(text, "Code") != "AccessDenied":
        raise _refusal(response, text, external_id, ours=True)


def _refusal(response: UpstreamResponse, text: str, external_id: str, *, ours: bool) -> UpstreamError:
    code = _element(text, "Code")
    if code not in _KINDS:
        return failures.classify(response.status, response.headers, response.body)
    kind, hint = _KINDS[code], ""
    if kind is PermissionDenied:
        hint = "The role must exist, and its trust policy must allow whoever assumes it."
        if external_id:
            hint += f" It must require the external id {external_id}."
    elif kind is AuthenticationFailed and ours and code != "ValidationError":
        kind, hint = GenericUpstreamError, "Staff: AWS does not accept this installation's own keys (ASSUME_ROLE_…)."
    problem = Problem(words(_element(text, "Message"), 300), (code.lower(),), structured=True)
    wait = failures.retry_after_s(response.headers)
    return failures.make(kind, problem, status=response.status, hint=hint, retry_after_s=wait)


def _element(text: str, name: str) -> str:
    match = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return html.unescape(match.group(1)).strip() if match else ""


def _is_word(value: str) -> bool:
    return re.fullmatch(r"[\x21-\x7e]+", value) is not None


def _no_keys() -> BadReply:
    return unexpected("The answer holds no temporary keys.", {}, b"")  # which must not be shown if they are there
