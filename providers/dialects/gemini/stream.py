"""A streamed answer as chunks of a chat completion.

Source: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from __future__ import annotations

from typing import Any

from providers.dialects import completions
from providers.dialects.completions import text
from providers.dialects.gemini import errors, reply
from providers.dialects.gemini.reply import Candidate
from providers.dialects.sse import MAX_EVENT_BYTES
from providers.dialects.streams import Chunks, JSONEventDecoder
from providers.errors import BadReply, UpstreamError

MAX_CANDIDATES = 64


class ContentDecoder(JSONEventDecoder):
    """Every event is a response that holds what is new.

    Nothing marks the last one, so that only at `close` the usage is told and `finished` known: the answer is whole if
    every candidate has said why it ended.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._of = {"id": "", "model": ""}
        self._candidates: dict[int, Candidate] = {}
        self._usage: dict[str, Any] | None = None
        self._tier = ""

    def failure(self, data: bytes) -> UpstreamError:
        return errors.in_success(data)

    def take(self, event: dict[str, Any]) -> Chunks:
        reply.check_prompt(event)
        for name, field in (("id", "responseId"), ("model", "modelVersion")):
            self._of[name] = self._of[name] or text(event, field)
        self._usage = reply.usage(event.get("usageMetadata")) or self._usage
        self._tier = reply.service_tier(event.get("usageMetadata")) or self._tier
        entries = event.get("candidates")
        chunks: Chunks = []
        for position, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict):
                chunks += self._pieces(self._candidate(reply.index_of(entry, position)), entry)
        return chunks

    def last(self) -> Chunks:
        self.finished = bool(self._candidates) and all(each.ended for each in self._candidates.values())
        return [] if self._usage is None else [completions.usage_chunk(self._of, self._usage, self._tier)]

    def _candidate(self, index: int) -> Candidate:
        if index not in self._candidates and len(self._candidates) >= MAX_CANDIDATES:
            raise BadReply("The stream has too many candidates.", step="parse")
        return self._candidates.setdefault(index, Candidate(index))

    def _pieces(self, candidate: Candidate, entry: dict[str, Any]) -> Chunks:
        if candidate.ended:
            return []
        deltas = list(candidate.deltas(entry, self._of["id"]))
        if not candidate.began:
            candidate.began = True
            first = {"role": "assistant", "content": ""}
            deltas = [first, *deltas]
        reason = self._end(candidate, entry)
        logprobs = reply.logprobs(entry)
        chunks = [completions.chunk(self._of, candidate.index, delta) for delta in deltas]
        if reason is not None:
            chunks.append(completions.chunk(self._of, candidate.index, candidate.extra, reason))
        if logprobs is not None and chunks:
            chunks[-1]["choices"][0]["logprobs"] = logprobs
        return chunks

    def _end(self, candidate: Candidate, entry: dict[str, Any]) -> str | None:
        """An answer that failed is an error, after what was said before it."""
        try:
            return candidate.end(entry)
        except BadReply as error:
            self._error = error
            return None
