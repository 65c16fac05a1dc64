"""A Langfuse server of our own on a real socket: it knows one project and keeps what it is sent.

Paths and shapes: https://api.reference.langfuse.com
"""

from __future__ import annotations

import json
import threading
import time
from base64 import b64encode
from collections import Counter
from typing import Any

from tests.fakes.upstream import FakeUpstream, Handler

PUBLIC_KEY, SECRET_KEY = "pk-lf-7d1c2a90-fake", "sk-lf-Zw3Qk8Ls5Vt1Yb7N"
PROJECTS, INGESTION = "/api/public/projects", "/api/public/ingestion"


class FakeLangfuse(FakeUpstream):
    """`url` is the host that a tenant enters."""

    def __init__(self, *, public_key: str = PUBLIC_KEY, secret_key: str = SECRET_KEY, project: str = "Search") -> None:
        super().__init__(key=None)
        self._authorization = f"Basic {b64encode(f'{public_key}:{secret_key}'.encode()).decode()}"
        self.project = project
        self.events: list[dict[str, Any]] = []
        self.came = threading.Condition()
        self._seen: Counter[str] = Counter()
        self.behave(PROJECTS, self._projects)
        self.behave(INGESTION, self.take)

    @property
    def url(self) -> str:
        return self.root

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of the events of that type."""
        with self.came:
            return [event["body"] for event in self.events if event["type"] == kind]

    def wait_for(self, calls: int) -> list[dict[str, Any]]:
        """The generations, once there are so many."""
        with self.came:
            enough = self.came.wait_for(lambda: len(self.events) >= 2 * calls, timeout=60)
        assert enough, f"only {len(self.events)} events came"
        return self.of("generation-create")

    def arrived(self, path: str, within_s: float = 60) -> bool:
        """Whether a request came there, after those that were asked for before."""
        end, self._seen[path] = time.monotonic() + within_s, self._seen[path] + 1
        while self.calls[path] < self._seen[path] and time.monotonic() < end:
            self.closing.wait(0.02)
        return self.calls[path] >= self._seen[path]

    def _projects(self, handler: Handler) -> None:
        if self._knows(handler):
            handler.json({"data": [{"id": "project-1", "name": self.project, "metadata": {}}]})

    def take(self, handler: Handler) -> None:
        """Keep a batch, as Langfuse does: 207, with a status for each event."""
        if not self._knows(handler):
            return
        batch = json.loads(handler.request_now.body)["batch"]
        told = {"successes": [{"id": event["id"], "status": 201} for event in batch], "errors": []}
        handler.json(told, status=207)
        with self.came:
            self.events += batch
            self.came.notify_all()

    def _knows(self, handler: Handler) -> bool:
        known = handler.request_now.headers.get("authorization") == self._authorization
        if not known:
            handler.json({"message": "Invalid credentials"}, status=401)
        return known
