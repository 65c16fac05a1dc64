"""What one entry of a list of models says about the model. Reads any JSON without raising."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from providers.discovery import words
from providers.discovery.words import Sign
from providers.llm_types import LLMType

MAX_CONTEXT = 100_000_000
_PLAIN = re.compile(r"[^a-z0-9]+")
_TYPES = tuple(LLMType)
_MAX_WORDS = 200
_MAX_ALIASES = 20
_TOLD = ("types", "vision", "tools", "thinking", "max_tokens")


@dataclass(frozen=True, slots=True)
class Reading:
    """None always means that nothing was said.

    `types` without IMAGE2TEXT, which is a chat with `vision`; () is something that has no use here. `prompted`: it
    takes prompts, but no type was named. `max_tokens` is the context window. `aliases` are other names of the model.
    """

    types: tuple[LLMType, ...] | None = None
    prompted: bool = False
    vision: bool | None = None
    tools: bool | None = None
    thinking: bool | None = None
    max_tokens: int | None = None
    retired: bool = False
    aliases: tuple[str, ...] = ()

    def with_details(self, details: Reading) -> Reading:
        """What `details` says more about the same model, or better."""
        said = {name: value for name in _TOLD if (value := getattr(details, name)) is not None}
        return replace(self, **said, prompted=details.types is None and (self.prompted or details.prompted))


@dataclass
class _Signs:
    """What was found: for each sign whether it was said to be so (True) or not to be so (False)."""

    said: dict[LLMType | Sign, bool] = field(default_factory=dict)

    def add(self, signs: tuple[LLMType | Sign, ...], holds: bool = True) -> None:
        for sign in signs:
            self.said[sign] = holds or self.said.get(sign, False)

    def rule_out(self, *signs: Sign) -> None:
        for sign in signs:
            self.said.setdefault(sign, False)

    @property
    def types(self) -> tuple[LLMType, ...]:
        return tuple(kind for kind in _TYPES if self.said.get(kind))


def read(name: str, raw: Mapping[str, Any]) -> Reading:
    """What the entry `raw` of the model `name` says."""
    signs = _Signs()
    scopes = [raw, *(inner for key in words.SCOPES if isinstance(inner := raw.get(key), Mapping))]
    for scope in scopes:
        _read_words(scope, signs)
        _read_flags(scope, signs)
        _read_modalities(scope, signs)
    types = signs.types
    prompted = not types and bool(signs.said.get(Sign.PROMPTED))
    if not types and not prompted and signs.said.get(Sign.VISION) and not signs.said.get(Sign.OTHER):
        prompted = True
    return Reading(
        types=types or (() if signs.said.get(Sign.OTHER) and not prompted else None),
        prompted=prompted,
        vision=signs.said.get(Sign.VISION),
        tools=signs.said.get(Sign.TOOLS),
        thinking=signs.said.get(Sign.THINKING),
        max_tokens=_context(scopes),
        retired=_is_retired(scopes),
        aliases=tuple(islice(_aliases(name, raw), _MAX_ALIASES)),
    )


def _read_words(scope: Mapping[str, Any], signs: _Signs) -> None:
    for word, _holds in _words(scope.get(words.TYPE_FIELD)):
        signs.add(_meaning(word, words.WORDS_OF_TYPE))
    for key in (*words.FIELDS, *words.FEATURE_FIELDS):
        value = scope.get(key)
        named: set[LLMType | Sign] = set()
        for word, holds in _words(value):
            meaning = _meaning(word, words.WORDS)
            if key in words.FEATURE_FIELDS:
                meaning = tuple(sign for sign in meaning if sign in words.FEATURES)
            signs.add(meaning, holds)
            named.update(meaning)
        if isinstance(value, list) and value and (key in words.FEATURE_FIELDS or named.intersection(_TYPES)):
            signs.rule_out(*words.LEFT_OUT.get(key, ()))


def _read_flags(scope: Mapping[str, Any], signs: _Signs) -> None:
    """`"supports_tools": true`, and `"thinking": {"supported": true}`."""
    for key, value in list(scope.items())[:_MAX_WORDS]:
        if isinstance(value, bool) or (isinstance(value, Mapping) and isinstance(value.get("supported"), bool)):
            meaning = _meaning(str(key), words.WORDS)
            signs.add(tuple(sign for sign in meaning if sign in words.FEATURES or sign in _TYPES), _holds(value))


def _read_modalities(scope: Mapping[str, Any], signs: _Signs) -> None:
    taken = {_plain(word) for key in words.IN_FIELDS for word, _holds in _words(scope.get(key))}
    given = {_plain(word) for key in words.OUT_FIELDS for word, _holds in _words(scope.get(key))}
    if taken:
        signs.add((Sign.VISION,), holds="image" in taken)
    if "text" in given and taken == {"audio"}:
        signs.add((LLMType.SPEECH2TEXT,))
    elif "text" in given:  # what comes with text, comes in a chat
        signs.add((Sign.PROMPTED,))
        given &= {"text"}
    for word in given:
        signs.add(words.OUTPUTS.get(word, ()))


def _words(value: Any) -> Iterator[tuple[str, bool]]:
    """The words of a text, of a list of texts, or of an object, which may say no to them."""
    if isinstance(value, str):
        yield value, True
    elif isinstance(value, list):
        yield from ((word, True) for word in value[:_MAX_WORDS] if isinstance(word, str))
    elif isinstance(value, Mapping):
        yield from ((str(key), _holds(inner)) for key, inner in list(value.items())[:_MAX_WORDS] if inner is not None)


def _holds(value: Any) -> bool:
    if isinstance(value, Mapping):
        said = value.get("supported")
        answers = [said] if isinstance(said, bool) else list(value.values())
        return not answers or any(answer is not False for answer in answers)
    return value is not False


def _meaning(word: str, table: Mapping[str, tuple[LLMType | Sign, ...]]) -> tuple[LLMType | Sign, ...]:
    """Of the whole word, or of what follows its last slash: "openai/chat-completion"."""
    return table.get(_plain(word)) or table.get(_plain(word.rpartition("/")[2])) or ()


def _plain(word: str) -> str:
    return _PLAIN.sub("", word[:_MAX_WORDS].lower())


def _context(scopes: list[Mapping[str, Any]]) -> int | None:
    for key in words.CONTEXT_FIELDS:
        for scope in scopes:
            if (tokens := _count(scope.get(key))) is not None:
                return tokens
    for scope in scopes:
        for key, value in scope.items():
            if str(key).endswith(words.CONTEXT_SUFFIX) and (tokens := _count(value)) is not None:
                return tokens
    return None


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int and 0 < value <= MAX_CONTEXT:
        return value
    return None


def _is_retired(scopes: list[Mapping[str, Any]]) -> bool:
    states = [scope.get(key) for scope in scopes for key in ("status", "state")]
    return scopes[0].get("active") is False or any(
        isinstance(state, str) and state.lower() in words.RETIRED for state in states
    )


def _aliases(name: str, raw: Mapping[str, Any]) -> Iterator[str]:
    if name.endswith(words.LATEST):
        yield name.removesuffix(words.LATEST)
    named = raw.get("aliases")
    for alias in named[:_MAX_WORDS] if isinstance(named, list) else ():
        if isinstance(alias, str) and 0 < len(alias) <= _MAX_WORDS and alias != name:
            yield alias
