"""A streamed answer of Converse as chunks of a chat completion.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from __future__ import annotations

from typing import Any

from providers.dialects import completions
from providers.dialects.bedrock import errors
from providers.dialects.bedrock.eventstream import CORRUPT, FAILED, FrameParser
from providers.dialects.bedrock.reply import finish_reason, usage
from providers.dialects.bedrock.request import JSON_TOOL
from providers.dialects.bodies import first_words, loads
from providers.dialects.completions import text
from providers.dialects.sse import MAX_EVENT_BYTES
from providers.dialects.streams import Chunks, JSONEventDecoder
from providers.errors import BadReply


class ConverseDecoder(JSONEventDecoder):
    """From messageStart to the metadata that follow messageStop; events of unknown types are passed over.

    Pieces of thinking come twice: as `reasoning_content` to show, and as `thinking_blocks` to send back, whose entries
    of one index are one block.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._parser = FrameParser(max_event_bytes=max_event_bytes)
        self._of = {"id": "", "model": ""}
        self._tool: dict[str, Any] | None = None
        self._has_input = False
        self._calls = -1
        self._thoughts = -1
        self._thinks = False
        self._stopped = False

    def take(self, event: dict[str, Any]) -> Chunks:
        data = event["data"]
        match event["name"]:
            case "messageStart":
                return self._say(role="assistant", content="")
            case "contentBlockStart":
                return self._open(data.get("start"))
            case "contentBlockDelta":
                return self._piece(data.get("delta"))
            case "contentBlockStop":
                return self._shut()
            case "messageStop":
                self._stopped = True
                reason = finish_reason(data.get("stopReason"), called=self._calls >= 0)
                return [completions.chunk(self._of, 0, {}, reason)]
            case "metadata":
                self.finished = self._stopped
                counted = usage(data.get("usage"))
                tier = completions.text(data.get("serviceTier"), "type")
                return [] if counted is None else [completions.usage_chunk(self._of, counted, tier)]
        return []

    def last(self) -> Chunks:
        """The answer is whole without the metadata, too."""
        self.finished = self._stopped
        return []

    def _event(self, name: str, data: bytes) -> dict[str, Any]:
        if name == CORRUPT:
            raise BadReply(
                "The upstream's answer is not a stream of AWS's events.",
                hint=f"What came begins: “{first_words(data)}”." if data.isascii() else "",
                step="parse",
            )
        if name.startswith(FAILED):
            raise errors.in_stream(name.removeprefix(FAILED), data)
        try:
            event = loads(data or b"{}")
        except ValueError:
            raise BadReply("An event of the stream is not JSON.", step="parse") from None
        if not isinstance(event, dict):
            raise BadReply("An event of the stream is not a JSON object.", step="parse")
        return {"name": name, "data": event}

    def _open(self, start: Any) -> Chunks:
        use = start.get("toolUse") if isinstance(start, dict) else None
        self._has_input, self._thinks = False, False
        self._tool = use if isinstance(use, dict) else None
        if self._tool is None or self._is_json:
            return []
        self._calls += 1
        function = {"name": text(use, "name"), "arguments": ""}
        return self._call(id=text(use, "toolUseId"), type="function", function=function)

    def _piece(self, delta: Any) -> Chunks:
        if not isinstance(delta, dict):
            return []
        if said := text(delta, "text"):
            return self._say(content=said)
        if isinstance(thought := delta.get("reasoningContent"), dict):
            return self._think(thought)
        if self._tool is not None:
            return self._input(text(delta.get("toolUse"), "input"))
        return []

    def _shut(self) -> Chunks:
        """A tool without arguments is called with an empty object, of which no piece may come."""
        chunks = self._input("{}") if self._tool is not None and not self._has_input else []
        self._tool, self._thinks = None, False
        return chunks

    @property
    def _is_json(self) -> bool:
        return self._tool is not None and self._tool.get("name") == JSON_TOOL

    def _input(self, piece: str) -> Chunks:
        if not piece:
            return []
        self._has_input = True
        return self._say(content=piece) if self._is_json else self._call(function={"arguments": piece})

    def _say(self, **delta: Any) -> Chunks:
        return [completions.chunk(self._of, 0, delta)]

    def _call(self, **entry: Any) -> Chunks:
        return self._say(tool_calls=[{"index": self._calls, **entry}])

    def _think(self, thought: dict[str, Any]) -> Chunks:
        """Blocks of thinking are not announced: the first piece after another block begins one."""
        shown, signature, hidden = (text(thought, name) for name in ("text", "signature", "redactedContent"))
        if not (shown or signature or hidden):
            return []
        apart = ""
        if not self._thinks:
            self._thoughts += 1
            self._thinks = True
            apart = "\n\n" if self._thoughts else ""
        if hidden:
            return self._say(thinking_blocks=[{"index": self._thoughts, "type": "redacted_thinking", "data": hidden}])
        entry = {"index": self._thoughts, "type": "thinking", "thinking": shown, "signature": signature}
        delta: dict[str, Any] = {"thinking_blocks": [entry]}
        if shown:
            # A second block of thinking is set apart, as it is in a whole reply.
            delta["reasoning_content"] = apart + shown
        return self._say(**delta)
