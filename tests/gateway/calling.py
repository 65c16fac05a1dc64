"""A gateway in this process whose models are served by a fake upstream on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from core.audit import Actor
from gateway.app import Gateway
from gateway.pipeline import Engine
from providers.models import LLM, LLMFactory
from providers.upstream import Pool
from tenants.models import Credential, Tenant, TenantLLM
from tenants.services import credentials, tenant_llms
from tests.fakes.upstream import KEY, Behaviour, FakeUpstream, Handler
from tests.people import make_tenant, make_token, make_user
from usage.counters.memory import MemoryCounters
from usage.records import CallRecord, from_line
from usage.spool import Spool

T = TypeVar("T")
ACTOR = Actor(label="test")
TYPES = {
    "fake-chat": ["chat"],
    "fake-embedding": ["embedding"],
    "fake-rerank": ["rerank"],
    "fake-asr": ["speech2text"],
    "fake-tts": ["tts"],
}


@dataclass
class Reply:
    """What a caller got: `pieces` as they came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.data["error"]

    @property
    def events(self) -> list[Any]:
        """The objects of a stream; its end as "[DONE]"."""
        blocks = [block for block in self.body.decode().split("\n\n") if block.startswith("data: ")]
        texts = [block.removeprefix("data: ") for block in blocks]
        return [text if text == "[DONE]" else json.loads(text) for text in texts]


@dataclass
class Office:
    """A tenant, its token, and a model of each type at a fake upstream; `priced` models cost 1 and 2 USD a million."""

    tenant: Tenant
    factory: LLMFactory
    credential: Credential
    token: str
    spool: Path

    def serve(self, upstream: FakeUpstream, *, label: str, names: Sequence[str] = ("fake-chat",)) -> Credential:
        """The same models through one more credential."""
        made = credentials.create(
            tenant=self.tenant,
            factory=self.factory,
            label=label,
            base_url=upstream.url,
            values={"api_key": KEY},
            actor=ACTOR,
        )
        for name in names:
            tenant_llms.add(credential=made, llm_name=name, model_types=TYPES[name], actor=ACTOR)
        return made

    def model(self, name: str = "fake-chat") -> TenantLLM:
        return TenantLLM.objects.get(credential=self.credential, llm_name=name)

    def records(self) -> list[CallRecord]:
        """What the spool holds, in the order it was written."""
        found = [
            from_line(line)
            for path in self.spool.rglob("*")
            if path.is_file()
            for line in path.read_bytes().splitlines(keepends=True)
        ]
        return sorted(found, key=lambda record: record.id)

    def use(self, work: Callable[[Gateway], Awaitable[T]], **parts: Any) -> T:
        """Run with a gateway of its own."""

        async def run() -> T:
            async with self.gateway(**parts) as gateway:
                return await work(gateway)

        return asyncio.run(run())

    @asynccontextmanager
    async def gateway(self, **parts: Any) -> AsyncIterator[Gateway]:
        given = {"pool": Pool(), "counters": MemoryCounters(), "spool": Spool(self.spool), **parts}
        gateway = Gateway(engine=Engine(**given))
        try:
            yield gateway
        finally:
            await gateway.close()

    def ask(self, path: str, body: Any, **how: Any) -> Reply:
        """One request, whole."""
        return self.use(lambda gateway: send(gateway, path, body, token=self.token, **how))

    def chat(self, model: str = "fake-chat", **more: Any) -> Reply:
        return self.ask("/v1/chat/completions", chat_body(model, **more))


def make_office(upstream: FakeUpstream, spool: Path, **factory: Any) -> Office:
    owner = make_user()
    tenant = make_tenant(owner=owner)
    made = LLMFactory.objects.create(name="Fake", **{"quirks": {"version_path": "/v1"}, **factory})
    for name, kinds in TYPES.items():
        LLM.objects.create(
            factory=made, llm_name=name, model_types=kinds, input_price=1, output_price=2, price_source="operator"
        )
    credential = credentials.create(
        tenant=tenant, factory=made, base_url=upstream.url, values={"api_key": KEY}, actor=ACTOR
    )
    for name, kinds in TYPES.items():
        tenant_llms.add(credential=credential, llm_name=name, model_types=kinds, actor=ACTOR)
    return Office(tenant, made, credential, make_token(tenant, user=owner), spool)


def chat_body(model: str = "fake-chat", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}


def endless(part: bytes, kind: str, broken: list[bool]) -> Behaviour:
    """A stream of the same piece again and again; `broken` gets an entry when nobody takes it any more."""

    def behave(handler: Handler) -> None:
        handler.head(200, kind, {})
        try:
            while not handler.server.fake.closing.wait(0.02):
                handler.wfile.write(part)
                handler.wfile.flush()
        except OSError:
            broken.append(True)

    return behave


async def send(
    gateway: Gateway,
    path: str,
    body: Any = None,
    *,
    token: str = "",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    leave: asyncio.Event | None = None,
    on_piece: Callable[[bytes], None] = lambda _: None,
) -> Reply:
    """One request as an ASGI server would bring it; the caller hangs up when `leave` is set."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"host": "testserver", "content-type": "application/json", **(headers or {})}
    if token:
        given["authorization"] = f"Bearer {token}"
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()],
    }
    reply, came = Reply(), iter([{"type": "http.request", "body": raw, "more_body": False}])

    async def receive() -> Any:
        for message in came:
            return message
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def answer(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert reply.status == 0, "an answer begins once"
            reply.status = message["status"]
            reply.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            reply.pieces.append(message["body"])
            on_piece(message["body"])

    await gateway(scope, receive, answer)
    return reply
