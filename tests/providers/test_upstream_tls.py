"""TLS with real certificates: who is trusted, and what is agreed on."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from providers.errors import BadReply, Unreachable
from providers.upstream import Policy, Pool, open, send
from providers.wire import UpstreamRequest
from tests.fakes.asking import LOOPBACK
from tests.fakes.loops import Run
from tests.fakes.raw import RawServer, answering, whole
from tests.fakes.servers import PIECES, SIZES, aiohttp_server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An authority's certificate, and that of localhost which it signed, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    now = dt.datetime.now(dt.UTC)

    def made(name: str, key: Any, signer: Any, extension: x509.ExtensionType) -> x509.Certificate:
        named, root = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, "root"))
        return (
            x509.CertificateBuilder()
            .subject_name(named)
            .issuer_name(root)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(extension, critical=True)
            .sign(signer, hashes.SHA256())
        )

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = made("root", root_key, root_key, x509.BasicConstraints(ca=True, path_length=None))
    signed = made("localhost", key, root_key, x509.SubjectAlternativeName([x509.DNSName("localhost")]))
    files = folder / "root.pem", folder / "cert.pem", folder / "key.pem"
    for file, certificate in zip(files, (root, signed), strict=False):
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture
def tls(authority: tuple[Path, Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority[1], authority[2])
    return context


def test_aiohttp_over_tls(run: Run, tls: ssl.SSLContext) -> None:
    policy = Policy(LOOPBACK, connect_timeout_s=10, total_timeout_s=30, verify_tls=False)

    async def main() -> None:
        async with aiohttp_server(tls) as url, Pool() as pool:
            for size in SIZES:
                body = os.urandom(size)
                response = await send(UpstreamRequest("POST", f"{url}/echo", {}, body), policy, pool=pool)
                assert (response.status, response.body) == (200, body)
            async with await open(UpstreamRequest("GET", f"{url}/stream"), policy, pool=pool) as exchange:
                assert b"".join([chunk async for chunk in exchange.chunks()]) == b"".join(PIECES)
            assert pool.connections() == (0, 1)

    run(main())


def test_only_http_1_is_offered_and_the_server_is_told_which_name_is_meant(run: Run, tls: ssl.SSLContext) -> None:
    seen: list[tuple[str | None, str | None]] = []
    names: list[str | None] = []
    tls.set_alpn_protocols(["h2", "http/1.1"])
    tls.sni_callback = lambda _socket, name, _context: names.append(name)

    async def talk(peer: Any) -> None:
        made = peer.writer.get_extra_info("ssl_object")
        seen.append((made.selected_alpn_protocol(), made.version()))
        await answering(whole(b"hi"))(peer)

    async def main() -> None:
        async with RawServer(talk, tls=tls) as server:
            request = UpstreamRequest("GET", f"https://localhost:{server.port}/")
            assert (await send(request, Policy(LOOPBACK, verify_tls=False))).body == b"hi"

    run(main())
    assert (seen, names) == ([("http/1.1", "TLSv1.3")], ["localhost"])


@pytest.mark.filterwarnings("ignore:.*TLSv1_1.*:DeprecationWarning")
def test_tls_of_yesterday_is_refused(run: Run, tls: ssl.SSLContext) -> None:
    tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    tls.maximum_version = ssl.TLSVersion.TLSv1_1

    async def main() -> None:
        async with RawServer(answering(whole()), tls=tls) as server:
            with pytest.raises(Unreachable) as caught:
                await send(UpstreamRequest("GET", server.url), Policy(LOOPBACK, verify_tls=False))
            assert caught.value.step == "tls"

    run(main())


@pytest.mark.parametrize("said", [b"", b"Content-Length: 9\r\n"], ids=["whole", "cut"])
def test_a_body_over_tls_ends_with_the_connection_or_is_cut(said: bytes, run: Run, tls: ssl.SSLContext) -> None:
    async def talk(peer: Any) -> None:
        await peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\n" + said + b"\r\nall of")

    async def main() -> None:
        async with RawServer(talk, tls=tls) as server:
            call = send(UpstreamRequest("GET", server.url), Policy(LOOPBACK, verify_tls=False))
            if not said:
                assert (await call).body == b"all of"
            else:
                with pytest.raises(BadReply, match="cut off"):
                    await call

    run(main())


def test_a_certificate_counts_for_the_name_that_it_was_made_for(
    authority: tuple[Path, Path, Path], tls: ssl.SSLContext
) -> None:
    """In a process of its own, which trusts this authority."""
    code = textwrap.dedent("""
        import asyncio, sys
        from providers.errors import UpstreamError
        from providers.upstream import send
        from providers.wire import UpstreamRequest
        from tests.fakes.asking import POLICY
        for host in ("localhost", "127.0.0.1"):
            try:
                answer = asyncio.run(send(UpstreamRequest("GET", f"https://{host}:{sys.argv[1]}/"), POLICY))
                print(host, answer.status)
            except UpstreamError as error:
                print(host, error.step, "not trusted" in error.message)
    """)

    async def main() -> str:
        async with RawServer(answering(whole()), tls=tls) as server:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, str(server.port), stdout=subprocess.PIPE,
                env={**os.environ, "SSL_CERT_FILE": str(authority[0])},
            )  # fmt: skip
            said, _ = await asyncio.wait_for(process.communicate(), 60)
            return said.decode()

    assert asyncio.run(main()).splitlines() == ["localhost 200", "127.0.0.1 tls True"]
