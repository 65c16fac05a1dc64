"""Text Embeddings Inference: one model a process, of which its /info tells. It has no list of models and no chats.

Source: https://huggingface.co/docs/text-embeddings-inference
"""

from __future__ import annotations

from typing import ClassVar

from runtimes.drivers._answers import document, expect
from runtimes.drivers._json import MAX_TOKENS, members, positive, text
from runtimes.drivers.base import Described, Driver, Presence
from runtimes.drivers.steps import Ask, Steps

_KINDS = {"embedding": ("embeddings", "embedding"), "reranker": ("rerank", "rerank")}


class TEI(Driver):
    type = "tei"
    label = "Text Embeddings Inference"
    docs_url = "https://huggingface.co/docs/text-embeddings-inference"
    default_urls = ("http://127.0.0.1:3000",)
    api_key_env_var = "TEI_API_KEY"
    dialect = "tei"
    capabilities: ClassVar = frozenset({"embedding", "rerank", "lists_installed", "lists_loaded"})

    def ping(self) -> Steps[Presence]:
        expect((yield Ask("GET", "/health")))
        return Presence(text(document((yield Ask("GET", "/info"))).get("version"), 64))

    def models(self) -> Steps[list[Described]]:
        """Its one model; a classifier has no type of ours."""
        info = document((yield Ask("GET", "/info")))
        model = text(info.get("model_id"), 1024)
        name = (text(info.get("served_model_name")) or model)[:255]
        kind = next(iter(members(info.get("model_type"))), "")
        type, ours = _KINDS.get(kind, ("unknown", ""))
        is_path = model.startswith(("/", "."))
        return [
            Described(
                name,
                type=type,
                state="loaded",
                model_types=(ours,) if ours else (),
                publisher="" if is_path or "/" not in model else model.partition("/")[0][:128],
                max_tokens=positive(info.get("max_input_length"), MAX_TOKENS),
                streaming=False,
                instructed=False,
                tooling=False,
                is_mlx=False,
                is_gguf=False,
                runtime_name="text-embeddings-inference",
                file_path=model if is_path else "",
            )
        ]


DRIVER = TEI()
