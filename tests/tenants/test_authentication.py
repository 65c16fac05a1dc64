"""Who a request comes from."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from core.audit import SYSTEM
from tenants.models import ApiToken, Tenant
from tenants.services import members, tenants
from tests.people import PASSWORD, People, actor_of, make_token, make_user

pytestmark = pytest.mark.django_db


def me(authorization: str | None = None, **headers: str):
    headers = {**headers, **({} if authorization is None else {"Authorization": authorization})}
    return Client().get("/api/me/", headers=headers)


def logged_in(user: User, **options: bool) -> Client:
    client = Client(**options)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", "{}"])
def test_a_token_comes_with_or_without_its_scheme(people: People, form: str) -> None:
    plain = make_token(people.tenant, user=people.owner)
    answer = me(form.format(plain))
    assert answer.status_code == 200
    assert answer.json()["tenant_id"] == people.tenant.pk
    assert answer.json()["user"] == people.owner.username
    assert answer.json()["role"] == "owner"


MALFORMED = [
    "Bearer", "Bearer ", "Bearer a b", "Bearer  {}", "Basic {}", "Bearer {} ", "{} Bearer", "Token {}", "é",
    "\xff" * 40, "Bearer \x00", "x" * 100_000, "lla_" + "a" * 43, "Bearer lla_", "Bearer\t{}",
    "'; drop table tenants_apitoken; --",
]  # fmt: skip


@pytest.mark.parametrize("header", MALFORMED)
def test_a_malformed_or_unknown_header_is_nobody(people: People, header: str) -> None:
    plain = make_token(people.tenant, user=people.owner)
    answer = me(header.replace("{}", plain))
    expected = 200 if header == "Bearer {} " else 401  # servers cut the space at a header's end
    assert answer.status_code == expected
    if expected == 401:
        assert answer.json()["detail"] == "The token is not valid."
        assert answer["WWW-Authenticate"].startswith("Bearer")
        assert answer["Content-Type"] == "application/problem+json"


def test_a_bad_token_says_the_same_whatever_is_wrong_with_it(people: People) -> None:
    answers = set()
    for change in ({"revoked_at": "2020-01-01T00:00Z"}, {"expires_at": "2020-01-01T00:00Z"}, {"created_by": None}):
        plain = make_token(people.tenant, user=people.owner)
        ApiToken.objects.filter(prefix=plain[:12]).update(**change)
        answers.add(me(f"Bearer {plain}").content)
    plain = make_token(people.tenant, user=people.owner)
    Tenant.objects.filter(pk=people.tenant.pk).update(status="0")
    answers |= {me(f"Bearer {plain}").content, me("Bearer nonsense").content}
    assert len(answers) == 1


def test_without_anything_nobody_is_asking(people: People) -> None:
    for answer in (me(), me("")):
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthenticated"


def test_a_bad_token_is_not_forgiven_because_of_a_cookie(people: People) -> None:
    answer = logged_in(people.owner).get("/api/me/", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401


def test_a_token_belongs_to_one_tenant(people: People) -> None:
    plain = make_token(people.tenant, user=people.owner)
    assert me(plain, **{"X-Tenant-Id": people.tenant.pk}).status_code == 200
    assert me(plain, **{"X-Tenant-Id": people.elsewhere.pk}).status_code == 404


def test_a_session_acts_for_the_users_own_tenant_or_the_one_they_name(people: People) -> None:
    own = tenants.create(name="Own", owner=people.member, actor=SYSTEM)
    client = logged_in(people.member)
    assert client.get("/api/me/").json()["tenant_id"] == own.pk
    chosen = client.get("/api/me/", headers={"X-Tenant-Id": people.tenant.pk}).json()
    assert (chosen["tenant_id"], chosen["role"], chosen["may_write"]) == (people.tenant.pk, "member", False)


@pytest.mark.parametrize("role", ["owner", "admin", "member"])
def test_being_let_into_a_strangers_tenant_does_not_change_where_one_acts(people: People, role: str) -> None:
    newcomer = make_user()
    for user, home in ((people.owner, people.tenant.pk), (people.member, people.tenant.pk), (newcomer, None)):
        members.add(tenant=people.elsewhere, user=user, role=role, actor=actor_of(people.outsider))
        assert logged_in(user).get("/api/me/").json()["tenant_id"] == (home or people.elsewhere.pk)
    own = tenants.create(name="Own", owner=newcomer, actor=actor_of(newcomer))
    assert logged_in(newcomer).get("/api/me/").json()["tenant_id"] == own.pk


@pytest.mark.parametrize("wanted", ["", "nonsense", "é", "x" * 5000])
def test_a_tenant_that_is_not_theirs_is_not_there(people: People, wanted: str) -> None:
    client = logged_in(people.owner)
    for name in (wanted, people.elsewhere.pk):
        assert client.get("/api/me/", headers={"X-Tenant-Id": name}).status_code == 404


def test_a_disabled_tenant_is_no_longer_theirs(people: People) -> None:
    Tenant.objects.filter(pk=people.tenant.pk).update(status="0")
    client = logged_in(people.owner)
    assert client.get("/api/me/").json()["tenant_id"] == ""
    assert client.get("/api/me/", headers={"X-Tenant-Id": people.tenant.pk}).status_code == 404


def test_a_user_without_a_tenant_is_known_and_owns_nothing() -> None:
    client = logged_in(make_user())
    assert client.get("/api/me/").json()["tenant_id"] == ""
    assert client.get("/api/credentials/").json()["results"] == []
    assert client.post("/api/tokens/", {}, content_type="application/json").status_code == 403


def test_an_inactive_user_is_nobody(people: People) -> None:
    client = logged_in(people.owner)
    User.objects.filter(pk=people.owner.pk).update(is_active=False)
    assert client.get("/api/me/").status_code == 401


def test_a_session_writes_only_with_its_csrf_token(people: People) -> None:
    client = Client(enforce_csrf_checks=True)
    client.get("/admin/login/")
    client.force_login(people.owner, backend="django.contrib.auth.backends.ModelBackend")
    body = {"name": "x", "scopes": ["read"]}
    refused = client.post("/api/tokens/", body, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")
    secret = client.cookies["llmadmin_csrf"].value
    taken = client.post("/api/tokens/", body, content_type="application/json", headers={"X-CSRFToken": secret})
    assert taken.status_code == 201


def test_passwords_are_no_credentials_of_the_api(people: People) -> None:
    answer = Client().post("/api/tokens/", {"username": people.owner.username, "password": PASSWORD})
    assert answer.status_code == 401


@pytest.mark.parametrize(("proxies", "expected"), [(0, "127.0.0.1"), (1, "203.0.113.9"), (2, "198.51.100.7")])
def test_a_proxy_is_believed_as_far_as_it_is_trusted(people: People, settings, proxies: int, expected: str) -> None:
    settings.TRUSTED_PROXIES = proxies
    plain = make_token(people.tenant, user=people.owner)
    Client().post(
        "/api/tokens/",
        {"name": "x", "scopes": ["read"]},
        content_type="application/json",
        headers={"Authorization": plain, "X-Forwarded-For": "192.0.2.1, 198.51.100.7, 203.0.113.9"},
    )
    from tenants.models import AuditEvent

    assert AuditEvent.objects.get(action="token.created").address == expected
