"""Versions by date, chosen by a field of the credential: their paths name the model, their queries the date.

    {"field": "api_version", "path": "/openai/deployments/{model}", "list_path": "/openai", "parameter": "api-version"}

Without a date in the field, calls go to `version_path` as everywhere else.
Source: https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from providers.quirk_values import a_path, a_text, members
from providers.wire import Operation

_DATE = re.compile(r"20\d\d-\d\d-\d\d(?:-preview)?", re.A)


@dataclass(frozen=True, slots=True)
class Dated:
    """`path` holds the API's operations but the list of models, which is below `list_path`."""

    field: str
    path: str
    list_path: str
    parameter: str

    def version(self, fields: Mapping[str, str]) -> str:
        """The date that the credential asks for; "" if it asks for none."""
        value = fields.get(self.field, "").strip()
        return value if _DATE.fullmatch(value) else ""

    def path_for(self, operation: Operation, model: str) -> str:
        """What stands in the place of `version_path`, for one model."""
        if operation is Operation.MODELS:
            return self.list_path
        return self.path.replace("{model}", quote(model, safe=""))

    def root(self, base_url: str) -> str:
        """The base URL without the path of any version, which people paste together with it."""
        first = "/" + self.path.split("/")[1]
        host, slash, path = base_url.strip().partition("://")
        before, found, _ = f"{path}/".partition(f"{first}/")
        return f"{host}{slash}{before}" if found else base_url


def read(value: Any, path: str) -> Dated:
    """The quirk; raises ValueError that begins with the path of what is wrong."""
    fields = {"field": a_text, "path": a_path, "list_path": a_path, "parameter": a_text}
    found = members(value, path, fields)
    if missing := [name for name in fields if name not in found]:
        raise ValueError(f"{path}: {', '.join(missing)} missing")
    return Dated(**found)
