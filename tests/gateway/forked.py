"""Calls a model here, and in processes of Celery's pool that are forked from here; run by test_bundle_processes.

python -m tests.gateway.forked TENANT_ID COUNT
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def call(tenant_id: str) -> tuple[int, str]:
    """Who called, and what the answer was."""
    from gateway.bundle import LLMBundle

    text, _ = LLMBundle(tenant_id, "chat", "fake-chat").chat(None, [{"role": "user", "content": "Hello"}])
    return os.getpid(), text


def leave(_: Any = None) -> int:
    """As Celery's processes do when they end."""
    from celery.signals import worker_process_shutdown

    worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
    return os.getpid()


def main(tenant_id: str, count: int) -> None:
    import django

    django.setup()
    from billiard.pool import Pool

    import llmadmin.celery  # noqa: F401  (connects what happens when a worker's process ends)
    from gateway.bundle import close
    from usage.models import UsageRecord

    parent = call(tenant_id)
    pool = Pool(2)
    try:
        children = pool.map(call, [tenant_id] * count, chunksize=1)
        again = call(tenant_id)
        left = set()
        while len(left) < len({pid for pid, _ in children}):
            left.add(pool.apply(leave))
    finally:
        pool.close()
        pool.join()
    close()
    print(
        json.dumps(
            {
                "answers": [parent, *children, again],
                "recorded": UsageRecord.objects.filter(tenant_id=tenant_id, outcome="complete").count(),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
