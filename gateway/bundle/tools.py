"""Tools that a model may call: its calls read as models write them, made all at once, and told in the history.

Source: https://platform.openai.com/docs/guides/function-calling
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Protocol

import json_repair
from django.db import connections

from core.ids import new_id

MAX_ARGUMENTS = 1_000_000  # letters
# What is mended: to try takes time that grows with the letters times the brackets, half a second within these.
MAX_MENDED, MAX_MENDED_BRACKETS = 4_000, 50
BEGINS = "Begin to call..."


class Session(Protocol):
    """What makes the calls. `tool_call` may be a coroutine function; what it raises is told to the model."""

    def tool_call(self, name: str, arguments: dict[str, Any]) -> Any: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that a model asks for; `arguments` is None where nothing can be made of what it wrote."""

    id: str
    name: str
    arguments: dict[str, Any] | None
    raw: Mapping[str, Any]

    def in_history(self, index: int) -> dict[str, Any]:
        """With arguments that are JSON, whatever the model had written."""
        function = {"name": self.name, "arguments": json.dumps(self.arguments or {}, ensure_ascii=False)}
        return {**self.raw, "index": index, "id": self.id, "type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What was bound: who makes the calls, and what may be called, in OpenAI's schema."""

    session: Session
    tools: Sequence[Mapping[str, Any]]

    @property
    def names(self) -> frozenset[str]:
        functions = [tool.get("function") for tool in self.tools]
        return frozenset(str(one.get("name")) for one in functions if isinstance(one, Mapping))

    async def make(self, asked: Sequence[Asked], *, own_loop: bool) -> list[str]:
        """What came of each call, in their order; they run beside each other.

        `own_loop`: the running loop is the caller's, so its coroutines may run on it.
        """
        return await asyncio.gather(*(self._make(one, own_loop) for one in asked))

    async def _make(self, asked: Asked, own_loop: bool) -> str:
        try:
            arguments = asked.arguments
            if asked.name not in self.names:
                raise LookupError(f"There is no tool {asked.name!r}.")
            if arguments is None:
                raise ValueError("The arguments are not a JSON object.")
            call = self.session.tool_call
            if own_loop and inspect.iscoroutinefunction(call):
                return as_text(await call(asked.name, arguments))
            return as_text(await in_thread(lambda: _whole(call(asked.name, arguments))))
        except Exception as error:
            told = {"name": asked.name, "args": asked.arguments}
            return f"Tool call error: \n{json.dumps(told, ensure_ascii=False, default=str)}\nException:\n{error}"


def read(message: Mapping[str, Any]) -> list[Asked]:
    """The calls in a message of the assistant; what is no call is passed over."""
    entries = message.get("tool_calls")
    found = []
    for entry in entries if isinstance(entries, list) else []:
        function = entry.get("function") if isinstance(entry, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(function, Mapping) and isinstance(name, str) and name:
            id = entry.get("id")
            found.append(
                Asked(
                    id if isinstance(id, str) and id else f"call_{new_id()}",
                    name,
                    arguments_of(function.get("arguments")),
                    entry,
                )
            )
    return found


def arguments_of(given: Any) -> dict[str, Any] | None:
    """A JSON object, mended if need be; None if it is none."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    if isinstance(given, str):
        if len(given) > MAX_ARGUMENTS:
            return None
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = _mended(given)
    return given if isinstance(given, dict) else None


def _mended(text: str) -> Any:
    if len(text) > MAX_MENDED or text.count("{") + text.count("[") > MAX_MENDED_BRACKETS:
        return None
    with suppress(ValueError, RecursionError):
        return json_repair.loads(text)
    return None


def history(message: Mapping[str, Any], asked: Sequence[Asked], results: Sequence[str]) -> list[dict[str, Any]]:
    """One message of the assistant with all calls, and one of a tool for each."""
    kept = {name: value for name, value in message.items() if name in _SENT_BACK and value}
    calls = [one.in_history(index) for index, one in enumerate(asked)]
    answers = [
        {"role": "tool", "tool_call_id": one.id, "content": result} for one, result in zip(asked, results, strict=True)
    ]
    return [{"content": None, **kept, "role": "assistant", "tool_calls": calls}, *answers]


_SENT_BACK = ("content", "reasoning_content", "thinking_blocks", "extra_content")  # thoughts that vendors want back


def shown(asked: Asked, result: str) -> str:
    """A call as readers of the answer see it."""
    told = {"name": asked.name, "args": asked.arguments, "result": result}
    return f"<tool_call>{json.dumps(told, ensure_ascii=False, indent=2)}</tool_call>"


def as_text(result: Any) -> str:
    """What a tool returned, for the model: texts as they are, the rest as JSON if it can be."""
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(result)


class Pieces:
    """The calls of a streamed answer, put together of their pieces.

    Pieces belong together by their index; some upstreams give all the same and tell calls apart by their ids.
    """

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._by_index: dict[Any, dict[str, Any]] = {}

    def add(self, entries: Any) -> None:
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, Mapping):
                self._add(entry)

    def _add(self, entry: Mapping[str, Any]) -> None:
        index, id = entry.get("index", 0), entry.get("id")
        call = self._by_index.get(index)
        if call is None or (id and call["id"] and id != call["id"]):
            call = {"id": "", "function": {"name": "", "arguments": ""}}
            self._calls.append(call)
            self._by_index[index] = call
        for name, value in entry.items():
            if name == "id":
                call["id"] = call["id"] or value or ""
            elif name != "function":
                call[name] = value
            elif isinstance(value, Mapping):
                function = call["function"]
                function["name"] = function["name"] or value.get("name") or ""
                if isinstance(text := value.get("arguments"), str):
                    function["arguments"] += text

    def whole(self) -> list[dict[str, Any]]:
        return self._calls


def _whole(result: Any) -> Any:
    """The result of what turned out to be a coroutine, in a thread that has no loop."""

    async def wait() -> Any:
        return await result

    return asyncio.run(wait()) if inspect.isawaitable(result) else result


async def in_thread(work: Callable[[], Any]) -> Any:
    """The result of what may take long, in a thread of its own: tools may call models whose tools are called so."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error if isinstance(error, Exception) else RuntimeError(f"The tool ended: {error!r}"))

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(work)
        except StopIteration:
            error = RuntimeError("The tool had nothing more to give.")
        except BaseException as raised:
            error = raised
        finally:
            connections.close_all()
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="llm-tool", daemon=True).start()
    return await done
