"""URLs of APIs whose paths begin at the server's root, whatever a person pasted as the base URL."""

from __future__ import annotations

import re
from dataclasses import replace

from providers.target import Target
from providers.wire import Operation


def root_url(target: Target, operation: Operation, path: str, *, known: re.Pattern[str]) -> str:
    """The URL of an operation: the base URL without what is `known` at its end, and `path`; raises WrongURL.

    The row's version path is known, too: it is of the operations that another dialect serves there.
    """
    own = target.own_base_url
    base = (not own and target.quirks.base_url_for(operation, target.credential.fields)) or target.base_url
    base = base.strip().rstrip("/").removesuffix(target.quirks.path_for(operation, ""))
    base = base.removesuffix(target.quirks.version_path)
    base = known.sub("", base, count=1)
    quirks = replace(target.quirks, version_path="", base_urls={})
    return replace(target, base_url=base, quirks=quirks).url_for(operation, path)
