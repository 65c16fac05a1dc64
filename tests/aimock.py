"""A third party's simulator of LLM vendors: npm's @copilotkit/aimock, installed and started on loopback."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.live.processes import end_with_the_tests
from tests.live.stack import fetch, free_port
from tests.npm import installed

PACKAGE, VERSION = "@copilotkit/aimock", "1.43.0"
API_KEY = "sk-aimock-0123456789abcdef"
DIMENSIONS = 8
SOUND = b"ID3\x04 as good as an MP3"
FIXTURES: dict[str, Any] = {
    "fixtures": [
        {
            "match": {"endpoint": "embedding"},
            "response": {"embedding": [round(0.1 * n, 1) for n in range(1, DIMENSIONS + 1)]},
        },
        {
            "match": {"endpoint": "speech"},
            "response": {"audio": base64.b64encode(SOUND).decode(), "format": "mp3"},
        },
        {"match": {"endpoint": "transcription"}, "response": {"transcription": {"text": "Nobody speaks."}}},
        {
            "match": {"userMessage": "unknown model"},
            "response": {
                "error": {
                    "message": "The model `x` does not exist",
                    "type": "not_found_error",
                    "code": "model_not_found",
                },
                "status": 404,
            },
        },
        {"match": {"userMessage": "garble"}, "response": {"content": "x"}, "chaos": {"malformedRate": 1}},
        {"match": {"userMessage": "fall over"}, "response": {"content": "x"}, "chaos": {"dropRate": 1}},
        {"match": {"userMessage": "hang up"}, "response": {"content": "x"}, "chaos": {"disconnectRate": 1}},
        {
            "match": {"userMessage": "weather", "hasToolResult": False},
            "response": {
                "toolCalls": [{"name": "get_weather", "arguments": '{"city": "Berlin"}'}],
                "reasoning": "The tool knows the weather.",
            },
        },
        {"match": {"userMessage": "weather", "hasToolResult": True}, "response": {"content": "It is sunny."}},
        {
            "match": {"userMessage": "too often"},
            "response": {"error": {"message": "Slow down", "type": "limit"}, "status": 429, "retryAfter": 7},
        },
        {"match": {"userMessage": "busy"}, "response": {"error": {"message": "Busy", "type": "busy"}, "status": 529}},
        {
            "match": {"userMessage": "break off"},
            "response": {"content": "This sentence has no end."},
            "chunkSize": 4,
            "latency": 30,
            "truncateAfterChunks": 3,
        },
        {"match": {}, "response": {"content": "Hello from aimock."}},
    ]
}


@dataclass(frozen=True)
class Aimock:
    """The started simulator; `base_url` ends in /v1. It knows one key, and remembers what it was asked."""

    base_url: str
    api_key: str = API_KEY

    @property
    def journal(self) -> list[dict[str, Any]]:
        """The requests it has had since `forget()`, oldest first."""
        status, body = fetch(f"{self.base_url.removesuffix('/v1')}/__aimock/journal", token=self.api_key)
        assert status == 200, body
        return json.loads(body)

    def forget(self) -> None:
        request = urllib.request.Request(
            f"{self.base_url.removesuffix('/v1')}/__aimock/reset/journal",
            method="POST",
            headers={"Authorization": f"Bearer {self.api_key}"},
        )
        urllib.request.urlopen(request, timeout=5).close()


@pytest.fixture(scope="session")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    package, folder, port = installed(PACKAGE, VERSION), tmp_path_factory.mktemp("aimock"), free_port()
    (folder / "fixtures.json").write_text(json.dumps(FIXTURES))
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["node", str(package / "dist" / "cli.js"), "--port", str(port), "--fixtures", "fixtures.json"],
            cwd=folder,
            env={**os.environ, "AIMOCK_API_KEYS": API_KEY},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_the_tests,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 30
        while fetch(f"{url}/health")[0] != 200:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"aimock did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield Aimock(f"{url}/v1")
    finally:
        process.kill()
        process.wait()
