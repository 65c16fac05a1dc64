"""llama.cpp's own HTTP server in a process of its own: `python -m tests.llamacpp.server MODEL PORT KIND ALIAS KEY`."""

from __future__ import annotations

import signal
import sys
import threading

import xllamacpp


def serve(model: str, port: int, kind: str, alias: str, api_key: str) -> None:
    """Serve one model on loopback until SIGTERM; `kind` is chat, embed or rerank."""
    options = xllamacpp.CommonParams()
    options.model.path = model
    options.model_alias = {alias}
    options.hostnames = ["127.0.0.1"]
    options.port = port
    options.n_ctx = 2048
    options.n_parallel = 2
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.warmup = False
    options.api_keys = [api_key]
    options.embedding = kind != "chat"
    if kind == "rerank":
        options.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    server = xllamacpp.Server(options)
    print("listening", server.listening_address, flush=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


if __name__ == "__main__":
    model, port, kind, alias, api_key = sys.argv[1:]
    serve(model, int(port), kind, alias, api_key)
