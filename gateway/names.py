"""What the name of a model means for one tenant. Pure; built once for each snapshot, looked up on every call.

    name@factory     the part after the “@” is a known factory; one that is not belongs to the name (`embed@q8_0`)
    a route's name   before any other meaning that the same text could have
    service~model    a model of a service; also model@service, unless a factory has the service's name
    factory/model    as other gateways write it, unless a model has the whole as its name
    a bare name      if only one of the tenant's models has it; else if only one of the services' has

A tag “:latest” of a service's model need not be written, as Ollama has it. What staff add to a service never changes
what a tenant's own names mean, not even one that means several of its models.

Some factories store a suffix with their models' names (`qwen3___VLLM`); the name without it means the same, unless
another model has exactly that name.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, NoReturn

Kind = Literal["model", "route"]

SUFFIX = "___"
IMPLIED_TAG = ":latest"
MAX_CANDIDATES = 10
MAX_NEAREST = 20
MAX_EDITS = 3
MAX_COMPARED = 200  # a comparison takes some 50 µs
MAX_MISTYPED = 1_000  # names of nothing that are remembered
CLOSE = 0.75  # of 1, as difflib measures


class UnresolvedName(Exception):
    """`candidates` are names that do resolve: what the caller may have meant, at most MAX_CANDIDATES, sorted."""

    def __init__(self, name: str, candidates: Iterable[str] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.candidates = tuple(sorted(set(candidates))[:MAX_CANDIDATES])


class NameNotFound(UnresolvedName):
    """Nothing has this name; the candidates have one like it."""


class NameAmbiguous(UnresolvedName):
    """Each of the candidates has this name."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """`id` is the model's as it was given, or the route's name."""

    kind: Kind
    id: str


def split(name: str, factories: Collection[str]) -> tuple[str, str | None]:
    """A model's own name and its factory, if the text has one, by RAGFlow's rules.

    With one “@”, what follows it counts only if it is a known factory, case and all; with more, what follows the last
    one is taken for a factory unseen.
    """
    own, _, factory = name.rpartition("@")
    counts = factory in factories if name.count("@") == 1 else "@" in own
    return (own, factory) if counts else (name, None)


@dataclass(frozen=True, slots=True)
class Names:
    """Indexes of what one tenant can call. The usual spellings take one look-up."""

    factories: frozenset[str]
    exact: Mapping[str, Resolved]  # by each spelling that needs no thought
    bare: Mapping[str, Sequence[str]]  # by the models' own names: who has it
    short: Mapping[tuple[str, str | None], Sequence[str]]  # by those without suffix, and factory (None: any)
    alike: dict[str, set[str]] = field(default_factory=dict)  # filled for the first caller who mistypes a name
    mistyped: dict[str, tuple[str, ...]] = field(default_factory=dict)  # what was found near names of nothing

    @classmethod
    def build(
        cls,
        models: Iterable[tuple[str, str, str]],
        routes: Iterable[str],
        factories: Collection[str],
        served: Iterable[tuple[str, str]] = (),
    ) -> Names:
        """`models` are (id, llm_name, factory), `served` the services' (id, name); an id that comes again counts once.

        `factories` are all known ones.
        """
        known = frozenset(factories)
        exact: dict[str, Resolved] = {}
        bare, short = defaultdict[str, list[str]](list), defaultdict[tuple[str, str | None], list[str]](list)
        for model_id, llm_name, factory in {model[0]: model for model in models}.values():
            found = Resolved("model", model_id)
            exact[model_id] = found
            exact.setdefault(f"{llm_name}@{factory}", found)
            if not _names_one_of(known, llm_name):
                bare[llm_name].append(model_id)
            stem, suffix, _ = llm_name.partition(SUFFIX)
            if stem and suffix:
                short[stem, factory].append(model_id)
                short[stem, None].append(model_id)
        for route in routes:
            exact.setdefault(route, Resolved("route", route))
        for name, ids in bare.items():
            if len(ids) == 1:
                exact.setdefault(name, Resolved("model", ids[0]))
        own = cls(known, exact, bare, short)
        spellings = _spellings(dict(served), known).items()
        news = {name: ids for name, ids in spellings if name not in exact and not own._respelled(name)}
        exact |= {name: Resolved("model", ids[0]) for name, ids in news.items() if len(ids) == 1}
        return cls(known, exact, {**bare, **news}, dict(short))

    def resolve(self, name: str) -> Resolved:
        """What the name means; raises NameNotFound or NameAmbiguous."""
        if found := self.exact.get(name):
            return found
        ids = self._respelled(name)
        if not ids:
            self._not_found(name)
        if len(ids) > 1:
            raise NameAmbiguous(name, ids)
        return Resolved("model", ids[0])

    def _respelled(self, name: str) -> Sequence[str]:
        """Whom a name means that is in no index as it is written."""
        own, factory = split(name, self.factories)
        if factory is not None and (ids := self.short.get((own, factory))):
            return ids
        if _names_one_of(self.factories, name):
            return ()
        if ids := self.bare.get(name) or self.short.get((name, None)):
            return ids
        vendor, slash, own = name.partition("/")
        if not slash or vendor not in self.factories:
            return ()
        found = self.exact.get(f"{own}@{vendor}")
        return (found.id,) if found else self.short.get((own, vendor), ())

    def nearest(self, name: str) -> tuple[str, ...]:
        """Names that do resolve and are a few edits from this one, the closest first, at most MAX_NEAREST.

        For people who mistyped one. Some milliseconds for thousands of models.
        """
        wanted = _folded(name)
        found = self.mistyped.get(wanted)
        if found is None:
            index = self._alike()
            close = get_close_matches(wanted, _within_edits(wanted, index), MAX_NEAREST, CLOSE)
            found = tuple(dict.fromkeys(one for text in close for one in sorted(index[text])))[:MAX_NEAREST]
            if len(self.mistyped) < MAX_MISTYPED:
                self.mistyped[wanted] = found
        return found

    def _not_found(self, name: str) -> NoReturn:
        alike = self._alike()
        wanted = {name, name.rpartition("@")[0], name.partition("/")[2], name.partition("~")[2]}
        keys = {_folded(text) for text in wanted} - {""}
        raise NameNotFound(name, set[str]().union(*(alike.get(key, ()) for key in keys)))

    def _alike(self) -> Mapping[str, set[str]]:
        if not self.alike:
            alike = defaultdict[str, set[str]](set)
            for text, found in self.exact.items():
                alike[_folded(text)].add(found.id)
            for text, ids in self.bare.items():
                alike[_folded(text)].update(ids)
            self.alike.update(alike)
        return self.alike


def _spellings(served: Mapping[str, str], factories: Collection[str]) -> Mapping[str, Sequence[str]]:
    """Who has which name among the models of services, in all ways of writing it; a whole name means its own model."""
    whole, listed, bare = (defaultdict[str, list[str]](list) for _ in range(3))
    for model_id, name in served.items():
        service = model_id.partition("~")[0]
        for end in {""} if model_id.removesuffix(IMPLIED_TAG) in served else {"", IMPLIED_TAG}:
            whole[model_id.removesuffix(end)] = [model_id]
            if own := name.removesuffix(end):
                listed[f"{own}@{service}"] = [model_id]
                if model_id not in bare[own]:
                    bare[own].append(model_id)
    spelled = {name: ids for name, ids in {**bare, **listed}.items() if not _names_one_of(factories, name)}
    return {**spelled, **whole}


def _names_one_of(factories: Collection[str], name: str) -> bool:
    """Whether the text ends with a known factory: then it means that one's model, and none that is called so."""
    return "@" in name and name.rpartition("@")[2] in factories


def _within_edits(text: str, others: Iterable[str]) -> list[str]:
    """Those that a few edits may lead to, at most MAX_COMPARED.

    Of one piece more than there are edits, one at least stays whole.
    """
    edits = min(MAX_EDITS, len(text) // 5 + 1)
    size = -(-len(text) // (edits + 1))
    if size < 2:
        return []
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    near = (
        (shared, other)
        for other in others
        if abs(len(other) - len(text)) <= edits and (shared := sum([piece in other for piece in pieces]))
    )
    return [other for _, other in heapq.nlargest(MAX_COMPARED, near)]


def _folded(text: str) -> str:
    return text.casefold().partition(SUFFIX)[0]
