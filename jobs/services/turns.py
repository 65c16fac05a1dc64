"""Whose turn it is: the owners of waiting jobs take turns, so that one who asks for much keeps nobody else waiting.

An owner is a tenant, or for jobs of the installation whoever asked for them. The next slot goes to the owner who has
the fewest jobs running in the queue, of several to the one whose last turn is longest ago. Within one owner, and where
there is only one, jobs are begun in the order in which they were made.
"""

from __future__ import annotations

from collections import Counter

from django.db.models import Case, F, Min, When

from jobs.models import Job, JobQuerySet, JobState

_REQUESTER = Case(When(tenant_id="", then=F("created_by_id")), default=None)
_REMEMBERED = 200  # turns; who had none among the last ones is as if they never had one


def next_in_turn(waiting: JobQuerySet, *, queue: str) -> Job | None:
    """Which of these waiting jobs of a queue is to be begun next; None if there are none."""
    in_order = waiting.order_by("created_at", "id")
    owners = list(waiting.order_by().values_list("tenant_id", _REQUESTER).annotate(Min("created_at")))
    if len(owners) < 2:
        return in_order.first()
    of_queue = Job.objects.filter(queue=queue).order_by()
    running = Counter(of_queue.filter(state=JobState.RUNNING).values_list("tenant_id", _REQUESTER))
    begun = of_queue.filter(started_at__isnull=False).order_by("-started_at").values_list("tenant_id", _REQUESTER)
    served = {owner: turn for turn, owner in enumerate(reversed(list(begun[:_REMEMBERED])))}
    tenant_id, requester, _ = min(
        owners, key=lambda owner: (running[owner[:2]], served.get(owner[:2], -1), owner[2], owner[0])
    )
    return (in_order.filter(tenant_id=tenant_id) if tenant_id else _of_requester(in_order, requester)).first()


def _of_requester(jobs: JobQuerySet, requester: int | None) -> JobQuerySet:
    return jobs.filter(tenant_id="", **({"created_by": requester} if requester else {"created_by__isnull": True}))
