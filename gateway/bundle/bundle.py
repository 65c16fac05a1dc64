"""LLMBundle: a tenant's model in Python, with the methods of RAGFlow's class of that name. See docs/python.md.

Each method exists twice: as a coroutine (`async_…`) for any running event loop, and as a function for any thread. A
function that is called in a coroutine holds up its loop; from the engine's own thread it raises RuntimeError.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from gateway.bundle.coroutines import Coroutines
from gateway.bundle.door import door

History = Sequence[Mapping[str, Any]]
GenConf = Mapping[str, Any] | None


class LLMBundle(Coroutines):
    __doc__ = Coroutines.__doc__

    @property
    def mdl(self) -> LLMBundle:
        """Itself: there is no other object behind it."""
        return self

    def encode(self, texts: Sequence[str]) -> tuple[Any, int]:
        return door().run(lambda: self.async_encode(texts))

    def encode_queries(self, text: str) -> tuple[Any, int]:
        return door().run(lambda: self.async_encode_queries(text))

    def similarity(self, query: str, texts: Sequence[str]) -> tuple[Any, int]:
        return door().run(lambda: self.async_similarity(query, texts))

    def describe(self, image: Any) -> tuple[str, int]:
        return door().run(lambda: self.async_describe(image))

    def describe_with_prompt(self, image: Any, prompt: str | None = None) -> tuple[str, int]:
        return door().run(lambda: self.async_describe_with_prompt(image, prompt))

    def transcription(self, audio_path: Any, **options: Any) -> tuple[str, int]:
        return door().run(lambda: self.async_transcription(audio_path, **options))

    def stream_transcription(self, audio_path: Any, **options: Any) -> Generator[dict[str, Any], None, None]:
        yield from door().iterate(lambda: self.async_stream_transcription(audio_path, **options))

    def tts(self, text: str, **options: Any) -> Generator[bytes | int, None, None]:
        yield from door().iterate(lambda: self.async_tts(text, **options))

    def chat(
        self, system: str | None, history: History, gen_conf: GenConf = None, *, images: Sequence[Any] = ()
    ) -> tuple[str, int]:
        return door().run(lambda: self.async_chat(system, history, gen_conf, images=images))

    def chat_streamly(
        self,
        system: str | None,
        history: History,
        gen_conf: GenConf = None,
        *,
        images: Sequence[Any] = (),
        with_reasoning: bool = True,
    ) -> Generator[str | int, None, None]:
        yield from door().iterate(
            lambda: self.async_chat_streamly(system, history, gen_conf, images=images, with_reasoning=with_reasoning)
        )

    chat_with_tools = chat
    chat_streamly_with_tools = chat_streamly


LLM4Tenant = LLMBundle
