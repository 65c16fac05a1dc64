"""What a name that people give to a thing may look like."""

from __future__ import annotations

from core.errors import InvalidInput

MAX_LENGTH = 100


def clean_name(text: str, *, field: str = "name", at_most: int = MAX_LENGTH) -> str:
    """The name without surrounding space; raises InvalidInput for an empty, overlong or unprintable one."""
    name = text.strip()
    if not name:
        raise InvalidInput("A name is needed.", fields={field: ["This may not be blank."]})
    if len(name) > at_most:
        raise InvalidInput("The name is too long.", fields={field: [f"At most {at_most} characters."]})
    if not name.isprintable():
        raise InvalidInput("The name has unprintable characters.", fields={field: ["Only printable characters."]})
    return name
