"""The list of models as OpenAI has it, which most runtimes speak beside their own API.

Source: https://platform.openai.com/docs/api-reference/models/list
"""

from __future__ import annotations

from typing import Any

from providers.dialects.bodies import load, unexpected
from runtimes.drivers._answers import expect
from runtimes.drivers._json import Object, entries, text
from runtimes.drivers.steps import Answer, Ask, Steps

PATH = "/v1/models"


def listed(path: str = PATH) -> Steps[list[Object]]:
    """The entries of a list of models, each with an `id`; raises UpstreamError."""
    return named((yield Ask("GET", path)))


def named(answer: Answer) -> list[Object]:
    """The entries that have an id, each once; some runtimes answer with a bare list."""
    expect(answer)
    data: Any = load(answer.headers, answer.body)
    if isinstance(data, dict):
        data = data.get("data")
    if not isinstance(data, list):
        raise unexpected("The answer is not a list of models.", answer.headers, answer.body)
    found: dict[str, Object] = {}
    for entry in entries(data):
        if name := text(entry.get("id")):
            found.setdefault(name, entry)
    return list(found.values())
