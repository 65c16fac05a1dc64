"""Drivers of runtimes, one small module each, found by walking this package.

A driver is pure: it says which calls to make and what their answers mean (`steps`), and declares as data what its
runtime can do (`base`). Who does the calls is `runtimes.services.driving`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from core.errors import InvalidInput
from runtimes.drivers.base import Driver

_NOT_DRIVERS = ("base", "steps")


@cache
def installed() -> dict[str, Driver]:
    """All drivers, by type, in the order of their labels."""
    found: dict[str, Driver] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name in _NOT_DRIVERS or module.name.startswith("_"):
            continue
        driver = getattr(importlib.import_module(f"{__name__}.{module.name}"), "DRIVER", None)
        if isinstance(driver, Driver):
            found[driver.type] = driver
    return dict(sorted(found.items(), key=lambda pair: pair[1].label.casefold()))


def get(type: str) -> Driver:
    """The driver of a type; raises InvalidInput."""
    driver = installed().get(type)
    if driver is None:
        raise InvalidInput(f"There is no driver “{type}”.", hint=f"There are: {', '.join(sorted(installed()))}.")
    return driver
