"""One web process: `python -m llmadmin.web`, on HOST and PORT or on the socket that its supervisor has opened.

Several of them may share that socket, and one that is restarted keeps nobody waiting at a closed door.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Sequence

import uvicorn
from django.conf import settings

from llmadmin.http import HttpProtocol
from llmadmin.parent import end_with_supervisor

LISTEN_FD = "LLMADMIN_LISTEN_FD"
FINISH_REQUESTS_WITHIN_S = 5


def config(**where: object) -> uvicorn.Config:
    return uvicorn.Config(
        "llmadmin.asgi:application",
        http=HttpProtocol,
        log_config=None,  # Django's is in force
        access_log=False,
        server_header=False,
        proxy_headers=False,  # TRUSTED_PROXIES says whom to believe, and Django asks it
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=FINISH_REQUESTS_WITHIN_S,
        **where,  # type: ignore[arg-type]
    )


def main() -> None:
    descriptor = os.environ.get(LISTEN_FD)
    _fork_carrier(close=[int(descriptor)] if descriptor else [])
    end_with_supervisor()
    if descriptor:
        listening = socket.socket(fileno=int(descriptor))
        uvicorn.Server(config()).run(sockets=[listening])
        return
    uvicorn.Server(config(host=settings.HOST, port=settings.PORT)).run()


def _fork_carrier(*, close: Sequence[int]) -> None:
    """The process that brings the usage records to the ledger. It shares the memory of what is imported before."""
    from llmadmin import asgi  # noqa: F401  # the whole application; it sets Django up
    from usage.services import metering

    gc.collect()
    gc.freeze()  # or else looking through it would copy it
    metering.fork_carrier(close=close)


if __name__ == "__main__":
    main()
