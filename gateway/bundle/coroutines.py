"""What a tenant's model does, as coroutines for any running event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Literal, TypeVar

import structlog

from core.errors import AppError, InvalidInput
from gateway.bundle import media, sounds, talks, vectors
from gateway.bundle.calls import Model, Read, Spent
from gateway.bundle.door import door
from gateway.bundle.errors import as_text
from gateway.bundle.talks import Talk
from gateway.bundle.texts import fitted, fitted_beside
from gateway.bundle.tools import Session, Toolbox
from gateway.estimate import tokens_of
from gateway.targets import Open
from providers.errors import BadReply, UpstreamError
from providers.llm_types import LLMType
from providers.wire import Embeddings, Operation, Ranking, Transcript
from usage.records import CallRecord, Usage

logger = structlog.get_logger(__name__)

T = TypeVar("T")
Texts = AsyncGenerator[str | int, None]

MAX_ROUNDS = 5
DESCRIBE = {
    "Chinese": "请用中文详细描述这张图片：时间、地点、人物、事件；图中若有数据，请逐一列出。",
    "English": "Describe this picture in detail: where and when it is, who is in it, what happens. List its data.",
}


class Coroutines:
    """One model of one tenant. Making one costs no query, once the tenant is known to this process.

    `llm_name` is any name that calls over HTTP may use; without one it is the tenant's default for the type. `lang` is
    the language of descriptions of pictures. Raises NotAuthorized (a LookupError) if there is no such tenant or model.
    """

    def __init__(
        self,
        tenant_id: str,
        llm_type: LLMType | str,
        llm_name: str | None = None,
        lang: str = "Chinese",
        *,
        verbose_tool_use: bool = False,
        max_rounds: int = MAX_ROUNDS,
        errors: Literal["raise", "text"] = "raise",
        **patience: Any,
    ) -> None:
        """`errors`: "text" returns failures of chats, pictures and recordings as texts that begin with `**ERROR**`.
        Of RAGFlow's further options, `max_retries` and `retry_interval` are accepted: routes and settings say these.
        """
        if unknown := sorted(set(patience) - {"max_retries", "retry_interval"}):
            raise TypeError(f"LLMBundle has no option {unknown[0]!r}.")
        if errors not in ("raise", "text"):
            raise InvalidInput("errors is “raise” or “text”.")
        self._model = Model(tenant_id, llm_type, llm_name)
        found = door().run(self._model.describe)
        self.tenant_id, self.llm_type, self.lang = self._model.tenant_id, self._model.llm_type.value, lang
        self.llm_name, self.max_length, self.is_tools = found.name, found.max_length, found.is_tools
        self.verbose_tool_use, self.max_rounds = verbose_tool_use, max_rounds
        self.last_call = Spent()
        self._errors = errors
        self._toolbox: Toolbox | None = None

    @property
    def last_usage(self) -> Usage:
        """What the last call used that ended, all its rounds together. Callers at once should have a bundle each."""
        return self.last_call.usage

    @property
    def last_cost(self) -> Decimal | None:
        """What that cost in USD; None if it is not known."""
        return self.last_call.cost

    def __repr__(self) -> str:
        return f"<LLMBundle {self.llm_type} {self.llm_name} of {self.tenant_id}>"

    # --- Vectors and scores -----------------------------------------------------------------------------------------

    async def async_encode(self, texts: Sequence[str]) -> tuple[Any, int]:
        """A row of numbers for each text, and the tokens used. Texts are cut to what the model reads."""
        given = [texts] if isinstance(texts, str) else list(texts)
        if not given:
            return vectors.rows([]), 0
        found, tokens = await self._embedded(given, "document")
        try:
            return vectors.rows(found), tokens
        except ValueError:
            raise BadReply("The vectors that came back differ in length.", step="parse") from None

    async def async_encode_queries(self, text: str) -> tuple[Any, int]:
        """The vector of a text to search with, and the tokens used."""
        found, tokens = await self._embedded([text], "query")
        return vectors.numbers(found[0]), tokens

    async def async_similarity(self, query: str, texts: Sequence[str]) -> tuple[Any, int]:
        """How relevant each text is, in the order of the texts, and the tokens used."""
        given = list(texts)
        if not given:
            return vectors.numbers([]), 0
        records: list[CallRecord] = []
        documents = [fitted_beside(query, text, self.max_length) for text in given]
        payload = {"query": fitted(query, max(self.max_length // 2, 1)), "documents": documents}
        ranking = await self._complete(Operation.RERANK, payload, records, Ranking)
        known = {score.position: score.score for score in ranking}
        last = min(known.values(), default=0.0)  # one that an upstream leaves out is not better than those it names
        return vectors.numbers([known.get(position, last) for position in range(len(given))]), _total(records)

    async def _embedded(self, given: list[str], kind: str) -> tuple[list[list[float]], int]:
        records: list[CallRecord] = []
        payload = {"input": [fitted(text, self.max_length) for text in given], "input_type": kind}
        found = await self._complete(Operation.EMBEDDINGS, payload, records, Embeddings)
        if len(found) != len(given):
            raise BadReply(f"{len(given)} texts were sent, and {len(found)} vectors came back.", step="parse")
        return list(found), _total(records)

    # --- Pictures and sound -----------------------------------------------------------------------------------------

    async def async_describe(self, image: Any) -> tuple[str, int]:
        """What a picture shows, in the bundle's language, and the tokens used."""
        prompt = DESCRIBE.get(self.lang) or f"{DESCRIBE['English']} Answer in {self.lang}."
        return await self.async_describe_with_prompt(image, prompt)

    async def async_describe_with_prompt(self, image: Any, prompt: str | None = None) -> tuple[str, int]:
        """What a model answers to a question about a picture, and the tokens used."""
        if not prompt:
            return await self.async_describe(image)
        asked = [{"role": "user", "content": prompt}]
        return await self._chat(self._talk(None, asked, None, [image], with_tools=False))

    async def async_transcription(self, audio_path: Any, **options: Any) -> tuple[str, int]:
        """The text of a recording (a path, bytes or an open file), and the tokens used; estimated by the text, where
        they are billed by the second."""
        records: list[CallRecord] = []
        data, name = media.recording(audio_path)
        try:
            heard = await self._complete(
                Operation.TRANSCRIPTION, {**options, "file": data, "filename": name}, records, Transcript
            )
        except (AppError, UpstreamError) as error:
            return self._as_text(error), 0
        return heard.text, _total(records) or tokens_of(heard.text)

    async def async_stream_transcription(self, audio_path: Any, **options: Any) -> AsyncGenerator[dict[str, Any], None]:
        """What is new of the text as `{"event": "delta", "text": …}`, and at last all of it as `{"event": "final", …}`.

        Of an upstream that does not stream there is the final event only, with `"streaming": False`.
        """
        self._need(Operation.TRANSCRIPTION)
        data, name = media.recording(audio_path)
        payload = {**options, "file": data, "filename": name, "stream": True}
        dictation = sounds.Dictation()
        try:
            async with aclosing(self._follow(payload, dictation.open, dictation.events)) as events:
                async for event in events:
                    yield event
        except (AppError, UpstreamError) as error:
            yield {"event": "error", "text": self._as_text(error)}

    async def async_tts(self, text: str, **options: Any) -> AsyncGenerator[bytes | int, None]:
        """Sound in pieces as it comes, and at last the tokens of the text, estimated."""
        self._need(Operation.SPEECH)
        payload = {**options, "input": text}
        payload.pop("stream_format", None)  # no events: they would be sound in base64
        async with aclosing(self._follow(payload, sounds.open_audio, sounds.audio)) as pieces:
            async for piece in pieces:
                yield piece
        yield tokens_of(text)

    # --- Chats ------------------------------------------------------------------------------------------------------

    def bind_tools(self, toolcall_session: Session | None, tools: Sequence[Mapping[str, Any]] | None) -> None:
        """Let chats call tools: `toolcall_session.tool_call(name, arguments)`, offered as OpenAI's schema says."""
        if not (toolcall_session and tools):
            return
        if not self.is_tools:
            logger.warning("bundle.no_tools", model=self.llm_name, detail="Its row does not say that it calls tools.")
            return
        self._toolbox = Toolbox(toolcall_session, tuple(tools))

    async def async_chat(
        self,
        system: str | None,
        history: Sequence[Mapping[str, Any]],
        gen_conf: Mapping[str, Any] | None = None,
        *,
        images: Sequence[Any] = (),
    ) -> tuple[str, int]:
        """The answer without thoughts, and the tokens of all rounds; calls the bound tools, if there are any."""
        return await self._chat(self._talk(system, history, gen_conf, images))

    async def async_chat_streamly(
        self,
        system: str | None,
        history: Sequence[Mapping[str, Any]],
        gen_conf: Mapping[str, Any] | None = None,
        *,
        images: Sequence[Any] = (),
        with_reasoning: bool = True,
    ) -> Texts:
        """The answer in pieces, thoughts between `<think>` and `</think>` first; the last item is the tokens used."""
        talk = self._talk(system, history, gen_conf, images)
        records: list[CallRecord] = []
        try:
            async with aclosing(
                talks.deltas(talk, lambda payload: self._model.stream(payload, records), thoughts=with_reasoning)
            ) as pieces:
                async for text in pieces:
                    yield text
        except (AppError, UpstreamError) as error:
            yield self._as_text(error)
        finally:
            self.last_call = Spent.of(records)
        yield _total(records)

    async_chat_with_tools = async_chat
    async_chat_streamly_with_tools = async_chat_streamly

    def _talk(
        self,
        system: str | None,
        history: Sequence[Mapping[str, Any]],
        gen_conf: Mapping[str, Any] | None,
        images: Sequence[Any],
        *,
        with_tools: bool = True,
    ) -> Talk:
        self._need(Operation.CHAT)
        return Talk(
            talks.messages_of(system, history, images),
            talks.options_of(gen_conf),
            self._toolbox if with_tools else None,
            self.max_rounds,
            self.verbose_tool_use,
            own_loop=not door().is_here,
        )

    async def _chat(self, talk: Talk) -> tuple[str, int]:
        records: list[CallRecord] = []
        try:
            text = await talks.answer(talk, lambda payload: self._model.complete(payload, records))
        except (AppError, UpstreamError) as error:
            return self._as_text(error), _total(records)
        finally:
            self.last_call = Spent.of(records)
        return text, _total(records)

    async def _complete(
        self, operation: Operation, payload: Mapping[str, Any], records: list[CallRecord], kind: type[T]
    ) -> T:
        self._need(operation)
        try:
            reply = await self._model.complete(payload, records)
        finally:
            self.last_call = Spent.of(records)
        if not isinstance(reply, kind):
            raise BadReply("The answer is not of the kind that was asked for.", step="parse")
        return reply

    async def _follow(
        self, payload: Mapping[str, Any], open: Open[bytes], read: Read[bytes, T]
    ) -> AsyncGenerator[T, None]:
        """What is read of one answer while it comes."""
        records: list[CallRecord] = []
        try:
            async with aclosing(self._model.follow(payload, records, open, read)) as items:
                async for item in items:
                    yield item
        finally:
            self.last_call = Spent.of(records)

    def _need(self, operation: Operation) -> None:
        if self._model.operation is not operation:
            raise InvalidInput(
                f"A bundle of type {self.llm_type} has no {operation.value}.",
                hint="Make one of the type that has.",
                code="wrong_model_type",
            )

    def _as_text(self, error: AppError | UpstreamError) -> str:
        if self._errors == "raise":
            raise error
        return as_text(error)


def _total(records: Sequence[CallRecord]) -> int:
    return sum(record.usage.total_tokens for record in records)
