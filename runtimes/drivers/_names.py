"""Names of models as somebody typed them: looked at before anything is sent."""

from __future__ import annotations

from urllib.parse import quote

from providers.errors import BadRequest

MAX_NAME = 255


def checked(name: str) -> str:
    """The name; raises BadRequest if no runtime could have a model of that name."""
    if not name or name != name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise _no_name()
    return name


def segment(name: str) -> str:
    """The name as one segment of a path, slashes, colons and spaces encoded."""
    if checked(name) in (".", ".."):
        raise _no_name()
    return quote(name, safe="")


def _no_name() -> BadRequest:
    return BadRequest(
        "This is not a name of a model.",
        hint=f"A name has 1 to {MAX_NAME} characters, no line breaks, and no space at either end.",
        step="build",
    )
