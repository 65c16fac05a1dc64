"""Chats, round by round: asked, the tools called that the model wants called, and asked again until it answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput
from gateway.bundle import media, tools
from gateway.bundle.texts import Spoken, content_of, thoughts_of, truncated, without_thoughts, without_tool_calls
from gateway.bundle.tools import Asked, Pieces, Toolbox

OURS = frozenset({"model", "messages", "stream", "stream_options", "tools", "extra_body"})  # not a caller's to set

Payload = dict[str, Any]
Ask = Callable[[Payload], Awaitable[Mapping[str, Any]]]
AskStream = Callable[[Payload], AsyncGenerator[list[dict[str, Any]], None]]


@dataclass
class Talk:
    """What is being said. `own_loop`: as for `Toolbox.make`."""

    messages: list[dict[str, Any]]
    options: Payload
    toolbox: Toolbox | None
    max_rounds: int
    verbose: bool
    own_loop: bool

    def payloads(self) -> Iterator[tuple[Payload, bool]]:
        """What to ask in each round, and whether the model may call tools in it."""
        if self.toolbox is None:
            yield {**self.options, "messages": list(self.messages)}, False
            return
        offered = [dict(tool) for tool in self.toolbox.tools]
        for _ in range(self.max_rounds):
            yield {"tool_choice": "auto", **self.options, "messages": list(self.messages), "tools": offered}, True
        self.messages.append({"role": "user", "content": f"Exceed max rounds: {self.max_rounds}"})
        yield {**self.options, "messages": list(self.messages), "tools": offered, "tool_choice": "none"}, False

    async def call(self, message: Mapping[str, Any], asked: Sequence[Asked]) -> list[str]:
        """Make the calls, and put them into the history; returns what came of them."""
        assert self.toolbox is not None  # noqa: S101
        results = await self.toolbox.make(asked, own_loop=self.own_loop)
        self.messages += tools.history(message, asked, results)
        return results


async def answer(talk: Talk, ask: Ask) -> str:
    """The whole answer, without thoughts."""
    blocks = ""
    for payload, may_call in talk.payloads():
        choice = _choice(await ask(payload))
        message = _object(choice, "message")
        if may_call and (asked := tools.read(message)):
            results = await talk.call(message, asked)
            if talk.verbose:
                blocks += "".join(tools.shown(*pair) for pair in zip(asked, results, strict=True))
            continue
        text = without_thoughts(content_of(message))
        if not talk.verbose:
            text = without_tool_calls(text)
        return blocks + text + (truncated(text) if choice.get("finish_reason") == "length" else "")
    return blocks


async def deltas(talk: Talk, ask: AskStream, *, thoughts: bool) -> AsyncGenerator[str, None]:
    """The answer as it comes."""
    for payload, may_call in talk.payloads():
        spoken, pieces, finish = Spoken(thoughts=thoughts, tool_calls=talk.verbose), Pieces(), ""
        content: list[str] = []
        reasoning: list[str] = []
        async with aclosing(ask(payload)) as stream:
            async for chunks in stream:
                for choice in filter(None, map(_choice, chunks)):
                    delta = _object(choice, "delta")
                    thought, said = thoughts_of(delta), content_of(delta)
                    content.append(said)
                    reasoning.append(content_of({"content": delta.get("reasoning_content")}))
                    pieces.add(delta.get("tool_calls"))
                    finish = choice.get("finish_reason") or finish
                    if text := spoken.feed(thought, said):
                        yield text
        if text := spoken.close():
            yield text
        message = {
            "content": "".join(content),
            "reasoning_content": "".join(reasoning),
            "tool_calls": pieces.whole(),
        }
        if not may_call or not (asked := tools.read(message)):
            if finish == "length":
                yield truncated("".join(spoken.said))
            return
        if talk.verbose:
            yield "".join(tools.shown(one, tools.BEGINS) for one in asked)
        results = await talk.call(message, asked)
        if talk.verbose:
            yield "".join(tools.shown(*pair) for pair in zip(asked, results, strict=True))


def messages_of(
    system: str | None, history: Sequence[Mapping[str, Any]], images: Sequence[Any]
) -> list[dict[str, Any]]:
    """The messages of a chat; the history that was given is not touched. Pictures go with the last one of the user."""
    found = [dict(message) for message in history]
    if system and (not found or found[0].get("role") != "system"):
        found.insert(0, {"role": "system", "content": system})
    if images:
        last = next((one for one in reversed(found) if one.get("role") == "user"), None)
        if last is None:
            raise InvalidInput("There is no message of the user that the images could go with.")
        said = last.get("content") or []
        parts = [{"type": "text", "text": said}] if isinstance(said, str) else list(said)
        shown = [{"type": "image_url", "image_url": {"url": media.image_url(image)}} for image in images]
        last["content"] = [*parts, *shown]
    return found


def options_of(gen_conf: Mapping[str, Any] | None) -> Payload:
    """The parameters of a chat, in OpenAI's words; None, and a limit of 0 tokens, are as if they were not given."""
    given = dict(gen_conf or {})
    if "extra_headers" in given:
        raise InvalidInput("extra_headers cannot be sent.", hint="Headers belong to the factory's row.")
    extra = given.get("extra_body")
    if isinstance(extra, Mapping):
        given |= extra
    limits = ("max_tokens", "max_completion_tokens")
    return {
        name: value
        for name, value in given.items()
        if name not in OURS and value is not None and not (name in limits and value == 0)
    }


def _choice(reply: Any) -> Mapping[str, Any]:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) and not first.get("index") else {}


def _object(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = holder.get(name)
    return value if isinstance(value, dict) else {}
