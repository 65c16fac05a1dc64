"""What beat asks of this room."""

from celery import shared_task

from usage.services import alerts, metering, retention


@shared_task(ignore_result=True, soft_time_limit=600, time_limit=630)
def prune() -> None:
    retention.prune()


@shared_task(ignore_result=True, soft_time_limit=300, time_limit=330)
def replay() -> None:
    metering.replay()


@shared_task(ignore_result=True, soft_time_limit=300, time_limit=330)
def record_budget_alerts() -> None:
    alerts.record()
