"""How the mock runtime answers: JSON, lines of JSON, events, and refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from providers.inprocess import InProcessAnswer


class Refused(Exception):
    """A request that is answered with an error, in OpenAI's shape. `param` is what of the body is at fault."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param

    @property
    def answer(self) -> InProcessAnswer:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json_answer({"error": error}, self.status)

    @classmethod
    def unknown(cls, name: str) -> Refused:
        return cls(404, "model_not_found", f"The model “{name}” does not exist.")


def json_answer(data: Any, status: int = 200) -> InProcessAnswer:
    return InProcessAnswer(status, {"Content-Type": "application/json"}, orjson.dumps(data))


def lines(of: AsyncIterator[Any]) -> InProcessAnswer:
    """A JSON value a line."""

    async def body() -> AsyncIterator[bytes]:
        async for value in of:
            yield orjson.dumps(value) + b"\n"

    return InProcessAnswer(200, {"Content-Type": "application/x-ndjson"}, body())


def events(of: AsyncIterator[Any]) -> InProcessAnswer:
    """Server-sent events, and [DONE] after the last of them."""

    async def body() -> AsyncIterator[bytes]:
        async for value in of:
            yield b"data: " + orjson.dumps(value) + b"\n\n"
        yield b"data: [DONE]\n\n"

    return InProcessAnswer(200, {"Content-Type": "text/event-stream"}, body())
