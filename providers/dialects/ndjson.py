"""A JSON value on each line, from bytes cut anywhere. Source: https://github.com/ndjson/ndjson-spec"""

from __future__ import annotations

from providers.dialects.sse import EventParser


class LineParser(EventParser):
    """Takes each line that is not blank for an event without a name; as bounded as its base class."""

    def _take_line(self, line: bytes, events: list[tuple[str, bytes]]) -> None:
        self._check(len(line))
        if not self.overflown and line.strip():
            events.append(("", line))
