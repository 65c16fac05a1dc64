"""What the name of a model means for one tenant. Pure; built once for each snapshot, looked up on every call.

    name@factory     the part after the “@” is a known factory; one that is not belongs to the name (`embed@q8_0`)
    a route's name   before any other meaning that the same text could have
    service~model    a model of a known service
    factory/model    as other gateways write it, unless a model has the whole as its name
    a bare name      if only one of the tenant's models has it

Some factories store a suffix with their models' names (`qwen3___VLLM`); the name without it means the same, unless
another model has exactly that name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn

Kind = Literal["model", "route", "service"]

SUFFIX = "___"
MAX_CANDIDATES = 10


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
    """`id` is the model's as it was given, the route's name, or the whole `service~model`."""

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


def split_service(name: str) -> tuple[str, str] | None:
    """The two parts of `service~model`; None for any other text."""
    service, tilde, model = name.partition("~")
    return (service, model) if tilde and service and model else None


@dataclass(frozen=True, slots=True)
class Names:
    """Indexes of what one tenant can call. The usual spellings take one look-up."""

    factories: frozenset[str]
    services: frozenset[str]
    exact: Mapping[str, Resolved]  # by each spelling that needs no thought
    bare: Mapping[str, Sequence[str]]  # by the models' own names: who has it
    short: Mapping[tuple[str, str | None], Sequence[str]]  # by those without suffix, and factory (None: any)
    alike: dict[str, set[str]] = field(default_factory=dict)  # filled for the first caller who mistypes a name

    @classmethod
    def build(
        cls,
        models: Iterable[tuple[str, str, str]],
        routes: Iterable[str],
        factories: Collection[str],
        services: Collection[str] = (),
    ) -> Names:
        """`models` are (id, llm_name, factory), an id that comes again counts once; `factories` are all known ones."""
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
        return cls(known, frozenset(services), exact, dict(bare), dict(short))

    def resolve(self, name: str) -> Resolved:
        """What the name means; raises NameNotFound or NameAmbiguous."""
        return self.exact.get(name) or self._respelled(name)

    def _respelled(self, name: str) -> Resolved:
        own, factory = split(name, self.factories)
        if factory is not None and (ids := self.short.get((own, factory))):
            return _only(name, ids)
        if _names_one_of(self.factories, name):
            self._not_found(name)
        if ids := self.bare.get(name) or self.short.get((name, None)):
            return _only(name, ids)
        if (parts := split_service(name)) and parts[0] in self.services:
            return Resolved("service", name)
        vendor, slash, own = name.partition("/")
        if slash and vendor in self.factories:
            if found := self.exact.get(f"{own}@{vendor}"):
                return found
            if ids := self.short.get((own, vendor)):
                return _only(name, ids)
        self._not_found(name)

    def _not_found(self, name: str) -> NoReturn:
        if not self.alike:
            self.alike.update(self._index_alike())
        wanted = {name, name.rpartition("@")[0], name.partition("/")[2], name.partition("~")[2]}
        keys = {_folded(text) for text in wanted} - {""}
        raise NameNotFound(name, set[str]().union(*(self.alike.get(key, ()) for key in keys)))

    def _index_alike(self) -> Mapping[str, set[str]]:
        alike = defaultdict[str, set[str]](set)
        for text, found in self.exact.items():
            alike[_folded(text)].add(found.id)
        for text, ids in self.bare.items():
            alike[_folded(text)].update(ids)
        return alike


def _names_one_of(factories: Collection[str], name: str) -> bool:
    """Whether the text ends with a known factory: then it means that one's model, and none that is called so."""
    return "@" in name and name.rpartition("@")[2] in factories


def _folded(text: str) -> str:
    return text.casefold().partition(SUFFIX)[0]


def _only(name: str, ids: Sequence[str]) -> Resolved:
    if len(ids) > 1:
        raise NameAmbiguous(name, ids)
    return Resolved("model", ids[0])
