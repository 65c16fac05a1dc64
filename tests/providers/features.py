"""What OpenAI's vocabulary can ask for, and what becomes of it in each wire format; docs/vocabulary.md shows it.

An expectation is a part of the body that is built, REFUSED (an error says what cannot be expressed), or LEFT_OUT: the
body is the same without it, for it does not change the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from providers.quirks import Quirks
from providers.target import CredentialFields, Target

REFUSED, LEFT_OUT = "refused", "left out"
Expected = dict[str, Any] | str

# The wire formats in the table's columns. Where one speaks several, each has a model of its own.
SPEAKERS: dict[str, Target] = {
    "openai": Target("F", "m", "https://h/v1"),
    "anthropic": Target("F", "m", "https://h/v1"),
    "bedrock": Target("F", "m", "https://h"),
    "cohere": Target("F", "m", "https://h"),
    "gemini": Target("F", "m", "https://h/v1beta"),
    "ollama": Target("F", "m", "https://h"),
    "replicate": Target("F", "owner/m", "https://h/v1"),
}
# Vertex AI speaks Gemini's format and Anthropic's.
_VERTEX = CredentialFields({"google_project_id": "project", "google_region": "us-central1"})
ALSO: dict[str, tuple[str, Target]] = {
    "vertex": ("gemini", Target("F", "gemini-3-pro", "https://h/v1", dialect="vertex", credential=_VERTEX)),
    "vertex (Claude)": (
        "anthropic",
        Target(
            "F",
            "claude-opus-4-6",
            "https://h/v1",
            dialect="vertex",
            quirks=Quirks.from_data({"publishers": {"claude-": "anthropic"}}),
            credential=_VERTEX,
        ),
    ),
}


@dataclass(frozen=True)
class Feature:
    """`payload` asks for it, beside a message; without it, the payload is `plain`."""

    name: str
    payload: dict[str, Any]
    expected: dict[str, Expected]
    plain: dict[str, Any]


HI = {"role": "user", "content": "Hi"}
OTHERS = ("anthropic", "bedrock", "cohere", "gemini", "ollama", "replicate")


def add(
    table: list[Feature],
    name: str,
    payload: dict[str, Any],
    plain: dict[str, Any] | None = None,
    /,
    **expected: Expected,
) -> None:
    """One line of a table. OpenAI's own format says it all as it is asked."""
    payload = {"messages": [HI], **payload}
    table.append(Feature(name, payload, {"openai": payload, **expected}, {"messages": [HI], **(plain or {})}))


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    """A message that shows something."""
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "See:"}, *parts]}]}
