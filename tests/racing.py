"""Two writers who meet in the database."""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.db import connection, transaction

WAITS_S = 0.5  # in which the second comes to what the first holds; if it does not, both end the same way
ENDS_WITHIN_S = 60.0


def raised_meanwhile(first: Callable[[], object], second: Callable[[], object]) -> list[Exception]:
    """What the second raises when it begins after the first has written and before that is committed."""
    written, go_on, raised = threading.Event(), threading.Event(), list[Exception]()

    def write() -> None:
        with transaction.atomic():
            first()
            written.set()
            go_on.wait(ENDS_WITHIN_S)
        connection.close()

    def meet() -> None:
        try:
            second()
        except Exception as error:
            raised.append(error)
        connection.close()

    threads = [threading.Thread(target=write), threading.Thread(target=meet)]
    threads[0].start()
    assert written.wait(ENDS_WITHIN_S)
    threads[1].start()
    threads[1].join(WAITS_S)
    go_on.set()
    for thread in threads:
        thread.join(ENDS_WITHIN_S)
    return raised
