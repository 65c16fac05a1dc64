"""One vocabulary for all chats: it is translated without loss, or an error says what cannot be said.

`WRITE_DOCS=1 pytest tests/providers/test_vocabulary.py` writes the page.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from providers import dialects
from providers.errors import BadRequest, Unsupported
from providers.target import Target
from providers.wire import Operation
from tests.providers import features_answers, features_messages, features_tools
from tests.providers.features import ALSO, LEFT_OUT, REFUSED, SPEAKERS, Expected, Feature
from tests.providers.features_replies import REPLIES, ReplyFeature

FEATURES = [*features_messages.TABLE, *features_tools.TABLE, *features_answers.TABLE]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "vocabulary.md"
MARKS = {REFUSED: "✗", LEFT_OUT: "–"}
INTRODUCTION = """# One vocabulary for all chats

Whatever a model's wire format, a chat is asked for in OpenAI's vocabulary, and answered in it. This page says what of
it each format can express; it is written by the tests that check it.

- ✓ it is said in the format's own words, and nothing is lost;
- ✗ it cannot be said there: the call is refused with an error that names it, and nothing is sent;
- – it is left out, for it does not change the answer: a hint, or the thoughts behind what was said in an earlier turn.

`vertex` (Google Cloud) is as `gemini` for Gemini's models and as `anthropic` for Claude. A factory's or a model's
quirks may drop, rename or bound a parameter before that; [the catalogue](catalogue.md) explains them. What the `openai`
column has is sent as it is: whether the vendor understands it is for the vendor to say.

"""
BACK = """
What comes back is told in the same words, whole or streamed; where there is no ✓, the vendor does not say it.

"""
CELLS = [
    (feature, name, dialects.get(name), target, feature.expected[name])
    for feature in FEATURES
    for name, target in SPEAKERS.items()
] + [
    (feature, name, dialects.get(target.dialect), target, feature.expected[like])
    for feature in FEATURES
    for name, (like, target) in ALSO.items()
]


def built(dialect: dialects.Dialect, target: Target, payload: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(dialect.build(Operation.CHAT, payload, target).body or b"")
    return loaded


def holds(value: Any, expected: Any) -> bool:
    """Whether all that is expected is there; None stands for what must not be."""
    if isinstance(expected, dict):
        return isinstance(value, dict) and all(
            name not in value if inner is None and name not in ("content",) else holds(value.get(name), inner)
            for name, inner in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(map(holds, value, expected))
    return bool(value == expected)


@pytest.mark.parametrize(
    ("feature", "name", "dialect", "target", "expected"), CELLS, ids=[f"{cell[1]}: {cell[0].name}" for cell in CELLS]
)
def test_what_is_asked_is_translated_or_refused(
    feature: Feature, name: str, dialect: dialects.Dialect, target: Target, expected: Expected
) -> None:
    if expected == REFUSED:
        with pytest.raises((Unsupported, BadRequest)) as caught:
            built(dialect, target, feature.payload)
        assert caught.value.step == "build"
        assert caught.value.message
        return
    body = built(dialect, target, feature.payload)
    if expected == LEFT_OUT:
        assert body == built(dialect, target, feature.plain)
    else:
        assert holds(body, expected), body


ANSWERS = [
    (feature, name, dialects.get(dialect), reply)
    for feature in REPLIES
    for name, dialect, reply in (
        *((name, name, reply) for name, reply in feature.replies.items()),
        *((name, to.dialect, feature.replies[like]) for name, (like, to) in ALSO.items() if like in feature.replies),
    )
]


@pytest.mark.parametrize(
    ("feature", "name", "dialect", "reply"), ANSWERS, ids=[f"{one[1]}: {one[0].name}" for one in ANSWERS]
)
def test_what_is_answered_is_told_in_the_same_words(
    feature: ReplyFeature, name: str, dialect: dialects.Dialect, reply: dict[str, Any]
) -> None:
    headers = {"content-type": "application/json"}
    told = dialect.parse(Operation.CHAT, 200, headers, json.dumps(reply).encode())
    assert holds(told, feature.expected), told
    ChatCompletion.model_validate(told)


def test_every_wire_format_of_chats_is_in_the_table() -> None:
    chats = {name for name in dialects.names() if Operation.CHAT in dialects.operations(name)}
    assert {*SPEAKERS, *(target.dialect for _, target in ALSO.values())} == chats
    for feature in FEATURES:
        assert set(feature.expected) == set(SPEAKERS), feature.name
    assert len({feature.name for feature in FEATURES}) == len(FEATURES)
    for answer in REPLIES:
        assert set(answer.replies) <= set(SPEAKERS), answer.name


def test_the_page_shows_the_table() -> None:
    text = INTRODUCTION + f"| | {' | '.join(f'`{name}`' for name in SPEAKERS)} |\n|---|{':-:|' * len(SPEAKERS)}\n"
    for feature in FEATURES:
        marks = [MARKS.get(str(feature.expected[name]), "✓") for name in SPEAKERS]
        text += f"| {feature.name} | {' | '.join(marks)} |\n"
    text += BACK + f"| | {' | '.join(f'`{name}`' for name in SPEAKERS)} |\n|---|{':-:|' * len(SPEAKERS)}\n"
    for answer in REPLIES:
        marks = ["✓" if name in answer.replies else "" for name in SPEAKERS]
        text += f"| {answer.name} | {' | '.join(marks)} |\n".replace("|  ", "| ")
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text
