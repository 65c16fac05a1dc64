"""Runs an example of every endpoint and writes what was asked and answered as a page of the docs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.test import Client

JSON_COLUMNS = {
    "params",
    "result",
    "error",
    "detail",
    "probes",
    "credential_fields",
    "progress_detail",
    "params_schema",
}
TOLD_HEADERS = ("Location", "Retry-After", "WWW-Authenticate")
_VOLATILE = [
    (re.compile(r"\b[0-9a-f]{32}\b"), "01a1fb7cee997ffbb5b7f6fb6d994136"),
    (re.compile(r"lla_[\w-]{43}"), "lla_R4nd0mR4nd0mR4nd0mR4nd0mR4nd0mR4nd0mR4nd0mR"),
    (re.compile(r"lla_[\w-]{6,8}(?=[\"…])"), "lla_R4nd0m"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "2026-11-20T09:30:00Z"),
    (re.compile(r'("(?:day|from|to)": ?)"\d{4}-\d\d-\d\d"'), r'\g<1>"2026-11-20"'),
    (re.compile(r"^\d{4}-\d\d-\d\d,", re.M), "2026-11-20,"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "https://api.vendor.example"),
    (re.compile(r'("fingerprint": ?)"[^"]+"'), r'\g<1>"9f86d081884c7d65"'),
    (re.compile(r'("latency_ms": ?)\d+'), r"\g<1>12"),
    (re.compile(r'"id": "\d+"'), '"id": "17"'),
    (re.compile(r'("(?:credential|model|port|failures)": )\d+'), r"\g<1>17"),
    (re.compile(r"/\d+/"), "/17/"),
    (re.compile(r"cursor=[\w%]+"), "cursor=cD0yMDI2"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"), "Fri, 20 Nov 2026 09:30:00 GMT"),
    (re.compile(r'("(?:create|update)_time": ?)\d{13}'), r"\g<1>1795167000000"),
    (re.compile(r'("created": ?)\d{10}'), r"\g<1>1795167000"),
    (re.compile(r'("(?:checked|listed|modified)_at": ?|"up_since": ?)\d{13}'), r"\g<1>1795167000000"),
    (re.compile(r"answered within \d+ ms"), "answered within 12 ms"),
    (re.compile(r"seen \d+ s ago"), "seen 3 s ago"),
    (re.compile(r"\d\.\d s old"), "0.2 s old"),
    (re.compile(r"http://testserver"), "https://llmadmin.example"),
]


ONE_LINE = 110
_PLACE = re.compile(r"<!-- example: ([\w-]+) -->\n.*?<!-- end -->\n", re.DOTALL)
_NUMBER = re.compile(r'("id": ?|"tenant_model": ?")(\d+)')


@dataclass
class Page:
    """A page of examples, in the order they were run. `shown` has what it names.

    `compact` breaks JSON only where lines would be too long. `names` are what addresses of this machine are called.
    """

    client: Client
    compact: bool = False
    names: dict[str, str] = field(default_factory=dict)
    text: str = ""
    shown: set[tuple[str, str]] = field(default_factory=set)
    numbers: dict[str, str] = field(default_factory=dict)

    def chapter(self, title: str, prose: str) -> None:
        self.text += f"\n## {title}\n\n{prose}\n"

    def ask(self, title: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Run one example and write it down; the answer's body."""
        blocks, shown = self.exchange(method, path, body, **headers)
        self.text += f"\n### {title}\n\n{blocks}"
        return shown

    def exchange(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[str, Any]:
        """Run one example; what was asked and answered as blocks of Markdown, and the answer's body."""
        send = getattr(self.client, method)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is None:
            answer = send(path, headers=named)
        else:
            answer = send(path, body, content_type="application/json", headers=named)
        assert answer.status_code != 500, answer.content
        asked = [f"{method.upper()} {path}", *(f"{name}: {value}" for name, value in named.items())]
        told = [f"{name}: {answer[name]}" for name in TOLD_HEADERS if name in answer]
        return self.written(asked, body, answer.status_code, told, answer.content)

    def written(self, asked: list[str], body: Any, status: int, told: list[str], content: bytes) -> tuple[str, Any]:
        """One exchange, however it was made."""
        method, _, path = asked[0].partition(" ")
        self.shown.add((re.sub(r"/(?:[0-9a-f]{32}|\d+)/", "/{id}/", path.partition("?")[0]), method.lower()))
        head = [f"{status} {HTTPStatus(status).phrase}", *told]
        shown = json.loads(content) if content else None
        escaped = b"\\u" in content
        return f"{self._block(asked, body)}\n{self._block(head, shown, escaped=escaped)}", shown

    def _block(self, head: list[str], body: Any, *, escaped: bool = False) -> str:
        lines = "\n".join(head)
        return f"```http\n{lines}{'' if body is None else self._json(body, escaped=escaped)}\n```\n"

    def _json(self, body: Any, *, escaped: bool) -> str:
        if isinstance(body, str):  # sent as it is, because it is not JSON
            return f"\n\n{body}"
        body = _ordered(body)
        text = _folded(body, escaped=escaped) if self.compact else json.dumps(body, indent=2, ensure_ascii=escaped)
        return f"\n\n{text}"

    def render(self) -> str:
        return self.made_up(self.text)

    def made_up(self, text: str) -> str:
        """With what is different each time replaced by what never changes."""
        for address, name in self.names.items():
            text = text.replace(address, name)
        for pattern, replacement in _VOLATILE:
            text = pattern.sub(replacement, text)
        return _NUMBER.sub(lambda found: found[1] + self.numbers.setdefault(found[2], str(len(self.numbers) + 1)), text)


def fill(text: str, blocks: dict[str, str]) -> str:
    """A page written by hand with the named examples between their marks; each is used, and there is no other."""
    assert sorted(_PLACE.findall(text)) == sorted(blocks)
    return _PLACE.sub(lambda found: f"<!-- example: {found[1]} -->\n{blocks[found[1]]}<!-- end -->\n", text)


def _ordered(value: Any, *, by_name: bool = False) -> Any:
    """What comes from a JSON column in an order that does not depend on the database."""
    if isinstance(value, list):
        return [_ordered(inner, by_name=by_name) for inner in value]
    if not isinstance(value, dict):
        return value
    names = sorted(value) if by_name else list(value)
    return {name: _ordered(value[name], by_name=by_name or name in JSON_COLUMNS) for name in names}


def _folded(value: Any, *, escaped: bool, indent: int = 0) -> str:
    """As it goes over the wire, broken only where a line would be too long."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=escaped)
    if indent + len(text) <= ONE_LINE or not isinstance(value, dict | list):
        return text
    pad, deeper = " " * indent, indent + 2
    if isinstance(value, list):
        parts = [_folded(inner, escaped=escaped, indent=deeper) for inner in value]
        return "[\n" + ",\n".join(f"{pad}  {part}" for part in parts) + f"\n{pad}]"
    parts = [
        json.dumps(name, ensure_ascii=escaped) + ":" + _folded(inner, escaped=escaped, indent=deeper)
        for name, inner in value.items()
    ]
    return "{\n" + ",\n".join(f"{pad}  {part}" for part in parts) + f"\n{pad}}}"
