"""One web process: `python -m llmadmin.web`, on HOST and PORT or on the socket that its supervisor has opened.

Several of them may share that socket, and one that is restarted keeps nobody waiting at a closed door.
"""

from __future__ import annotations

import os
import socket

import uvicorn
from django.conf import settings

from llmadmin.parent import end_with_supervisor

LISTEN_FD = "LLMADMIN_LISTEN_FD"
FINISH_REQUESTS_WITHIN_S = 5


def config(**where: object) -> uvicorn.Config:
    return uvicorn.Config(
        "llmadmin.asgi:application",
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
    end_with_supervisor()
    if descriptor := os.environ.get(LISTEN_FD):
        listening = socket.socket(fileno=int(descriptor))
        uvicorn.Server(config()).run(sockets=[listening])
        return
    uvicorn.Server(config(host=settings.HOST, port=settings.PORT)).run()


if __name__ == "__main__":
    main()
