"""The gateways that are measured, each started on its own port and ended by its process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from bench.answers import chat, chunks
from bench.load import Door

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "var" / "bench-tools"
LITELLM, PORTKEY = "1.106.2", "1.15.2"
CHAT = "/v1/chat/completions"
MASTER_KEY = "sk-" + "bench0123456789" * 3  # LiteLLM refuses to start with a short one
START_WITHIN_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it accepts connections."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_for(port, process, log)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> float:
    """Seconds until somebody listens there."""
    began = time.monotonic()
    while time.monotonic() - began < START_WITHIN_S:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return time.monotonic() - began
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} did not start; see {log}")


def memory_mb(process: subprocess.Popen[bytes]) -> float:
    """Resident memory of a process and its children, shared pages counted in parts."""
    total = 0
    for pid in (process.pid, *_children(process.pid)):
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def _children(pid: int) -> list[int]:
    found = [int(text) for path in Path(f"/proc/{pid}/task").glob("*/children") for text in path.read_text().split()]
    return found + [further for child in found for further in _children(child)]


@contextmanager
def nginx(folder: Path) -> Iterator[tuple[str, Door, Door]]:
    """The upstream's root, the way straight to it, and nginx as a proxy before it."""
    upstream, proxy = free_port(), free_port()
    config = Template((ROOT / "bench" / "nginx.conf").read_text()).safe_substitute(
        folder=folder, upstream_port=upstream, proxy_port=proxy, chat=chat(), stream=_said(chunks())
    )
    (folder / "nginx.conf").write_text(config)
    with running(["nginx", "-c", str(folder / "nginx.conf")], upstream, folder / "nginx.out"):
        root = f"http://127.0.0.1:{upstream}"
        stream = f"{root}/stream{CHAT}"
        yield (
            root,
            Door("direct", root + CHAT, stream_url=stream),
            Door("nginx", f"http://127.0.0.1:{proxy}{CHAT}", stream_url=f"http://127.0.0.1:{proxy}/stream{CHAT}"),
        )


def _said(pieces: list[str]) -> str:
    """Directives that answer with these pieces: none may be longer than nginx's buffer for a word."""
    parts = [piece.replace("\n", "\\n") for piece in pieces]
    names = "".join(f"$p{index}" for index in range(len(parts)))
    sets = " ".join(f"set $p{index} '{part}';" for index, part in enumerate(parts))
    return f"{sets} return 200 {names};"


@contextmanager
def slow_upstream(folder: Path, *, pause_s: float) -> Iterator[str]:
    port = free_port()
    with running([sys.executable, "-m", "bench.slow_upstream", str(port), str(pause_s)], port, folder / "slow.out"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def llmadmin(folder: Path, upstream: str, slow: str) -> Iterator[tuple[Door, Door, subprocess.Popen[bytes], float]]:
    """One web worker with authentication, limits, a budget and metering; how long it took to be ready."""
    port = free_port()
    env = {
        "DATA_DIR": str(folder / "data"),
        "ALLOWED_NETWORKS": "127.0.0.0/8",
        "LOG_LEVEL": "WARNING",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "BENCH_UPSTREAM": upstream,
        "BENCH_SLOW": slow,
    }
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "-v0"], cwd=ROOT, env={**os.environ, **env}, check=True)
    made = subprocess.run(
        [*manage, "shell", "-v0", "-c", "import bench.seed"],
        cwd=ROOT,
        env={**os.environ, **env},
        check=True,
        capture_output=True,
        text=True,
    )
    token = made.stdout.strip().rpartition("TOKEN=")[2]
    door = Door(
        "llmadmin",
        f"http://127.0.0.1:{port}{CHAT}",
        headers=(("Authorization", f"Bearer {token}"),),
        stream_model="bench-stream",
    )
    slow_door = Door("llmadmin", door.url, headers=door.headers, stream_model="bench-slow")
    began = time.monotonic()
    with running([sys.executable, "-m", "llmadmin.web"], port, folder / "llmadmin.out", **env) as process:
        _answers(f"http://127.0.0.1:{port}/healthz")
        yield door, slow_door, process, time.monotonic() - began


@contextmanager
def litellm(folder: Path, upstream: str) -> Iterator[tuple[Door, subprocess.Popen[bytes]]]:
    """LiteLLM's proxy with one worker and a master key; no database, so that it meters nothing."""
    place = TOOLS / f"litellm-{LITELLM}"
    program = place / "bin" / "litellm"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(place / "bin" / "pip"), "install", "-q", f"litellm[proxy]=={LITELLM}"], check=True)
    config = folder / "litellm.yaml"
    models = "".join(
        f"  - model_name: {name}\n    litellm_params: {{model: openai/bench, api_base: {base}, api_key: sk-bench}}\n"
        for name, base in (("bench", f"{upstream}/v1"), ("bench-stream", f"{upstream}/stream/v1"))
    )
    config.write_text(f"model_list:\n{models}general_settings: {{master_key: {MASTER_KEY}}}\n")
    port = free_port()
    command = [str(program), "--config", str(config), "--port", str(port), "--num_workers", "1"]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
    with running(command, port, folder / "litellm.out", **quiet) as process:
        door = Door(
            "LiteLLM",
            f"http://127.0.0.1:{port}{CHAT}",
            headers=(("Authorization", f"Bearer {MASTER_KEY}"),),
            stream_model="bench-stream",
        )
        yield door, process


@contextmanager
def portkey(folder: Path, upstream: str) -> Iterator[tuple[Door, subprocess.Popen[bytes]]]:
    """Portkey's gateway; it has no keys, limits or metering of its own."""
    place = TOOLS / f"portkey-{PORTKEY}"
    server = place / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not server.exists():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--silent", "--prefix", str(place), f"@portkey-ai/gateway@{PORTKEY}"], check=True
        )
    port = free_port()
    base = [("Authorization", "Bearer sk-bench"), ("x-portkey-provider", "openai")]
    with running(["node", str(server), f"--port={port}", "--headless"], port, folder / "portkey.out") as process:
        door = Door(
            "Portkey",
            f"http://127.0.0.1:{port}{CHAT}",
            headers=(*base, ("x-portkey-custom-host", f"{upstream}/v1")),
            stream_headers=(*base, ("x-portkey-custom-host", f"{upstream}/stream/v1")),
        )
        yield door, process


def _answers(url: str) -> None:
    for _ in range(500):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{url} does not answer.")
