"""What the benchmark's upstream answers: a chat of 51 tokens, and the same as a stream of fifty chunks."""

from __future__ import annotations

import json

WORDS = ("Every model answers the same words here so that nothing but the way to them is measured " * 4).split()[:50]
USAGE = {"prompt_tokens": 12, "completion_tokens": 51, "total_tokens": 63}
_HEAD = {"id": "chatcmpl-bench", "created": 1700000000, "model": "bench"}


def chat() -> str:
    message = {"role": "assistant", "content": " ".join(WORDS)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def chunks() -> list[str]:
    """Fifty pieces, the end, the usage, and the last word."""
    deltas = [({"content": f"{word} "}, None) for word in WORDS] + [({}, "stop")]
    events = [
        {
            **_HEAD,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        for delta, finish in deltas
    ]
    events.append({**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
    return [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
