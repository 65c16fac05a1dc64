"""What Vertex AI's errors mean: Google's, or Anthropic's where a Claude model answered itself.

Sources: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors,
https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from providers.dialects import anthropic, failures, gemini
from providers.dialects.bodies import read_problem
from providers.dialects.vertex import whose
from providers.errors import ModelNotFound

_NOT_THERE = re.compile(
    r"\bnot (?:servable|supported|available) in (?:the )?(?:region|location)\b"
    r"|\bPublisher Model\b.{0,400}\b(?:not|cannot be) found\b",
    re.I,
)


def raise_for(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise the error that this answer stands for, if it is not a success."""
    if whose.body_is_anthropics(body):
        anthropic.errors.raise_for(status, headers, body)
        return
    if status in (400, 404) and _NOT_THERE.search((problem := read_problem(body)).message):
        hint = "Check the model's name and that it is offered in the credential's region; some are in “global” only."
        raise failures.make(ModelNotFound, problem, status=status, hint=hint)
    gemini.errors.raise_for(status, headers, body)
