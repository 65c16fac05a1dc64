"""Embedding more texts than an upstream takes in one call: parted as the row says, called, and put together again.

    vectors = await embed(target, texts, policy=policy)                      one vector for each text, in their order
    vectors = await in_batches(payload, target.quirks, send)                 the same for who makes the calls himself

How much goes into a call is data: `embedding.batch` texts of together `embedding.batch_tokens` at the most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from providers.calls import acall
from providers.errors import BadReply, UpstreamError
from providers.quirks import Quirks
from providers.target import Target
from providers.upstream import Policy, Pool
from providers.wire import Embeddings, Operation

AT_ONCE = 4  # calls under way for one list of texts
# Rather too many than too few: vocabularies make one token of three letters or more, and up to 1.3 of a Chinese one.
ASCII_PER_TOKEN, TOKENS_PER_OTHER = 3, 1.3

Send = Callable[[Mapping[str, Any]], Awaitable[Embeddings]]


async def embed(
    target: Target,
    inputs: str | Sequence[Any],
    *,
    policy: Policy,
    pool: Pool | None = None,
    truncate: bool = False,
    **options: Any,
) -> Embeddings:
    """One vector for each input, with the usage of all calls; raises UpstreamError if one of them fails.

    `options` are the other parameters of the calls: `input_type` ("document" or "query"), `dimensions`. With
    `truncate`, texts are cut to what the row says that the model reads, by an estimate of their tokens.
    """

    async def send(payload: Mapping[str, Any]) -> Embeddings:
        reply = await acall(target, Operation.EMBEDDINGS, payload, policy=policy, pool=pool)
        return reply if isinstance(reply, Embeddings) else Embeddings([])

    limit = target.quirks.embedding_max_tokens if truncate else None
    return await in_batches({**options, "input": _cut(inputs, limit)}, target.quirks, send)


async def in_batches(payload: Mapping[str, Any], quirks: Quirks, send: Send) -> Embeddings:
    """The reply to the whole payload of an embedding, from as many calls of `send` as its `input` needs.

    A few are under way at once. Where one fails, the others are given up, and its error is the error of all.
    """
    given: Any = payload.get("input")
    if not _is_list(given):
        return await send(payload)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(part: list[Any]) -> Embeddings:
        async with gate:
            reply = await send({**payload, "input": part})
        if len(reply) != len(part):
            said = f"{len(part)} texts were sent, and {len(reply)} vectors came back."
            raise BadReply(said, hint="Check that the model embeds texts one by one.", step="parse")
        return reply

    parts = split(given, texts=quirks.embedding_batch, tokens=quirks.embedding_batch_tokens)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(part)) for part in parts]
    except ExceptionGroup as failed:
        raise _first(failed) from None
    return joined(task.result() for task in tasks)


def fits(payload: Mapping[str, Any], quirks: Quirks) -> bool:
    """Whether one call will do."""
    given: Any = payload.get("input")
    if not _is_list(given) or (len(given) <= quirks.embedding_batch and quirks.embedding_batch_tokens is None):
        return True
    return len(split(given, texts=quirks.embedding_batch, tokens=quirks.embedding_batch_tokens)) == 1


def split(inputs: Sequence[Any], *, texts: int, tokens: int | None = None) -> list[list[Any]]:
    """The inputs in their order, in parts of at most so many `texts` and estimated `tokens`.

    An input that is too long by itself is a part of its own: whether it is too long, the upstream knows better.
    """
    parts: list[list[Any]] = [[]]
    size = 0
    for one in inputs:
        weight = tokens_at_most(one) if tokens else 0
        if parts[-1] and (len(parts[-1]) >= texts or (tokens is not None and size + weight > tokens)):
            parts.append([])
            size = 0
        parts[-1].append(one)
        size += weight
    return parts


def joined(replies: Iterable[Embeddings]) -> Embeddings:
    """One reply of several, in their order; its usage is the sum, or unknown if that of any is."""
    found = list(replies)
    usages = [reply.usage for reply in found]
    known = [usage for usage in usages if usage is not None]
    return Embeddings(
        [vector for reply in found for vector in reply],
        usage=_sum(known) if known and len(known) == len(usages) else None,
        model=next((reply.model for reply in found if reply.model), ""),
    )


def tokens_at_most(one: Any) -> int:
    """How many tokens an input has, rather too many than too few; exact for a list of token ids."""
    if not isinstance(one, str):
        return len(one) if isinstance(one, list | tuple) else 1
    plain = len(one.encode("ascii", "ignore"))
    return -(-plain // ASCII_PER_TOKEN) + int((len(one) - plain) * TOKENS_PER_OTHER + 0.999)


def cut(text: str, tokens: int) -> str:
    """The beginning of a text that has no more than so many estimated tokens."""
    low, high = 0, min(len(text), tokens * ASCII_PER_TOKEN)
    if high == len(text) and tokens_at_most(text) <= tokens:
        return text
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if tokens_at_most(text[:middle]) <= tokens else (low, middle - 1)
    return text[:low]


def _cut(inputs: str | Sequence[Any], tokens: int | None) -> Any:
    if tokens is None:
        return inputs
    if isinstance(inputs, str):
        return cut(inputs, tokens)
    return [cut(one, tokens) if isinstance(one, str) else one for one in inputs]


def _is_list(given: Any) -> bool:
    """Whether there are several inputs: a text, and the token ids of one, are a single input."""
    return isinstance(given, list | tuple) and bool(given) and not all(type(one) is int for one in given)


def _first(failed: ExceptionGroup[Exception]) -> Exception:
    """What went wrong upstream, if anything did: all else is a fault of ours."""
    upstreams, others = failed.split(UpstreamError)
    group = others or upstreams or failed
    found: Exception = group.exceptions[0]
    return _first(found) if isinstance(found, ExceptionGroup) else found


def _sum(usages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts that every part has; others are unknown for the whole."""
    total: dict[str, Any] = {}
    for name, value in usages[0].items():
        values = [usage.get(name) for usage in usages]
        if all(isinstance(one, Mapping) for one in values):
            total[name] = _sum([one for one in values if isinstance(one, Mapping)])
        elif all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
            total[name] = sum(one for one in values if isinstance(one, int | float))
        elif all(one == value for one in values):
            total[name] = value
    return total
