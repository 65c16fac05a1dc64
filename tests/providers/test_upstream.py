"""The only network I/O, over real sockets."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers import upstream as module
from providers.errors import BadReply, TimedOut, Unreachable, UpstreamError
from providers.upstream import Policy, send
from providers.wire import UpstreamRequest
from tests.fakes.asking import LOOPBACK, POLICY, SHORT, ask, fail
from tests.fakes.upstream import KEY, FakeUpstream


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert_file), str(key_file)


def test_a_request_goes_out_as_it_was_built_and_the_answer_comes_back_whole(upstream: FakeUpstream) -> None:
    upstream.status("/echo", 418, {"tea": "pot"}, X_Extra="Yes")
    response = ask(
        f"{upstream.url}/echo?a=b%2Fc", POLICY, b'{"x":1}', Authorization="Bearer k", **{"Content-Type": "a/b"}
    )
    assert (response.status, response.body) == (418, b'{"tea": "pot"}')
    assert response.headers["x-extra"] == "Yes"
    assert response.latency_ms >= 0
    received = upstream.requests[0]
    assert (received.method, received.path, received.query, received.body) == ("POST", "/echo", "a=b%2Fc", b'{"x":1}')
    assert received.headers["authorization"] == "Bearer k"
    assert received.headers["content-type"] == "a/b"
    assert received.headers["accept-encoding"] == "identity"
    assert set(received.headers) == {
        "host",
        "authorization",
        "content-type",
        "accept-encoding",
        "accept",
        "content-length",
    }


def test_a_large_body_is_sent_whole(upstream: FakeUpstream) -> None:
    upstream.status("/big", 200, {})
    body = bytes(range(256)) * 12_000
    ask(f"{upstream.url}/big", POLICY, body)
    assert upstream.requests[0].body == body


# Steps


def test_a_name_that_does_not_exist_fails_at_dns() -> None:
    assert fail(Unreachable, "http://no-such-host.invalid/v1").step == "dns"


def test_a_port_where_nobody_listens_fails_at_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = fail(Unreachable, f"http://127.0.0.1:{port}/v1")
    assert error.step == "connect"
    assert str(port) not in str(error)


def test_a_slow_name_server_times_out_at_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: done.wait(5) and [])
    started = time.monotonic()
    try:
        assert fail(TimedOut, "http://slow.example/v1", SHORT).step == "dns"
        assert time.monotonic() - started < 3
    finally:
        done.set()


def test_a_server_that_does_not_take_connections_times_out_at_connect() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        queued = []
        for _ in range(8):  # fill the queue of the connections that nobody accepts
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
            queued.append(waiting)
        time.sleep(0.05)
        error = fail(TimedOut, f"http://127.0.0.1:{full.getsockname()[1]}/v1", SHORT)
        for waiting in queued:
            waiting.close()
    assert error.step == "connect"
    assert "firewall" in error.hint


def test_a_server_that_is_silent_times_out_at_the_step_it_was_at(silent: int, upstream: FakeUpstream) -> None:
    assert fail(TimedOut, f"https://127.0.0.1:{silent}/v1", SHORT).step == "tls"
    assert fail(TimedOut, f"http://127.0.0.1:{silent}/v1", SHORT).step == "headers"
    assert fail(TimedOut, f"http://127.0.0.1:{silent}/v1", SHORT, body=b"x").step == "headers"
    assert fail(TimedOut, f"http://127.0.0.1:{silent}/v1", SHORT, body=b"x" * 50_000_000).step == "send"
    upstream.stall("/s")
    assert fail(TimedOut, f"{upstream.url}/s", SHORT).step == "body"
    upstream.hang("/h")
    assert fail(TimedOut, f"{upstream.url}/h", SHORT, body=b"{}").step == "headers"


def test_a_late_answer_within_the_limit_is_fine(upstream: FakeUpstream) -> None:
    upstream.slow("/models", 0.3)
    response = ask(f"{upstream.url}/models", Authorization=f"Bearer {KEY}")
    assert response.status == 200
    assert response.latency_ms >= 300


def test_a_certificate_that_is_not_trusted_fails_at_tls(certificate: tuple[str, str]) -> None:
    with FakeUpstream(certificate=certificate) as fake:
        error = fail(Unreachable, f"{fake.url}/models")
        assert error.step == "tls"
        assert "certificate" in error.message
        assert fake.total_calls == 0


def test_staff_may_lift_the_trust_in_certificates(certificate: tuple[str, str]) -> None:
    with FakeUpstream(certificate=certificate) as fake:
        assert ask(f"{fake.url}/models", Policy(LOOPBACK, verify_tls=False)).status == 401


def test_the_wrong_scheme_fails_at_tls_or_as_no_http(upstream: FakeUpstream, certificate: tuple[str, str]) -> None:
    error = fail(Unreachable, f"https://127.0.0.1:{upstream.port}/v1/models")
    assert (error.step, "http://" in error.hint) == ("tls", True)
    with FakeUpstream(certificate=certificate) as fake, pytest.raises((BadReply, Unreachable)):
        ask(f"http://127.0.0.1:{fake.port}/v1/models")


def test_a_server_that_hangs_up_is_unreachable_after_connecting(upstream: FakeUpstream) -> None:
    upstream.hang_up("/x")
    assert fail(Unreachable, f"{upstream.url}/x", body=b"{}").step == "headers"


def test_what_is_not_http_is_a_bad_reply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        assert fail(BadReply, f"http://127.0.0.1:{server.getsockname()[1]}/v1").step == "headers"
        thread.join()


# Limits


def test_an_endless_body_is_given_up(upstream: FakeUpstream) -> None:
    upstream.endless("/e")
    started = time.monotonic()
    error = fail(BadReply, f"{upstream.url}/e", Policy(LOOPBACK, max_body_bytes=1_000_000))
    assert error.step == "body"
    assert "1000000" in error.message
    assert time.monotonic() - started < 5


def test_a_body_is_refused_by_its_announced_size(upstream: FakeUpstream) -> None:
    upstream.raw("/b", b"x" * 5000)
    assert ask(f"{upstream.url}/b", Policy(LOOPBACK, max_body_bytes=5000)).body == b"x" * 5000
    fail(BadReply, f"{upstream.url}/b", Policy(LOOPBACK, max_body_bytes=4999))


def test_a_compressed_answer_is_bounded_by_what_it_unpacks_to(upstream: FakeUpstream) -> None:
    upstream.raw("/z", gzip.compress(b"a" * 50_000_000), Content_Encoding="gzip")
    fail(BadReply, f"{upstream.url}/z", Policy(LOOPBACK, max_body_bytes=1_000_000))
    upstream.raw("/z", gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")
    assert ask(f"{upstream.url}/z").body == b'{"a": 1}'
    for body, encoding in ((b"not gzip", "gzip"), (gzip.compress(b"abc")[:-6], "gzip"), (b"abc", "br")):
        upstream.raw("/z", body, Content_Encoding=encoding)
        assert fail(BadReply, f"{upstream.url}/z").step == "body"


def test_a_body_that_is_cut_off_is_a_bad_reply(upstream: FakeUpstream) -> None:
    upstream.cut("/c")
    assert fail(BadReply, f"{upstream.url}/c").step == "body"


@pytest.mark.parametrize("headers", [{"X_Long": "x" * 20_000}, {f"X_{n}": "y" for n in range(200)}])
def test_headers_are_limited(upstream: FakeUpstream, headers: dict[str, str]) -> None:
    upstream.status("/h", 200, {}, **headers)
    assert fail(BadReply, f"{upstream.url}/h").step == "headers"


def test_errors_never_repeat_a_header_or_a_query(upstream: FakeUpstream) -> None:
    upstream.hang_up("/x")
    for url in (
        f"{upstream.url}/x?key=sk-canary",
        "http://127.0.0.1:1/v1?key=sk-canary",
        "http://h\x00/?key=sk-canary",
    ):
        with pytest.raises(UpstreamError) as caught:
            ask(url, POLICY, Authorization="Bearer sk-canary")
        assert "sk-canary" not in repr(vars(caught.value)) + str(caught.value)
        assert caught.value.__cause__ is None


def test_the_module_leaves_nothing_open(upstream: FakeUpstream) -> None:
    async def many() -> None:
        async with module.Pool() as pool:
            request = UpstreamRequest("GET", f"{upstream.url}/models", {"Authorization": f"Bearer {KEY}"})
            answers = await asyncio.gather(*(send(request, POLICY, pool=pool) for _ in range(50)))
            assert {answer.status for answer in answers} == {200}

    asyncio.run(many())  # an unclosed session or socket would warn, and a warning is an error here
