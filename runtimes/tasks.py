"""What beat asks of this room."""

from celery import shared_task

from runtimes.services import discovery, health, listing


@shared_task(ignore_result=True, soft_time_limit=110, time_limit=120)
def look_at_due() -> None:
    health.look_at_due()


@shared_task(ignore_result=True, soft_time_limit=50, time_limit=60)
def look_for_local() -> None:
    discovery.look_for_local()


@shared_task(ignore_result=True, soft_time_limit=500, time_limit=520)
def prune() -> None:
    listing.prune()
    health.prune()
