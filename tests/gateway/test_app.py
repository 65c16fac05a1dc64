"""What /v1/models answers, and to whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.clock import now
from gateway.app import Gateway
from providers.models import INVALID, LLMFactory
from tenants.models import ApiToken, CredentialState, Membership, Tenant
from tests.gateway.calling import Reply
from tests.gateway.conftest import World, ask, make_credential, make_model
from tests.people import make_member, make_tenant, make_token, make_user

T = TypeVar("T")

UNKNOWN = f"lla_{'x' * 43}"  # has the form of a token


def with_gateway(work: Callable[[Gateway], Awaitable[T]]) -> T:
    async def run() -> T:
        gateway = Gateway()
        try:
            return await work(gateway)
        finally:
            await gateway.close()

    return asyncio.run(run())


def get(path: str, token: str = "", **options: Any) -> Reply:
    return with_gateway(lambda gateway: ask(gateway, path, token, **options))


def listed(token: str) -> list[str]:
    answer = get("/v1/models", token)
    assert answer.status == 200, answer.body
    return [model["id"] for model in answer.data["data"]]


def test_the_list_has_openais_shape(world: World) -> None:
    answer = get("/v1/models", world.token)
    created = int(world.model.created_at.timestamp())
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.data == {
        "object": "list",
        "data": [{"id": "acme-large@Acme", "object": "model", "created": created, "owned_by": "Acme"}],
    }


def test_the_openai_package_reads_the_list(world: World) -> None:
    from openai.types import Model

    model = Model.model_validate(get("/v1/models/acme-large@Acme", world.token).data)
    assert (model.id, model.owned_by, model.object) == ("acme-large@Acme", "Acme", "model")


def test_one_name_at_several_credentials_is_one_model(world: World) -> None:
    other = make_credential(world.tenant, world.factory, label="second")
    make_model(other, "acme-large")
    make_model(other, "acme-small___VLLM")
    assert listed(world.token) == ["acme-large@Acme", "acme-small___VLLM@Acme"]


def test_a_model_stays_while_one_of_its_credentials_works(world: World) -> None:
    make_model(make_credential(world.tenant, world.factory, label="second"), "acme-large")
    world.credential.state = CredentialState.QUARANTINED
    world.credential.save()
    assert listed(world.token) == ["acme-large@Acme"]


def test_names_with_slashes_are_found(world: World) -> None:
    make_model(world.credential, "BAAI/bge-m3")
    assert get("/v1/models/BAAI/bge-m3@Acme", world.token).data["id"] == "BAAI/bge-m3@Acme"


@pytest.mark.parametrize("what", ["model", "credential", "factory", "quarantine", "draft"])
def test_what_is_disabled_is_not_listed(world: World, what: str) -> None:
    match what:
        case "model":
            world.model.status = INVALID
            world.model.save()
        case "credential":
            world.credential.status = INVALID
        case "factory":
            world.factory.status = INVALID
            world.factory.save()
        case "quarantine":
            world.credential.state = CredentialState.QUARANTINED
        case "draft":
            world.credential.state = CredentialState.DRAFT
    world.credential.save()
    assert listed(world.token) == []
    assert get("/v1/models/acme-large@Acme", world.token).error["code"] == "model_not_found"


def test_a_tenant_sees_its_own_models_alone(world: World) -> None:
    stranger = make_user()
    elsewhere = make_tenant(owner=stranger)
    make_model(make_credential(elsewhere, world.factory), "acme-secret")
    assert listed(world.token) == ["acme-large@Acme"]
    assert listed(make_token(elsewhere, user=stranger)) == ["acme-secret@Acme"]
    answer = get("/v1/models/acme-secret@Acme", world.token)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize("scopes", [["invoke"], ["read"], ["read", "write", "invoke"]])
def test_a_token_that_may_read_or_invoke_sees_the_list(world: World, scopes: list[str]) -> None:
    token = make_token(world.tenant, scopes=scopes, user=make_member(world.tenant))
    assert listed(token) == ["acme-large@Acme"]


def test_a_token_that_may_only_write_is_refused(world: World) -> None:
    owner = User.objects.get(memberships__tenant=world.tenant)
    answer = get("/v1/models", make_token(world.tenant, scopes=["write"], user=owner))
    assert (answer.status, answer.error["code"]) == (403, "insufficient_scope")


def test_no_token_at_all_says_how_to_send_one() -> None:
    answer = get("/v1/models")
    assert (answer.status, answer.error["code"]) == (401, None)
    assert answer.error["type"] == "invalid_request_error"
    assert "Authorization: Bearer" in answer.error["message"]
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "change",
    [
        lambda world: ApiToken.objects.update(revoked_at=now()),
        lambda world: ApiToken.objects.update(expires_at=now() - timedelta(seconds=1)),
        lambda world: Tenant.objects.update(status=INVALID),
        lambda world: User.objects.update(is_active=False),
        lambda world: ApiToken.objects.update(created_by=None),
        lambda world: ApiToken.objects.all().delete(),
        lambda world: world.tenant.delete(),
    ],
)
def test_a_token_that_is_good_for_nothing_is_refused(world: World, change: Callable[[World], object]) -> None:
    change(world)
    answer = get("/v1/models", world.token)
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_an_unknown_token_is_refused(transactional_db: None) -> None:
    assert get("/v1/models", UNKNOWN).error["code"] == "invalid_api_key"


def test_a_token_whose_maker_left_the_tenant_may_do_nothing(world: World) -> None:
    Membership.objects.all().delete()
    assert get("/v1/models", world.token).status == 403


@pytest.mark.parametrize(
    "form", ["{token}", "Basic {token}", "Bearer", "Bearer  ", "Bearer {token}x", "Bearer x{token}"]
)
def test_only_a_bearer_token_counts(form: str) -> None:
    answer = get("/v1/models", headers=(("Authorization", form.format(token=UNKNOWN)),))
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_two_authorization_headers_are_one_too_many() -> None:
    twice = (("Authorization", f"Bearer {UNKNOWN}"),) * 2
    assert get("/v1/models", headers=twice).status == 401


def test_a_session_cookie_opens_nothing() -> None:
    assert get("/v1/models", headers=(("Cookie", "llmadmin_session=whatever"),)).status == 401


@given(value=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=200))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_sent_as_authorization_breaks_it(world: World, value: str) -> None:
    assert get("/v1/models", headers=(("Authorization", value),)).status == 401


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [(method, "/v1/models", "GET, HEAD, OPTIONS") for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE")]
    + [(method, "/v1/chat/completions", "POST, OPTIONS") for method in ("GET", "PUT", "DELETE", "PATCH")],
)
def test_other_methods_are_told_which_one_to_use(method: str, path: str, allowed: str) -> None:
    answer = get(path, method=method)
    assert (answer.status, answer.error["code"], answer.headers["allow"]) == (405, "method_not_supported", allowed)


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    "path",
    ["responses", "responses/resp_1", "completions", "images/generations", "moderations", "audio/translations", "files",
     "batches", "fine_tuning/jobs", "vector_stores", "assistants", "threads", "realtime", "embeddings/x"],
)  # fmt: skip
def test_an_endpoint_of_openai_that_is_not_served_says_so_and_which_are(path: str, method: str) -> None:
    answer = get(f"/v1/{path}", method=method)
    assert (answer.status, answer.error["code"], answer.error["type"]) == (404, "unknown_url", "invalid_request_error")
    assert f"{method} /v1/{path} is not served here" in answer.error["message"]
    assert "/v1/chat/completions" in answer.error["message"]
    assert answer.error["message"].endswith("/v1/models.")


def test_head_is_get_without_its_body(world: World) -> None:
    for path in ("/v1/models", "/v1/models/acme-large@Acme", "/v1/models/nothing"):
        whole, head = get(path, world.token), get(path, world.token, method="HEAD")
        assert (head.status, head.body) == (whole.status, b"")
        assert head.headers["content-length"] == str(len(whole.body))
        assert head.headers["content-type"] == whole.headers["content-type"]
    refused = get("/v1/models", method="HEAD")
    assert (refused.status, refused.body) == (401, b"")
    assert get("/v1/chat/completions", world.token, method="HEAD").status == 405


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/models/acme-large@Acme", "GET, HEAD, OPTIONS"),
        ("/v1/chat/completions", "POST, OPTIONS"),
        ("/v1/ocr", "POST, OPTIONS"),
    ],
)
def test_options_says_what_is_possible_to_anybody(path: str, allowed: str) -> None:
    answer = get(path, method="OPTIONS")
    assert (answer.status, answer.body, answer.headers["allow"]) == (204, b"", allowed)
    assert answer.headers["x-request-id"]
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert get("/v1/nothing", method="OPTIONS").status == 404


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/modelsx", "/v1/chat/complete", "/v1//models"])
def test_what_is_not_there_is_said_in_the_same_shape(path: str) -> None:
    answer = get(path, method="POST")
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert set(answer.error) == {"message", "type", "param", "code"}


def test_a_key_that_strayed_into_a_path_is_not_sent_back(world: World) -> None:
    answer = get(f"/v1/models/{world.token}", world.token)
    assert answer.status == 404
    assert world.token not in answer.body.decode()


def test_a_request_is_named_by_its_sender_or_by_us(world: World) -> None:
    named = get("/v1/models", world.token, headers=(("X-Request-Id", "my-request-1"),))
    assert named.headers["x-request-id"] == "my-request-1"
    unusable = get("/v1/models", world.token, headers=(("X-Request-Id", "no spaces\x7f"),))
    assert len(unusable.headers["x-request-id"]) == 32


def test_a_factorys_name_may_hold_anything(world: World) -> None:
    factory = LLMFactory.objects.create(name="Ünï@Cødé/Ⅷ")
    make_model(make_credential(world.tenant, factory, label="x"), "m")
    assert get("/v1/models/m@Ünï@Cødé/Ⅷ", world.token).data["owned_by"] == "Ünï@Cødé/Ⅷ"
