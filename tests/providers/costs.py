"""What something costs the processor, told so that a busy machine makes no difference."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def seconds(act: Callable[[], object], *, tries: int = 3) -> float:
    """The processor's time: the best of some tries."""
    costs = []
    gc.disable()  # what it costs depends on all that lives in this process
    try:
        for _ in range(tries):
            started = time.process_time()
            act()
            costs.append(time.process_time() - started)
    finally:
        gc.enable()
    return min(costs)


def grows_linearly(make: Callable[[int], Callable[[], object]], size: int) -> bool:
    """Whether four times as much costs far less than sixteen times as much. One quiet moment is enough to see it."""
    for tries in (1, 3, 3, 3):
        small, large = seconds(make(size), tries=tries), seconds(make(4 * size), tries=tries)
        if large < 9 * max(small, 0.001):
            return True
    return False
