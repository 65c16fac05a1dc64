"""Log lines are whole, structured, and hold no key, wherever on the line it stands."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from django.conf import settings

from core.logging import configure, logging_config

KEY = "sk-Zq8vJ3mN5tR7wY1bD4gH6kL9"
TOKEN = "lla_dGhpcyBpcyBub3QgYSByZWFsIHRva2VuISEhIQ-_abc"


@pytest.fixture(params=["text", "json"])
def lines(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """What has been logged so far, in the product's own configuration."""
    stream = io.StringIO()
    config = logging_config(level="DEBUG", style=request.param)
    config["handlers"]["stderr"]["stream"] = stream
    root = logging.getLogger()
    handlers = root.handlers[:]
    configure(config)
    structlog.reset_defaults()
    configure(config)
    yield stream.getvalue
    configure(settings.LOGGING)
    root.handlers = handlers


class Shows:
    def __repr__(self) -> str:
        return f"<Shows {KEY}>"


@pytest.mark.parametrize(
    "log",
    [
        lambda: structlog.get_logger("a").info(f"called with {KEY}"),
        lambda: structlog.get_logger("a").info("called", key=KEY),
        lambda: structlog.get_logger("a").info("called %s", KEY),
        lambda: structlog.get_logger("a").info("called", nested={"list": [1, {KEY: KEY}]}),
        lambda: structlog.get_logger("a").info("called", bound=(KEY, {KEY})),
        lambda: structlog.get_logger("a").info("called", thing=Shows()),
        lambda: structlog.get_logger("a").info("called", error=ValueError(KEY)),
        lambda: structlog.get_logger("a").info("called", raw=KEY.encode()),
        lambda: structlog.get_logger("a").bind(key=KEY).warning("called"),
        lambda: logging.getLogger("b").warning("called with %s", KEY),
        lambda: logging.getLogger("b").warning("called with %(key)s", {"key": KEY}),
        lambda: logging.getLogger("b").warning(Shows()),
        lambda: logging.getLogger("b").warning("Authorization: Bearer %s", KEY),
        lambda: logging.getLogger("b").warning("called", stack_info=True, extra={"key": KEY}),
        lambda: logging.getLogger("b").warning("token %s", TOKEN),
    ],
)
def test_no_line_holds_a_key(lines: Callable[[], str], log: Callable[[], None]) -> None:
    log()
    assert lines().strip()
    assert KEY not in lines()
    assert TOKEN not in lines()


@pytest.mark.parametrize("name", ["structlog", "logging"])
def test_a_traceback_holds_neither_the_key_in_its_text_nor_in_its_variables(
    lines: Callable[[], str], name: str
) -> None:
    def fail() -> None:
        secret = KEY
        raise RuntimeError(f"the vendor said: no {secret}")

    logger: Any = structlog.get_logger("a") if name == "structlog" else logging.getLogger("a")
    try:
        try:
            fail()
        except RuntimeError as cause:
            raise ValueError("outer") from cause
    except ValueError:
        logger.exception("failed")
    assert "RuntimeError" in lines()
    assert "Traceback" in lines()
    assert KEY not in lines()


def test_a_refused_request_leaves_one_line_and_a_fault_its_traceback(lines: Callable[[], str]) -> None:
    def fail(logger: str, status: int) -> str:
        before = len(lines())
        try:
            raise PermissionError("no")
        except PermissionError:
            logging.getLogger(logger).warning("Refused: /a", exc_info=True, extra={"status_code": status})
        return lines()[before:]

    for logger, status in (("django.request", 403), ("django.security.DisallowedHost", 400)):
        assert "Refused: /a" in fail(logger, status) and "Traceback" not in lines()
    assert "Traceback" in fail("django.request", 500)


def test_the_request_id_is_on_every_line(lines: Callable[[], str]) -> None:
    with structlog.contextvars.bound_contextvars(request_id="my-request-1"):
        structlog.get_logger("a").info("one")
        logging.getLogger("b").info("two")
    assert lines().count("my-request-1") == 2


def test_plain_values_stay_what_they_are() -> None:
    stream = io.StringIO()
    config = logging_config(level="INFO", style="json")
    config["handlers"]["stderr"]["stream"] = stream
    root = logging.getLogger()
    handlers = root.handlers[:]
    try:
        configure(config)
        logging.getLogger("b").info("plain")
        structlog.get_logger("fresh").info("counted", models=3, ok=True, ratio=0.5, nothing=None)
    finally:
        configure(settings.LOGGING)
        root.handlers = handlers
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["level"], first["logger"]) == ("plain", "info", "b")
    assert (second["models"], second["ok"], second["ratio"], second["nothing"]) == (3, True, 0.5, None)
    assert second["timestamp"].endswith("Z")


def test_one_event_is_one_line_in_json() -> None:
    stream = io.StringIO()
    config = logging_config(level="INFO", style="json")
    config["handlers"]["stderr"]["stream"] = stream
    root = logging.getLogger()
    handlers = root.handlers[:]
    try:
        configure(config)
        logging.getLogger("b").info("forged\n2026-01-01 [info] admin logged in")
    finally:
        configure(settings.LOGGING)
        root.handlers = handlers
    assert len(stream.getvalue().splitlines()) == 1
