"""The line of the log that each call leaves."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from gateway import observe
from tests.gateway.calling import Office, chat_body
from tests.gateway.test_metrics import record
from usage.records import Usage

KEY = "sk-Zq8vJ3mN5tR7wY1bD4gH6kL9"


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What is logged of calls, at INFO."""
    logger, handler = logging.getLogger(observe.NAME), Kept()
    handlers, level = logger.handlers[:], logger.level
    logger.handlers, logger.level = [handler], logging.INFO
    logger.manager._clear_cache()
    yield handler
    logger.handlers, logger.level = handlers, level
    logger.manager._clear_cache()


def test_a_call_leaves_one_line_that_says_nothing_of_its_content(office: Office, kept: Kept, settings: Any) -> None:
    settings.LOG_FORMAT = "json"
    body = {**chat_body(), "messages": [{"role": "user", "content": "a-secret-question"}]}
    reply = office.ask("/v1/chat/completions", body, headers={"x-request-id": "my-request-77"})
    (line,) = [json.loads(line) for line in kept.lines]
    assert line.pop("ms") >= 0
    assert line["timestamp"].endswith("Z")
    assert line | {
        "event": "gateway.call", "level": "info", "request_id": "my-request-77", "tenant": office.tenant.pk,
        "model": "fake-chat", "target": "fake-chat@Fake", "status": 200, "outcome": "complete", "attempts": 1,
    } == line  # fmt: skip
    assert line["input_tokens"] > 0 and line["output_tokens"] > 0 and Decimal(line["cost_usd"]) > 0
    assert len(line["token"]) == 32
    said = reply.data["choices"][0]["message"]["content"]
    assert said and not any(text in kept.lines[0] for text in ("a-secret-question", said, office.token))


def test_a_quieter_log_says_nothing_of_calls(office: Office, kept: Kept) -> None:
    logger = logging.getLogger(observe.NAME)
    logger.setLevel(logging.WARNING)
    assert office.chat().status == 200
    assert kept.lines == []


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("name", ["request_id", "model", "llm_name", "factory"])
def test_a_key_that_strayed_into_a_name_is_not_logged(name: str, as_json: bool) -> None:
    assert KEY not in observe.line(record(**{name: KEY}), as_json=as_json)


@pytest.mark.parametrize("name", ["a\nb", "a b", "é\x1b[31m", "\ud800", '"'])
def test_whatever_a_model_is_called_a_call_is_one_line(name: str) -> None:
    text = observe.line(record(model=name, usage=Usage(input_tokens=1)), as_json=False)
    assert text.isascii() and text.isprintable()
    assert json.loads(observe.line(record(model=name), as_json=True))["event"] == "gateway.call"
