"""How a request is authenticated. Found by walking this package; a name may carry an argument: "header:x-api-key".

Each module has `NAMES` (what the admin offers) and `make(argument) -> Signer`.
"""

from __future__ import annotations

import pkgutil
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType

from providers.errors import Unsupported
from providers.signers.base import Signer

__all__ = ["Signer", "UnknownSigner", "get", "is_installed", "names"]


class UnknownSigner(Unsupported):
    """A row names a way to sign that is not installed."""

    code = "unknown_signer"


@lru_cache(maxsize=256)
def get(name: str) -> Signer:
    """The signer of that name; raises UnknownSigner."""
    kind, _, argument = name.partition(":")
    module = _modules().get(kind)
    try:
        if module is None:
            raise ValueError("it is not installed")
        signer: Signer = module.make(argument)
    except ValueError as error:
        raise UnknownSigner(
            f"Requests cannot be signed with “{name[:80]}”: {error}.",
            hint=f"Choose one of: {', '.join(names())}.",
            step="sign",
        ) from None
    return signer


def is_installed(name: str) -> bool:
    """Whether requests can be signed so, listed or not."""
    try:
        get(name)
    except UnknownSigner:
        return False
    return True


def names() -> tuple[str, ...]:
    """What the admin offers, sorted. `get` takes other headers, too."""
    return tuple(sorted(name for module in _modules().values() for name in module.NAMES))


@cache
def _modules() -> dict[str, ModuleType]:
    found = {}
    for entry in pkgutil.iter_modules(__path__, f"{__name__}."):
        module = import_module(entry.name)
        if hasattr(module, "make"):
            found[entry.name.rpartition(".")[2]] = module
    return found
