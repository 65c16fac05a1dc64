"""What a model is taken for: the upstream's words first, then the catalogue's, then the factory's, its name last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from providers.discovery import words
from providers.discovery.reading import Reading
from providers.llm_types import LLMType


class Source(StrEnum):
    """Who says what type a model has."""

    UPSTREAM = "upstream"
    CATALOGUE = "catalogue"
    FACTORY = "factory"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue has of a model."""

    types: tuple[LLMType, ...]
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Discovered:
    """A model as it is offered. No types: it has none that is used here. None elsewhere: unknown.

    `vision` may be unknown where the types are: only a difference that was said is one.
    """

    name: str
    types: tuple[LLMType, ...]
    source: Source
    vision: bool | None = None
    tools: bool | None = None
    thinking: bool | None = None
    max_tokens: int | None = None
    aliases: tuple[str, ...] = ()


def typed(name: str, reading: Reading, *, known: Known | None = None, offered: Sequence[LLMType] = ()) -> Discovered:
    """Decide for one model. `offered` are its factory's types: if there is one, and not chat, all models are of it."""
    types, source = _types(name, reading, known, offered)
    if LLMType.CHAT in types and LLMType.IMAGE2TEXT not in types and _sees(name, reading, known):
        at = types.index(LLMType.CHAT) + 1
        types = (*types[:at], LLMType.IMAGE2TEXT, *types[at:])
    return Discovered(
        name=name,
        types=types,
        source=source,
        vision=reading.vision,
        tools=reading.tools,
        thinking=reading.thinking,
        max_tokens=reading.max_tokens or (known.max_tokens if known is not None else None),
        aliases=reading.aliases,
    )


def _types(
    name: str, reading: Reading, known: Known | None, offered: Sequence[LLMType]
) -> tuple[tuple[LLMType, ...], Source]:
    if reading.types is not None:
        return reading.types, Source.UPSTREAM
    if known is not None:
        return known.types, Source.CATALOGUE
    if len(offered) == 1 and LLMType.CHAT not in offered:
        return tuple(offered), Source.FACTORY
    hint = next((kind for pattern, kind in words.NAME_HINTS if pattern.search(name.lower())), LLMType.CHAT)
    said = reading.prompted and hint is LLMType.CHAT
    return (() if hint is None else (hint,)), Source.UPSTREAM if said else Source.NAME


def _sees(name: str, reading: Reading, known: Known | None) -> bool:
    if reading.vision is not None:
        return reading.vision
    if known is not None:
        return LLMType.IMAGE2TEXT in known.types
    return words.VISION_HINT.search(name.lower()) is not None
