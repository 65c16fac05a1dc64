"""OpenAI's own client cannot tell the gateway from the model server behind it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pydantic
import pytest

from tests.fakes.upstream import KEY, FakeUpstream
from tests.live.processes import until
from tests.live.stack import Stack
from tests.live.test_main_job import COMPATIBLE, add, empty, own_models
from tests.llamacpp.fixtures import LlamaCpp
from tests.npm import installed

pytestmark = pytest.mark.once

ITS_OWN = ("id", "created", "timings", "system_fingerprint")  # of each answer
HELLO: list[Any] = [{"role": "user", "content": "the cat is"}]
WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"yes": {"type": "boolean"}},
            "required": ["yes"],
            "additionalProperties": False,
        },
    },
}
FAKES = {"fake-chat": "chat", "fake-vision": "chat", "fake-asr": "speech2text", "fake-tts": "tts"}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def place(stack: Stack, llamacpp_chat: LlamaCpp, llamacpp_embed: LlamaCpp, fake: FakeUpstream) -> Iterator[Stack]:
    """The shared installation with models of real servers and of a fake one."""
    empty(stack)
    for server, kind in ((llamacpp_chat, "chat"), (llamacpp_embed, "embedding")):
        assert add(stack, server.model, kind, server.base_url, server.api_key)["retcode"] == 0
    for name, kind in FAKES.items():
        assert add(stack, name, kind, fake.url, KEY)["retcode"] == 0, name
    names = {ours(name) for name in (llamacpp_chat.model, llamacpp_embed.model, *FAKES)}
    until(lambda: own_models(stack) == names, within_s=60, seen=lambda: (own_models(stack), stack.log()[-4000:]))
    yield stack
    empty(stack)


@pytest.fixture(scope="module")
def api(place: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{place.url}/v1", api_key=place.token, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def direct(llamacpp_chat: LlamaCpp) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=llamacpp_chat.base_url, api_key=llamacpp_chat.api_key, max_retries=0) as client:
        client.chat.completions.create(model=llamacpp_chat.model, messages=HELLO, max_tokens=1)  # now it is cached
        yield client


def ours(name: str) -> str:
    return f"{name}___OpenAI-API@{COMPATIBLE}"


def plain(answer: Any) -> Any:
    """All that an answer says but what every answer has of its own."""
    data = answer.model_dump(warnings=False)  # of vectors that come in base64
    return {name: value for name, value in data.items() if name not in ITS_OWN}


ASKED: dict[str, dict[str, Any]] = {
    "a chat": {"max_tokens": 20},
    "a chat without chance": {"max_tokens": 8, "temperature": 0.0, "top_p": 0.5, "stop": ["zebra"]},
    "tools": {"tools": WEATHER, "max_tokens": 20},
    "a tool that must be called": {
        "tools": WEATHER,
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "max_tokens": 60,
    },
    "several tools at once": {"tools": WEATHER, "parallel_tool_calls": True, "max_tokens": 20},
    "a structured output": {"response_format": SCHEMA, "max_tokens": 60},
    "log probabilities": {"logprobs": True, "top_logprobs": 2, "max_tokens": 4},
}


@pytest.mark.parametrize("what", list(ASKED))
def test_a_chat_is_the_same_through_the_gateway(
    api: openai.OpenAI, direct: openai.OpenAI, llamacpp_chat: LlamaCpp, what: str
) -> None:
    asked = {"messages": HELLO, "seed": 1, **ASKED[what]}
    theirs = outcome(lambda: plain(direct.chat.completions.create(model=llamacpp_chat.model, **asked)))
    assert outcome(lambda: plain(api.chat.completions.create(model=ours("tiny-chat"), **asked))) == theirs


@pytest.mark.parametrize("what", list(ASKED))
@pytest.mark.parametrize("shows_usage", [True, False])
def test_a_stream_is_the_same_through_the_gateway(
    api: openai.OpenAI, direct: openai.OpenAI, llamacpp_chat: LlamaCpp, what: str, shows_usage: bool
) -> None:
    asked = {"messages": HELLO, "seed": 1, "stream": True, **ASKED[what]}
    if shows_usage:
        asked["stream_options"] = {"include_usage": True}

    def said(client: openai.OpenAI, model: str) -> Any:
        return [plain(chunk) for chunk in client.chat.completions.create(model=model, **asked)]

    theirs = outcome(lambda: said(direct, llamacpp_chat.model))
    assert outcome(lambda: said(api, ours("tiny-chat"))) == theirs


def outcome(work: Callable[[], Any]) -> Any:
    """What came of it: an answer, or the client's error class and status."""
    try:
        return work()
    except openai.APIStatusError as error:
        return type(error).__name__, error.status_code


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_vectors_are_the_same_through_the_gateway(api: openai.OpenAI, llamacpp_embed: LlamaCpp, form: Any) -> None:
    asked: dict[str, Any] = {"input": ["green river", "blue house"]}
    if form:
        asked["encoding_format"] = form
    with openai.OpenAI(base_url=llamacpp_embed.base_url, api_key=llamacpp_embed.api_key, max_retries=0) as direct:
        theirs = outcome(lambda: plain(direct.embeddings.create(model=llamacpp_embed.model, **asked)))
    assert outcome(lambda: plain(api.embeddings.create(model=ours("tiny-embed"), **asked))) == theirs


def test_models_are_listed_and_found(api: openai.OpenAI) -> None:
    names = {model.id for model in api.models.list()}
    assert {name for name in names if "~" not in name} == {ours(name) for name in ("tiny-chat", "tiny-embed", *FAKES)}
    for name in names:
        assert api.models.retrieve(name).id == name


def test_sound_goes_both_ways(api: openai.OpenAI) -> None:
    sound = api.audio.speech.create(model=ours("fake-tts"), voice="alloy", input="Hello").read()
    assert sound.startswith(b"RIFF")
    said = api.audio.transcriptions.create(model=ours("fake-asr"), file=("a.wav", sound))
    assert said.text == "Hello."
    with api.audio.speech.with_streaming_response.create(model=ours("fake-tts"), voice="alloy", input="Hello") as reply:
        assert b"".join(reply.iter_bytes()) == sound


def test_a_transcript_is_heard_piece_by_piece(api: openai.OpenAI, fake: FakeUpstream) -> None:
    events = list(api.audio.transcriptions.create(model=ours("fake-asr"), file=("a.wav", b"RIFF"), stream=True))
    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"], "of one that is whole"
    said = [{"type": "transcript.text.delta", "delta": text} for text in ("Hel", "lo.")]
    said.append({"type": "transcript.text.done", "text": "Hello."})
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in said)
    fake.raw("/audio/transcriptions", body.encode(), content_type="text/event-stream")
    try:
        streamed = api.audio.transcriptions.create(model=ours("fake-asr"), file=("a.wav", b"RIFF"), stream=True)
        assert [event.model_dump(exclude_unset=True) for event in streamed] == said
    finally:
        fake.well("/audio/transcriptions")


def test_headers_are_there_for_who_looks_at_them(api: openai.OpenAI) -> None:
    raw = api.chat.completions.with_raw_response
    asked: dict[str, Any] = {"model": ours("tiny-chat"), "messages": HELLO, "max_tokens": 4, "seed": 1}
    whole = raw.create(**asked, extra_headers={"X-Request-Id": "my-request-1"})
    assert whole.headers["x-request-id"] == "my-request-1" == whole.parse()._request_id
    assert whole.headers["x-llmadmin-target"] == ours("tiny-chat")
    assert whole.headers["x-llmadmin-attempts"] == "1"
    assert whole.parse().choices[0].message.content
    streamed = raw.create(**asked, stream=True)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.headers["x-llmadmin-target"] == ours("tiny-chat")
    assert [chunk for chunk in streamed.parse() if chunk.choices]
    with pytest.raises(openai.NotFoundError) as unknown:
        raw.create(**{**asked, "model": "nothing"})
    assert unknown.value.response.headers["x-request-id"] == unknown.value.request_id


class Answer(pydantic.BaseModel):
    yes: bool


def test_the_clients_own_helpers_work(api: openai.OpenAI, direct: openai.OpenAI, llamacpp_chat: LlamaCpp) -> None:
    asked: dict[str, Any] = {"messages": HELLO, "seed": 1, "max_tokens": 60}

    def parsed(client: openai.OpenAI, model: str) -> Any:
        try:
            found = client.chat.completions.parse(model=model, response_format=Answer, **asked)
        except (openai.OpenAIError, pydantic.ValidationError) as error:
            return type(error)
        return found.choices[0].message.parsed

    def put_together(client: openai.OpenAI, model: str) -> Any:
        with client.chat.completions.stream(model=model, tools=WEATHER, **asked) as stream:
            kinds = [event.type for event in stream]
            message = stream.get_final_completion().choices[0].message
        return kinds[-1], message.content, message.tool_calls

    assert parsed(api, ours("tiny-chat")) == parsed(direct, llamacpp_chat.model)
    assert put_together(api, ours("tiny-chat")) == put_together(direct, llamacpp_chat.model)


def test_each_failure_is_the_clients_own_class(api: openai.OpenAI, place: Stack, fake: FakeUpstream) -> None:
    def ask(client: openai.OpenAI = api, model: str = ours("fake-chat"), **more: Any) -> Any:
        return client.chat.completions.create(model=model, **{"messages": HELLO, **more})

    wrong = api.with_options(api_key=f"lla_{'x' * 43}")
    with pytest.raises(openai.AuthenticationError) as refused:
        ask(wrong)
    assert (refused.value.code, refused.value.status_code) == ("invalid_api_key", 401)
    with pytest.raises(openai.AuthenticationError):
        ask(api.with_options(api_key="sk-nothing"))
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(model="nothing")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        api.models.retrieve("nothing")
    with pytest.raises(openai.BadRequestError):
        ask(messages="no list", extra_body={"stream": "yes"})
    with pytest.raises(openai.BadRequestError) as kind:
        api.embeddings.create(model=ours("fake-chat"), input="x")
    assert kind.value.code == "wrong_model_type"
    fake.status("/chat/completions", 400, {"error": {"message": "No such role", "type": "invalid_request_error"}})
    with pytest.raises(openai.BadRequestError, match="No such role"):
        ask()
    fake.well("/chat/completions")
    assert ask().choices[0].message.content == "Hello!"
    assert refused.value.request_id and unknown.value.request_id


def test_the_client_waits_as_long_as_a_limit_says(api: openai.OpenAI, fake: FakeUpstream) -> None:
    fake.rate_limited("/chat/completions", retry_after="700")
    with pytest.raises(openai.RateLimitError) as limited:
        api.chat.completions.create(model=ours("fake-vision"), messages=HELLO)
    assert limited.value.response.headers["retry-after"] == "700"
    fake.well("/chat/completions")
    with pytest.raises(openai.InternalServerError, match="not being called now"):
        api.chat.completions.create(model=ours("fake-vision"), messages=HELLO)


def test_who_gives_up_or_leaves_is_let_go(api: openai.OpenAI, fake: FakeUpstream) -> None:
    fake.hang("/chat/completions")
    with pytest.raises(openai.APITimeoutError):
        api.with_options(timeout=1.5).chat.completions.create(model=ours("fake-chat"), messages=HELLO)
    fake.well("/chat/completions")
    stream = api.chat.completions.create(model=ours("tiny-chat"), messages=HELLO, stream=True, max_tokens=200, seed=1)
    assert next(iter(stream)).choices
    stream.close()
    assert api.models.list().data


NODE = """
const OpenAI = require(process.argv[1]);
const client = new OpenAI({baseURL: process.env.URL, apiKey: process.env.TOKEN, maxRetries: 0, timeout: 60000});
const messages = [{role: 'user', content: 'the cat is'}];
const [chat, embed, fake, tts] = ['CHAT', 'EMBED', 'FAKE', 'TTS'].map(name => process.env[name]);
const [tools, response_format] = ['TOOLS', 'SCHEMA'].map(name => JSON.parse(process.env[name]));
async function failure(work) {
  try { await work(); } catch (error) { return [error.constructor.name, error.status, error.code]; }
}
(async () => {
  const said = {};
  const whole = await client.chat.completions.create({model: chat, messages, seed: 1, max_tokens: 20});
  said.whole = [whole.choices[0].message.content, whole.choices[0].finish_reason, whole.usage.total_tokens];
  const stream = await client.chat.completions.create({model: chat, messages, seed: 1, max_tokens: 20, stream: true,
    stream_options: {include_usage: true}});
  let text = '', total = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? '';
    total = chunk.usage?.total_tokens ?? total;
  }
  said.streamed = [text, total];
  said.helper = (await client.chat.completions.stream({model: chat, messages, seed: 1, max_tokens: 20})
    .finalChatCompletion()).choices[0].message.content;
  said.vectors = (await client.embeddings.create({model: embed, input: ['green', 'blue']})).data.map(
    one => [one.embedding.length, typeof one.embedding[0]]);
  const forced = await client.chat.completions.create({model: chat, messages, seed: 1, max_tokens: 60, tools,
    tool_choice: {type: 'function', function: {name: 'get_weather'}}});
  said.forced = forced.choices[0].message.content;
  const calls = forced.choices[0].message.tool_calls ?? [];
  said.called = calls.map(one => [one.type, one.function.name, one.function.arguments]);
  said.structured = (await client.chat.completions.create({model: chat, messages, seed: 1, max_tokens: 60,
    response_format})).choices[0].message.content;
  const {data, response} = await client.chat.completions.create({model: fake, messages}).withResponse();
  said.headers = [data.choices[0].message.content, response.headers.get('x-llmadmin-target'),
    response.headers.get('x-llmadmin-attempts'), data._request_id === response.headers.get('x-request-id')];
  const sound = await client.audio.speech.create({model: tts, voice: 'alloy', input: 'Hello'});
  said.sound = Buffer.from(await sound.arrayBuffer()).toString('latin1', 0, 4);
  said.models = [];
  for await (const model of client.models.list()) said.models.push(model.id);
  said.retrieved = (await client.models.retrieve(chat)).id;
  said.wrongToken = await failure(() => new OpenAI({baseURL: process.env.URL, apiKey: 'sk-x'}).models.list());
  said.unknown = await failure(() => client.chat.completions.create({model: 'nothing', messages}));
  said.invalid = await failure(() => client.chat.completions.create({model: fake, messages, stream: 'yes'}));
  const left = await client.chat.completions.create({model: chat, messages, stream: true, max_tokens: 200});
  for await (const chunk of left) { left.controller.abort(); break; }
  said.after = (await client.chat.completions.create({model: fake, messages})).choices[0].message.content;
  console.log(JSON.stringify(said));
})().catch(error => { console.error(error); process.exit(1); });
"""


def test_openais_client_for_node_works_as_it_does(
    place: Stack, api: openai.OpenAI, direct: openai.OpenAI, llamacpp_chat: LlamaCpp
) -> None:
    asked: dict[str, Any] = {"messages": HELLO, "seed": 1, "max_tokens": 20}
    theirs = direct.chat.completions.create(model=llamacpp_chat.model, **asked)
    env = {"PATH": os.environ["PATH"], "URL": f"{place.url}/v1", "TOKEN": place.token}
    env |= {"CHAT": ours("tiny-chat"), "EMBED": ours("tiny-embed"), "FAKE": ours("fake-chat"), "TTS": ours("fake-tts")}
    env |= {"TOOLS": json.dumps(WEATHER), "SCHEMA": json.dumps(SCHEMA)}
    command = ["node", "-e", NODE, str(installed("openai", "7.57.0"))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert theirs.usage is not None
    more = {**asked, "max_tokens": 60}
    forced = direct.chat.completions.create(
        model=llamacpp_chat.model, **{**more, **ASKED["a tool that must be called"]}
    ).choices[0]
    structured = direct.chat.completions.create(model=llamacpp_chat.model, **more, response_format=SCHEMA).choices[0]
    text, total = theirs.choices[0].message.content, theirs.usage.total_tokens
    assert json.loads(done.stdout) == {
        "whole": [text, theirs.choices[0].finish_reason, total],
        "streamed": [text, total],
        "helper": text,
        "vectors": [[64, "number"]] * 2,
        "forced": forced.message.content,
        "called": [
            [call.type, call.function.name, call.function.arguments] for call in forced.message.tool_calls or ()
        ],
        "structured": structured.message.content,
        "headers": ["Hello!", ours("fake-chat"), "1", True],
        "sound": "RIFF",
        "models": [model.id for model in api.models.list()],
        "retrieved": ours("tiny-chat"),
        "wrongToken": ["AuthenticationError", 401, "invalid_api_key"],
        "unknown": ["NotFoundError", 404, "model_not_found"],
        "invalid": ["BadRequestError", 400, "invalid_request"],
        "after": "Hello!",
    }
