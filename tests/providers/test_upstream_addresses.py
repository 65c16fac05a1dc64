"""Where calls may go, and what they never follow."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from providers.errors import AddressBlocked, Unreachable, WrongURL
from providers.sockets import Blocked, make_socket
from providers.upstream import Policy, Pool, send
from providers.wire import UpstreamRequest
from tests.fakes.asking import POLICY, ask, fail
from tests.fakes.upstream import KEY, FakeUpstream

HOSTS = ["127.0.0.1", "127.9.9.9", "localhost", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]"]
HOSTS += ["0.0.0.0", "169.254.169.254", "10.0.0.1", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"]  # noqa: S104


@pytest.mark.parametrize("host", HOSTS)
def test_an_address_that_is_not_public_is_blocked_and_nothing_is_sent(upstream: FakeUpstream, host: str) -> None:
    error = fail(AddressBlocked, f"http://{host}:{upstream.port}/v1/models", Policy())
    assert error.step == "connect"
    assert upstream.connections == 0
    assert "staff" in error.hint


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1", "0", "localhost.", "localhost.localdomain"])
def test_an_odd_spelling_of_loopback_leads_nowhere_either(upstream: FakeUpstream, host: str) -> None:
    with pytest.raises((AddressBlocked, WrongURL, Unreachable)):
        ask(f"http://{host}:{upstream.port}/v1/models", Policy())
    assert upstream.connections == 0


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")])
def test_the_socket_itself_is_guarded_whatever_was_resolved(family: socket.AddressFamily, address: str) -> None:
    """A name that is public when it is looked up and private when it is used gets no connection."""
    with pytest.raises(Blocked):
        make_socket((), (family, socket.SOCK_STREAM, 0, "", (address, 80)))


def test_an_approved_network_may_be_called_by_address_and_by_name(upstream: FakeUpstream) -> None:
    for host in ("127.0.0.1", "localhost"):
        assert ask(f"http://{host}:{upstream.port}/v1/nothing").status == 401


def test_calls_with_other_networks_never_share_a_connection(upstream: FakeUpstream) -> None:
    async def both() -> None:
        async with Pool() as pool:
            request = UpstreamRequest("GET", f"{upstream.url}/models", {"Authorization": f"Bearer {KEY}"})
            for _ in range(3):
                assert (await send(request, POLICY, pool=pool)).status == 200
            with pytest.raises(AddressBlocked):
                await send(request, Policy(), pool=pool)

    asyncio.run(both())
    assert upstream.connections == 1
    assert upstream.calls["/models"] == 3


def test_proxy_variables_and_netrc_are_ignored(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    upstream.status("/x", 200, {})
    assert ask(f"{upstream.url}/x").status == 200
    assert "authorization" not in upstream.requests[0].headers


def test_a_redirect_is_returned_and_not_followed(upstream: FakeUpstream) -> None:
    upstream.redirect("/old", f"{upstream.url}/new")
    assert ask(f"{upstream.url}/old").status == 302
    assert upstream.calls == {"/old": 1}


def test_cookies_are_not_kept(upstream: FakeUpstream) -> None:
    upstream.status("/c", 200, {}, Set_Cookie="session=of-another-tenant")

    async def twice() -> None:
        async with Pool() as pool:
            for _ in range(2):
                await send(
                    UpstreamRequest("GET", f"{upstream.url.replace('127.0.0.1', 'localhost')}/c"), POLICY, pool=pool
                )

    asyncio.run(twice())
    assert all("cookie" not in request.headers for request in upstream.requests)


def test_a_name_is_looked_up_once_for_all_who_ask_and_a_failure_is_not_remembered(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    found: list[object] = []

    def look_up(host: str, port: int, **how: object) -> list[object]:
        asked.append(host)
        if not found:
            raise socket.gaierror
        return found

    async def main() -> None:
        request = UpstreamRequest("GET", f"http://model.example:{upstream.port}/v1/models")
        async with Pool() as pool:
            for _ in range(2):
                with pytest.raises(Unreachable) as caught:
                    await send(request, POLICY, pool=pool)
                assert caught.value.step == "dns"
            for address in ("10.0.0.1", "127.0.0.1"):  # of which only the second is approved
                found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, upstream.port)))
            answers = await asyncio.gather(*(send(request, POLICY, pool=pool) for _ in range(20)))
            assert {answer.status for answer in answers} == {401}

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    asyncio.run(main())
    assert asked == ["model.example"] * 3


def test_a_name_of_which_no_address_may_be_called_is_blocked(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", upstream.port)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", upstream.port, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **how: found)
    assert fail(AddressBlocked, f"http://model.example:{upstream.port}/").step == "connect"
