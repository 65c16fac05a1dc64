"""What is done to texts: cut to what a model reads on their way in, thoughts and tool calls marked on their way out."""

from __future__ import annotations

import re
from typing import Any

from providers.batches import cut, tokens_at_most

EMPTY = "None"  # what is embedded in the place of a text without content, which most upstreams refuse
THINK, THOUGHT = "<think>", "</think>"
_TOOL_CALLS = re.compile(r"<tool_call>.*?</tool_call>", re.DOTALL)
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_SPACE = re.compile(r"\s")
TRUNCATED = "...\nThe answer is truncated by your chosen LLM due to its limitation on context length."
TRUNCATED_CHINESE = "······\n由于大模型的上下文窗口大小限制，回答已经被大模型截断。"


def fitted(text: str, tokens: int) -> str:
    """The beginning of a text that the model reads, by an estimate; never empty."""
    found = cut(text, tokens)
    return found if found.strip() else EMPTY


def fitted_beside(query: str, text: str, tokens: int) -> str:
    """The same for a text that is read together with a query, of which at least half is left."""
    return fitted(text, max(tokens - tokens_at_most(query), tokens // 2, 1))


def content_of(message: Any) -> str:
    """The text of a message's content, which may be in parts."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(text for part in parts if isinstance(part, dict) and isinstance(text := part.get("text"), str))


def thoughts_of(message: Any) -> str:
    """The reasoning beside a message's content."""
    for name in ("reasoning_content", "reasoning"):
        if isinstance(message, dict) and isinstance(text := message.get(name), str):
            return text
    return ""


def without_thoughts(text: str) -> str:
    """What follows the last end of thinking; nothing, if the text ends while the model thinks."""
    _, ended, rest = text.rpartition(THOUGHT)
    if not ended and text.lstrip().startswith(THINK):
        return ""
    return rest.lstrip() if ended else text


def without_tool_calls(text: str) -> str:
    return _TOOL_CALLS.sub("", text)


def truncated(text: str) -> str:
    """What to say after a text that the model could not end, in its language."""
    letters = _SPACE.sub("", text)
    return TRUNCATED_CHINESE if len(_CHINESE.findall(letters)) > len(letters) * 0.2 else TRUNCATED


class Without:
    """Takes blocks out of a text that comes in pieces. One that never ends is no block, unless `torn` ones count."""

    def __init__(self, begin: str, end: str, *, torn: bool = False) -> None:
        self._begin, self._end, self._torn = begin, end, torn
        self._held = ""
        self._inside = False

    def feed(self, text: str) -> str:
        held, out = self._held + text, ""
        while True:
            if not self._inside:
                before, mark, rest = held.partition(self._begin)
                if not mark:
                    keep = _beginning_at_end(held, self._begin)
                    self._held = held[len(held) - keep :]
                    return out + held[: len(held) - keep]
                out, held, self._inside = out + before, rest, True
            _, mark, rest = held.partition(self._end)
            if not mark:
                self._held = held
                return out
            held, self._inside = rest, False

    def close(self) -> str:
        """What was held back."""
        if self._inside:
            return "" if self._torn else self._begin + self._held
        return self._held


class Spoken:
    """A streamed answer as text: thoughts between one `<think>` and one `</think>`, or left out."""

    def __init__(self, *, thoughts: bool, tool_calls: bool) -> None:
        self.said: list[str] = []
        self._shows = thoughts
        self._thinking = False
        self._filters = [] if thoughts else [Without(THINK, THOUGHT, torn=True)]
        if not tool_calls:
            self._filters.append(Without("<tool_call>", "</tool_call>"))

    def feed(self, thought: str, said: str) -> str:
        out = ""
        if thought and self._shows:
            out = thought if self._thinking else THINK + thought
            self._thinking = True
        if said:
            for one in self._filters:
                said = one.feed(said)
            if said:
                out += self._stop_thinking() + said
                self.said.append(said)
        return out

    def close(self) -> str:
        """What was held back, and the end of thoughts that have none."""
        rest = ""
        for one in self._filters:
            rest = one.feed(rest) + one.close()
        self.said.append(rest)
        out, text = self._stop_thinking() + rest, "".join(self.said)
        torn = text.lstrip().startswith(THINK) and THOUGHT not in text
        return out + THOUGHT if torn else out

    def _stop_thinking(self) -> str:
        was, self._thinking = self._thinking, False
        return THOUGHT if was else ""


def _beginning_at_end(text: str, mark: str) -> int:
    """How many letters at the end of a text may be the beginning of a mark."""
    for size in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:size]):
            return size
    return 0
