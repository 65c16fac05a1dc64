"""Structured logs on standard error: one line an event, as text for people or JSON for machines, secrets removed."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from core.redact import redact

_INTERNAL = frozenset({"_record", "_from_structlog"})


def redact_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Remove what looks like a key from everything a log line says."""
    return {name: value if name in _INTERNAL else _redacted(value) for name, value in event.items()}


def _redacted(value: Any) -> Any:
    """Plain values stay what they are; of anything else only its text is kept, and that without keys."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redact(str(name)): _redacted(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(inner) for inner in value]
    return redact(value if isinstance(value, str) else repr(value))


class WithoutExpectedTracebacks(logging.Filter):
    """A request that was refused (4xx) is one line: where in Django that happened helps nobody."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith(("django.request", "django.security")) and getattr(record, "status_code", 500) < 500:
            record.exc_info = None
        return True


def shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact_event,
    ]


def logging_config(*, level: str, style: str) -> dict[str, Any]:
    """The dictionary for `logging.config`; `style` is "text" or "json"."""
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        # Other formatters of tracebacks print local variables, and those hold keys.
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "events": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                "foreign_pre_chain": shared_processors(),
            },
            "lines": {"format": "%(message)s"},
        },
        "filters": {"expected": {"()": WithoutExpectedTracebacks}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "events", "filters": ["expected"]},
            "lines": {"class": "logging.StreamHandler", "formatter": "lines"},
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "gateway.call": {"handlers": ["lines"], "propagate": False},  # is written as it is: see gateway.observe
            "uvicorn.access": {"level": "WARNING"},
            "kombu": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.worker.consumer": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "axes": {"level": "WARNING"},
            "asyncio": {"level": "WARNING"},
        },
    }


def configure(config: dict[str, Any]) -> None:
    """Apply `logging_config`, for Django's LOGGING_CONFIG setting."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[*shared_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
