"""The Celery application: `celery -A llmadmin worker`, `celery -A llmadmin beat`."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_init, worker_process_init, worker_process_shutdown

from llmadmin.parent import end_with_parent, end_with_supervisor

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmadmin.settings")

app = Celery("llmadmin")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Django has configured logging already; Celery is not to replace it."""


@worker_process_init.connect
def end_with_worker(**_: Any) -> None:
    """A process of the worker's pool does not outlive the worker: nobody would watch its time limits."""
    end_with_parent(os.getppid())


@worker_process_shutdown.connect
def bring_calls_to_the_ledger(**_: Any) -> None:
    """A process of the pool ends without what Python does at its end."""
    from gateway.bundle import close

    close()


@worker_init.connect
@beat_init.connect
def end_with_whoever_started_us(**_: Any) -> None:
    """Worker and scheduler do not outlive the supervisor."""
    end_with_supervisor()
