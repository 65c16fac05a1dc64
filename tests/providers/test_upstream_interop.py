"""Servers that others wrote, as judges of what we send and of how we read."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from providers.upstream import Pool, open, send
from providers.wire import UpstreamRequest
from tests.fakes.asking import POLICY
from tests.fakes.loops import Run
from tests.fakes.servers import PIECES, SIZES, aiohttp_server, uvicorn_server
from tests.fakes.upstream import KEY, FakeUpstream


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def exercise(url: str) -> None:
    """What every server below is asked: bodies of all sizes in both ways, streams, and many calls at once."""
    async with Pool() as pool:
        for size in SIZES:
            body = os.urandom(size)
            response = await send(UpstreamRequest("POST", f"{url}/echo", {}, body), POLICY, pool=pool)
            assert (response.status, response.body) == (200, body)
        async with await open(UpstreamRequest("GET", f"{url}/stream"), POLICY, pool=pool) as exchange:
            assert exchange.media_type == "text/event-stream"
            assert b"".join([chunk async for chunk in exchange.chunks()]) == b"".join(PIECES)
        said = await send(UpstreamRequest("GET", f"{url}/head?a=b%2Fc", {"X-A": "é"}), POLICY, pool=pool)
        assert json.loads(said.body) == {"query": "a=b%2Fc", "x-a": "é"}
        assert (await send(UpstreamRequest("HEAD", f"{url}/head"), POLICY, pool=pool)).body == b""
        assert (await send(UpstreamRequest("DELETE", f"{url}/nothing"), POLICY, pool=pool)).status == 204
        requests = [UpstreamRequest("POST", f"{url}/echo", {}, b"%d" % number) for number in range(100)]
        answers = await asyncio.gather(*(send(request, POLICY, pool=pool) for request in requests))
        assert [int(answer.body) for answer in answers] == list(range(100))
        in_use, idle = pool.connections()
        assert in_use == 0
        assert idle > 0


def test_aiohttp(run: Run) -> None:
    async def main() -> None:
        async with aiohttp_server() as url:
            await exercise(url)

    run(main())


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_uvicorn(http: str, run: Run) -> None:
    with uvicorn_server(http) as url:
        run(exercise(url))


def test_http_server_of_python(run: Run) -> None:
    async def main(url: str) -> None:
        async with Pool() as pool:
            request = UpstreamRequest("GET", f"{url}/models", {"Authorization": f"Bearer {KEY}"})
            for _ in range(3):
                assert (await send(request, POLICY, pool=pool)).status == 200

    with FakeUpstream() as fake:
        run(main(fake.url))
        assert fake.connections == 1


NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream behind {{ server {behind}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port}; client_max_body_size 0; keepalive_requests 20; gzip on; gzip_min_length 1;
    location / {{
      proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_as_a_proxy_that_closes_connections_now_and_then(run: Run, tmp_path: Path) -> None:
    with uvicorn_server("httptools") as behind:
        port = free_port()
        config = tmp_path / "nginx.conf"
        config.write_text(NGINX.format(folder=tmp_path, port=port, behind=behind.removeprefix("http://")))
        nginx = subprocess.Popen(["nginx", "-c", config, "-e", tmp_path / "early.log"], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 20
            while not listens(port):
                assert nginx.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            run(exercise(f"http://127.0.0.1:{port}"))
        finally:
            nginx.terminate()
            nginx.wait(20)
