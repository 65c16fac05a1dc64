"""The scheduler: `python -m llmadmin.scheduler`, which sends what CELERY_BEAT_SCHEDULE lists, and does none of it.

The same as `celery -A llmadmin beat` at half its memory: it needs the settings, not the applications.
"""

from __future__ import annotations

import signal
from typing import Any

from celery.beat import Service
from django.conf import settings
from django.utils.log import configure_logging

from llmadmin.celery import app
from llmadmin.parent import end_with_supervisor


def main() -> None:
    end_with_supervisor()
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    service = Service(app)

    def stop(*_: Any) -> None:
        service.sync()
        raise SystemExit  # out of its sleep, which may be a long one

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    service.start()


if __name__ == "__main__":
    main()
