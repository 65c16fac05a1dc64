"""Gemini's candidates as choices of a chat completion, whole or piece by piece.

Sources: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse,
https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from providers.dialects import completions
from providers.dialects.bodies import words
from providers.dialects.completions import as_json, text, tokens
from providers.dialects.gemini.contents import MADE_ID
from providers.errors import BadReply, ContentFiltered

_FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length", "FUNCTION_CALL": "stop"}
_FILTERED = frozenset(
    {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION", "MODEL_ARMOR"}
    | {"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "PUP_LIMITED_DISABLED"}
)
# These end an answer that has failed, not one that is complete.
_FAILED = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"}
    | {"MALFORMED_RESPONSE", "OTHER"}
)
_TIERS = {"standard": "default", "priority": "priority", "flex": "flex"} | {
    "ON_DEMAND": "default",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
}


class Candidate:
    """One choice in the making: what has come so far decides ids of calls and how it ends."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.calls = 0
        self.began = False
        self.ended = False
        self.signature = ""

    def deltas(self, candidate: Mapping[str, Any], identity: str) -> Iterator[dict[str, Any]]:
        """What the parts add, in order. Parts that only Google's own tools make are passed over: none is asked for."""
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                continue
            signed = text(part, "thoughtSignature")
            if isinstance(part.get("functionCall"), dict):
                yield {"tool_calls": [self._call(part["functionCall"], signed, identity)]}
                continue
            self.signature = signed or self.signature
            if said := text(part, "text"):
                yield {"reasoning_content" if part.get("thought") is True else "content": said}

    def end(self, candidate: Mapping[str, Any]) -> str | None:
        """The reason to finish, in OpenAI's words, None if more is to come; raises BadReply if the answer failed."""
        reason = text(candidate, "finishReason").upper()
        if reason in ("", "FINISH_REASON_UNSPECIFIED"):
            return None
        if reason in _FAILED:
            said = words(text(candidate, "finishMessage"), 200)
            raise BadReply(
                f"The model's answer failed ({reason}).{f' It says: “{said}”' if said else ''}",
                hint="Try again; if it stays so, change the request or the tools.",
                step="parse",
                upstream_code=reason.lower(),
            )
        self.ended = True
        if reason in _FILTERED:
            return "content_filter"
        known = _FINISH.get(reason, "stop")
        return "tool_calls" if known == "stop" and self.calls else known

    @property
    def extra(self) -> dict[str, Any]:
        """The signature of the thoughts behind a text."""
        return _signed(self.signature)

    def _call(self, called: Mapping[str, Any], signed: str, identity: str) -> dict[str, Any]:
        name, arguments = text(called, "name"), as_json(called.get("args"))
        made = identity or hashlib.sha256(f"{name}\0{arguments}".encode()).hexdigest()[:12]
        own = text(called, "id") or f"{MADE_ID}{made}_{self.index}_{self.calls}"
        entry = {"index": self.calls, "id": own, "type": "function", "function": {"name": name, "arguments": arguments}}
        self.calls += 1
        return {**entry, **_signed(signed)}


def _signed(signature: str) -> dict[str, Any]:
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def choice(position: int, entry: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """A whole candidate as a choice."""
    candidate = Candidate(index_of(entry, position))
    texts: dict[str, list[str]] = {}
    calls: list[dict[str, Any]] = []
    for delta in candidate.deltas(entry, identity):
        calls += delta.pop("tool_calls", ())
        for name, value in delta.items():
            texts.setdefault(name, []).append(value)
    message: dict[str, Any] = {name: "".join(pieces) for name, pieces in texts.items()}
    if calls:
        message["tool_calls"] = [{name: call[name] for name in call if name != "index"} for call in calls]
    reason = candidate.end(entry) or ("tool_calls" if candidate.calls else "stop")
    return completions.choice(candidate.index, {**message, **candidate.extra}, reason, logprobs(entry))


def index_of(entry: Mapping[str, Any], position: int) -> int:
    """Its index, which is left out where it is 0."""
    index = tokens(entry, "index")
    return position if index is None or index > 1000 else index


def check_prompt(data: Mapping[str, Any]) -> None:
    """Raise ContentFiltered if the prompt was not even answered."""
    feedback = data.get("promptFeedback")
    reason = text(feedback, "blockReason")
    if reason and not data.get("candidates"):
        said = words(text(feedback, "blockReasonMessage"), 200)
        raise ContentFiltered(
            f"The upstream's content filter refused the request ({words(reason, 60)}).",
            step="status",
            upstream_code=words(reason.lower(), 60),
            detail=said,
        )


def service_tier(data: Any) -> str:
    """The tier that the call was served at, in OpenAI's words; "" if it is not said, or has been paid for already.

    Sources: https://googleapis.github.io/js-genai/release_docs/interfaces/types.UsageMetadata.html (`serviceTier` is of
    the Gemini API alone), https://docs.cloud.google.com/vertex-ai/generative-ai/docs/priority-paygo (`trafficType`)
    """
    return _TIERS.get(text(data, "serviceTier").lower() or text(data, "trafficType"), "")


def usage(data: Any) -> dict[str, Any] | None:
    """Gemini counts thoughts beside the answer, OpenAI within it; what was cached is within the prompt for both."""
    prompt, answer, thoughts, by_tools = (
        tokens(data, f"{name}TokenCount") for name in ("prompt", "candidates", "thoughts", "toolUsePrompt")
    )
    if prompt is not None and answer is None and tokens(data, "totalTokenCount") is not None:
        answer = 0  # a count of 0 is left out
    return completions.usage(
        None if prompt is None else prompt + (by_tools or 0),
        None if answer is None else answer + (thoughts or 0),
        total=tokens(data, "totalTokenCount"),
        prompt_cached_tokens=tokens(data, "cachedContentTokenCount"),
        prompt_audio_tokens=_audio(data, "promptTokensDetails"),
        completion_reasoning_tokens=thoughts,
        completion_audio_tokens=_audio(data, "candidatesTokensDetails"),
    )


def _audio(data: Any, name: str) -> int | None:
    details = data.get(name) if isinstance(data, Mapping) else None
    listed = details if isinstance(details, list) else []
    return next((tokens(entry, "tokenCount") for entry in listed if text(entry, "modality") == "AUDIO"), None)


def logprobs(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    result = entry.get("logprobsResult")
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(chosen, list):
        return None
    tops = result.get("topCandidates")
    listed = (
        [top.get("candidates") if isinstance(top, dict) else None for top in tops] if isinstance(tops, list) else []
    )
    content = []
    for position, token in enumerate(chosen):
        others = listed[position] if position < len(listed) else None
        top = [_logprob(other) for other in others] if isinstance(others, list) else []
        content.append({**_logprob(token), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _logprob(token: Any) -> dict[str, Any]:
    said = text(token, "token")
    value = token.get("logProbability") if isinstance(token, dict) else None
    likely = float(value) if type(value) is float or (type(value) is int and abs(value) < 10**9) else 0.0
    return {"token": said, "logprob": likely, "bytes": list(said.encode("utf-8", "replace"))}
