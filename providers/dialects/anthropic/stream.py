"""A streamed answer of the Messages API as chunks of a chat completion.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Any

from providers.dialects import completions
from providers.dialects.anthropic import errors
from providers.dialects.anthropic.reply import COUNTS, finish_reason, refusal, service_tier, usage
from providers.dialects.anthropic.request import JSON_TOOL
from providers.dialects.completions import text
from providers.dialects.sse import MAX_EVENT_BYTES
from providers.dialects.streams import Chunks, JSONEventDecoder
from providers.errors import UpstreamError


class MessageDecoder(JSONEventDecoder):
    """From message_start to message_stop; pings and events of unknown types are passed over.

    Pieces of thinking come twice: as `reasoning_content` to show, and as `thinking_blocks` to send back, whose entries
    of one index are one block. The last chunk holds the usage.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._of = {"id": "", "model": ""}
        self._usage: dict[str, Any] = {}
        self._block: dict[str, Any] = {}
        self._calls = -1
        self._thoughts = -1
        self._said_thought = False
        self._has_input = False

    def failure(self, data: bytes) -> UpstreamError:
        return errors.in_success(data)

    def take(self, event: dict[str, Any]) -> Chunks:
        match event.get("type"):
            case "message_start":
                return self._start(event.get("message"))
            case "content_block_start":
                return self._open(event.get("content_block"))
            case "content_block_delta":
                return self._piece(event.get("delta"))
            case "content_block_stop":
                return self._shut()
            case "message_delta":
                return self._end(event)
            case "message_stop":
                self.finished = True
                counted = usage(self._usage)
                return (
                    [] if counted is None else [completions.usage_chunk(self._of, counted, service_tier(self._usage))]
                )
        return []

    def _start(self, message: Any) -> Chunks:
        self._of = {"id": text(message, "id"), "model": text(message, "model")}
        self._count(message)
        return self._say(role="assistant", content="")

    def _open(self, block: Any) -> Chunks:
        self._block = block if isinstance(block, dict) else {}
        self._has_input = False
        match self._block.get("type"):
            case "text":
                return self._say(content=said) if (said := text(block, "text")) else []
            case "thinking":
                self._thoughts += 1
                return self._think(thinking=text(block, "thinking"), signature=text(block, "signature"))
            case "redacted_thinking":
                self._thoughts += 1
                return self._think(data=text(block, "data"))
            case "tool_use" if not self._is_json:
                self._calls += 1
                function = {"name": text(block, "name"), "arguments": ""}
                return self._call(id=text(block, "id"), type="function", function=function)
        return []

    def _piece(self, delta: Any) -> Chunks:
        kind = delta.get("type") if isinstance(delta, dict) else None
        match kind, self._block.get("type"):
            case "text_delta", _:
                return self._say(content=text(delta, "text"))
            case "thinking_delta", "thinking":
                return self._think(thinking=text(delta, "thinking"))
            case "signature_delta", "thinking":
                # Thinking may be kept from us: then this is all of the block, which still has a text, an empty one.
                return self._think(thinking="", signature=text(delta, "signature"))
            case "input_json_delta", "tool_use":
                return self._input(text(delta, "partial_json"))
        return []

    def _shut(self) -> Chunks:
        """A tool without arguments is called with an empty object, of which no piece may come."""
        block, has_input = self._block, self._has_input
        chunks = []
        if block.get("type") == "tool_use" and not has_input:
            chunks = self._input(completions.as_json(block.get("input")))
        self._block = {}
        return chunks

    def _end(self, event: dict[str, Any]) -> Chunks:
        self._count(event)
        delta = event.get("delta")
        reason = delta.get("stop_reason") if isinstance(delta, dict) else None
        if not isinstance(delta, dict) or reason is None:
            return []
        said = {"refusal": refusal(delta.get("stop_details"))} if reason == "refusal" else {}
        return [completions.chunk(self._of, 0, said, finish_reason(reason, called=self._calls >= 0))]

    @property
    def _is_json(self) -> bool:
        return self._block.get("name") == JSON_TOOL

    def _input(self, piece: str) -> Chunks:
        if not piece:
            return []
        self._has_input = True
        return self._say(content=piece) if self._is_json else self._call(function={"arguments": piece})

    def _count(self, holder: Any) -> None:
        """Counts are sums so far; a later one replaces an earlier one."""
        counted = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(counted, dict):
            self._usage.update({name: counted[name] for name in COUNTS if counted.get(name) is not None})

    def _say(self, **delta: Any) -> Chunks:
        return [completions.chunk(self._of, 0, delta)]

    def _call(self, **entry: Any) -> Chunks:
        return self._say(tool_calls=[{"index": self._calls, **entry}])

    def _think(self, **entry: str) -> Chunks:
        if not any(entry.values()):
            return []
        delta: dict[str, Any] = {"thinking_blocks": [{"index": self._thoughts, "type": self._block["type"], **entry}]}
        if thought := entry.get("thinking"):
            # A second block of thinking is set apart, as it is in a whole reply.
            apart = "\n\n" if self._said_thought and not self._block.get("shown") else ""
            self._said_thought, self._block["shown"] = True, True
            delta["reasoning_content"] = apart + thought
        return self._say(**delta)
