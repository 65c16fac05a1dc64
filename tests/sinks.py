"""Everything that an installation says, writes or keeps, collected so that one can look for a secret in it."""

from __future__ import annotations

import base64
import http.cookiejar
import json
import re
import sqlite3
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

from tests.live.stack import Stack

Sinks = list[tuple[str, bytes]]


def spellings(secret: str) -> list[bytes]:
    """How a run of letters and digits may be written: as it is, in hex, and in Base64 wherever it begins."""
    raw = secret.encode()
    found = [raw, raw.hex().encode()]
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + raw).decode()
        found.append(encoded[(0, 2, 3)[lead] : -4].encode())
    return found


class Caller:
    """Somebody at an installation's doors, with a cookie jar; remembers whatever is answered."""

    def __init__(self, stack: Stack, sinks: Sinks) -> None:
        self.stack = stack
        self.sinks = sinks
        self.jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def send(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        keep: bool = True,
    ) -> tuple[int, bytes]:
        request = urllib.request.Request(self.stack.url + path, data=data, headers=headers or {}, method=method)
        try:
            with self._opener.open(request, timeout=60) as answer:
                status, head, body = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, head, body = error.code, error.headers, error.read()
        if keep:
            self.sinks.append((f"answer to {method} {path}", str(head).encode() + body))
        return status, body

    def json(
        self, method: str, path: str, body: Any = None, *, token: str = "", keep: bool = True, **headers: str
    ) -> Any:
        """Status and data of a call with JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            named["Authorization"] = f"Bearer {token}"
        data = None
        if body is not None:
            named["Content-Type"] = "application/json"
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, said = self.send(method, path, data=data, headers=named, keep=keep)
        return status, json.loads(said) if said[:1] in (b"{", b"[") else said

    def post_form(self, path: str, fields: dict[str, str]) -> tuple[int, str]:
        csrf = next((cookie.value or "" for cookie in self.jar if cookie.name == "llmadmin_csrf"), "")
        data = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": csrf}).encode()
        status, body = self.send("POST", path, data=data, headers={"Referer": self.stack.url + path})
        return status, body.decode(errors="replace")

    def log_in(self, username: str, password: str) -> bool:
        self.send("GET", "/admin/login/")
        self.post_form("/admin/login/?next=/admin/", {"username": username, "password": password})
        return any(cookie.name == "llmadmin_session" for cookie in self.jar)

    def crawl(self, start: str, *, pages: int) -> int:
        """Open what is linked from a page, and from there, up to a number of pages; how many were opened."""
        seen, waiting, kinds = {start}, [start], dict[str, int]()
        opened = 0
        while waiting and opened < pages:
            path = waiting.pop(0)
            status, body = self.send("GET", path)
            assert status < 500, path
            opened += 1
            for link in re.findall(r'href="([^"#]+)', body.decode(errors="replace")):
                target = urllib.parse.urljoin(path, link.replace("&amp;", "&"))
                kind = re.sub(r"[0-9a-f]{32}|\d+", "*", target.partition("?")[0])
                if not target.startswith("/admin/") or "logout" in target or target in seen:
                    continue
                kinds[kind] = kinds.get(kind, 0) + 1
                if kinds[kind] <= 4:  # a few of each kind, so that all kinds are reached
                    seen.add(target)
                    waiting.append(target)
        return opened


@contextmanager
def watched_broker(stack: Stack, sinks: Sinks) -> Iterator[None]:
    """Meanwhile, every message that goes through the broker is kept."""
    done = threading.Event()
    if url := stack.env.get("REDIS_URL"):
        client = redis.Redis.from_url(url)
        monitor = client.monitor()
        monitor.__enter__()

        def watch() -> None:
            with suppress(redis.ConnectionError, ValueError, OSError):
                while not done.is_set():
                    command = str(monitor.next_command())
                    if stack.name in command:
                        sinks.append(("command to Redis", command.encode()))
    else:
        folder = stack.data_dir / "queue"

        def watch() -> None:
            while not done.wait(0.003):
                for file in folder.rglob("*"):
                    with suppress(OSError):
                        if file.is_file():
                            sinks.append((f"message {file.name}", file.read_bytes()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    done.set()
    if url:
        client.ping()  # one more command, so that the watcher looks up
        thread.join(5)
        client.close()
    else:
        thread.join(5)


def stored(stack: Stack, *, except_for: tuple[str, ...]) -> Sinks:
    """The files of an installation and all rows of its database, deleted ones too where they are still on the disk."""
    found = [
        (f"file {file.relative_to(stack.data_dir)}", file.read_bytes())
        for file in stack.data_dir.rglob("*")
        if file.is_file() and file.name not in except_for
    ]
    if url := stack.env.get("DATABASE_URL"):
        with psycopg.connect(url) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (name,) in tables:
                query = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))
                with connection.cursor().copy(query) as copy:
                    found.append((f"table {name}", b"".join(bytes(part) for part in copy)))
    else:
        with sqlite3.connect(stack.data_dir / "db.sqlite3") as connection:
            found.append(("dump of the database", "\n".join(connection.iterdump()).encode()))
        connection.close()
    return found


def where(secret: str, sinks: Sinks) -> list[str]:
    """The names of the sinks that hold a secret in any spelling."""
    looked_for = spellings(secret)
    return sorted({name for name, content in sinks if any(spelling in content for spelling in looked_for)})


def until_idle(caller: Caller, token: str, *, within_s: float = 60.0) -> None:
    """Wait until no job of the tenant is active."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        states = [job["state"] for job in caller.json("GET", "/api/jobs/?page_size=200", token=token)[1]["results"]]
        if not {"pending", "running"} & set(states):
            return
        time.sleep(0.2)
    raise AssertionError("jobs do not end")


def command_lines(pids: dict[str, int]) -> Sinks:
    """What `ps` shows to every user of the machine."""
    return [(f"command line of {name}", Path(f"/proc/{pid}/cmdline").read_bytes()) for name, pid in pids.items()]
