"""The wire formats, found by walking this package and the entry points of the group "llmadmin.dialects".

A dialect is a folder with a `DIALECT`; docs/dialects.md tells how to write one. Nothing here does network I/O, and
nothing is imported before it is asked for.
"""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from providers.dialects.base import Dialect, StreamDecoder
from providers.errors import Unsupported
from providers.llm_types import LLMType
from providers.wire import Operation, operation_for

__all__ = [
    "ENTRY_POINTS",
    "Dialect",
    "StreamDecoder",
    "UnknownDialect",
    "for_type",
    "get",
    "is_installed",
    "names",
    "operations",
]

ENTRY_POINTS = "llmadmin.dialects"
logger = logging.getLogger(__name__)


class UnknownDialect(Unsupported):
    """A row names a wire format that is not installed."""

    code = "unknown_dialect"


def get(name: str) -> Dialect:
    """The dialect of that name; raises UnknownDialect."""
    found = _registry().get(name)
    if found is None:
        raise UnknownDialect(
            f"The wire format “{name}” is not installed.",
            hint=f"Choose one of: {', '.join(names())}.",
            step="build",
        )
    return found


def names() -> tuple[str, ...]:
    """The names of all dialects, sorted."""
    return tuple(sorted(_registry()))


def is_installed(name: str) -> bool:
    return name in _registry()


def operations(name: str) -> frozenset[Operation]:
    """What a dialect can do; raises UnknownDialect."""
    return get(name).operations


def for_type(
    llm_type: LLMType | str, dialect_name: str, uncallable: Mapping[LLMType, str] = MappingProxyType({})
) -> tuple[Dialect, Operation]:
    """The dialect and operation that use a model of this type; raises UnknownDialect or Unsupported.

    `uncallable` is what quirks say of types that cannot be called.
    """
    if reason := uncallable.get(LLMType(llm_type)):
        raise Unsupported(reason, step="build")
    dialect, operation = get(dialect_name), operation_for(llm_type)
    if operation not in dialect.operations:
        raise Unsupported(
            f"The wire format “{dialect_name}” has no call for {LLMType(llm_type)} models.",
            hint=f"It has: {', '.join(sorted(dialect.operations))}.",
            step="build",
        )
    return dialect, operation


@cache
def _registry() -> dict[str, Dialect]:
    found: dict[str, Dialect] = {}
    for dialect in (*_built_in(), *_third_party()):
        if dialect.name in found:
            logger.warning("A second dialect named %s was ignored.", dialect.name)
        else:
            found[dialect.name] = dialect
    return found


def _built_in() -> Iterator[Dialect]:
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        if module.ispkg:
            yield import_module(module.name).DIALECT


def _third_party() -> Iterator[Dialect]:
    from importlib.metadata import entry_points  # costs a quarter of importing this package

    for point in entry_points(group=ENTRY_POINTS):
        try:
            loaded = point.load()
        except Exception:
            logger.exception("The dialect %s could not be loaded.", point.name)
            continue
        if isinstance(loaded, Dialect) and not isinstance(loaded, type):
            yield loaded
        else:
            logger.error("The entry point %s is not a dialect.", point.name)
