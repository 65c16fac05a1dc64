"""What beat asks of this room."""

from celery import shared_task

from tenants.services import revalidation


@shared_task(ignore_result=True, soft_time_limit=50, time_limit=60)
def revalidate_due() -> None:
    revalidation.enqueue_due()


@shared_task(ignore_result=True, soft_time_limit=500, time_limit=520)
def prune_probes() -> None:
    revalidation.prune_probes()
