"""The runtime that only pretends, called as any upstream is."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from math import hypot, isclose
from pathlib import Path
from typing import Any

import pytest

from providers.errors import BadReply, TimedOut
from providers.upstream import Policy, Pool, open, send
from providers.wire import UpstreamRequest
from runtimes.mock import names
from runtimes.mock.api import store

HERE = Policy(in_process=True, total_timeout_s=20)


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def request(method: str, path: str, body: Any = None) -> UpstreamRequest:
    return UpstreamRequest(method, f"inproc://mock{path}", {}, None if body is None else json.dumps(body).encode())


def ask(method: str, path: str, body: Any = None, policy: Policy = HERE) -> tuple[int, Any]:
    response = asyncio.run(send(request(method, path, body), policy))
    return response.status, json.loads(response.body)


def lines(path: str, body: Any, policy: Policy = HERE) -> list[Any]:
    response = asyncio.run(send(request("POST", path, {"step_delay_s": 0, **body}), policy))
    assert (response.status, response.headers["content-type"]) == (200, "application/x-ndjson"), response.body
    return [json.loads(line) for line in response.body.splitlines()]


def states() -> dict[str, str]:
    return {one["name"]: one["state"] for one in ask("GET", "/api/models")[1]["models"]}


def chat(model: str, text: str = "How are you?", **more: Any) -> tuple[int, Any]:
    return ask("POST", "/v1/chat/completions", {"model": model, "messages": [user(text)], **more})


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def events(body: dict[str, Any], policy: Policy = HERE) -> list[Any]:
    response = asyncio.run(send(request("POST", "/v1/chat/completions", {"stream": True, **body}), policy))
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream"), response.body
    found = [part.removeprefix("data: ") for part in response.body.decode().strip().split("\n\n")]
    assert found[-1] == "[DONE]"
    return [json.loads(part) for part in found[:-1]]


# What is there


def test_at_first_all_built_in_models_are_there_and_loaded_but_the_largest() -> None:
    assert states() == {name: "not loaded" if name == "mock-model-30B" else "loaded" for name in names.BUILT_IN}
    assert ask("GET", "/api/version") == (200, {"version": "1.0", "name": "mock"})
    status, listed = ask("GET", "/v1/models")
    assert (status, {one["id"] for one in listed["data"]}) == (200, set(names.BUILT_IN))


def test_a_model_is_described_and_an_unknown_one_is_404() -> None:
    status, model = ask("GET", "/api/models/mock-model-7B")
    assert status == 200
    assert (model["type"], model["max_tokens"], model["parameters"], model["coding"]) == (
        "llm",
        4096,
        7_000_000_000,
        True,
    )
    for method, path in (("GET", "/api/models/no%2Fsuch"), ("DELETE", "/api/models/none"), ("GET", "/nothing")):
        assert ask(method, path)[0] == 404
    assert ask("POST", "/api/load", {"model": "none"})[0] == 404
    assert chat("none")[1]["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"{}", b'{"model": 7}', b'{"model": ""}'])
def test_a_body_that_is_wrong_is_refused(body: bytes) -> None:
    for path in ("/api/install", "/api/load", "/v1/chat/completions", "/v1/embeddings", "/v1/rerank"):
        response = asyncio.run(send(UpstreamRequest("POST", f"inproc://mock{path}", {}, body), HERE))
        assert response.status == 400
        assert json.loads(response.body)["error"]["message"]


# Installing


def test_an_installation_tells_of_its_bytes_and_ends_with_a_model_that_is_not_loaded() -> None:
    said = lines("/api/install", {"model": "org/new-3b", "steps": 4})
    total = names.size_bytes("org/new-3b")
    assert [line["completed"] for line in said] == sorted(line["completed"] for line in said)
    assert said[0] == {"status": "downloading", "completed": 0, "total": total}
    assert said[-1] == {"status": "success", "completed": total, "total": total}
    assert states()["org/new-3b"] == "not loaded"
    assert ask("GET", "/api/models/org%2Fnew-3b")[1]["parameters"] == 3_000_000_000
    assert lines("/api/install", {"model": "org/new-3b"}) == [{"status": "success"}]
    assert ask("DELETE", "/api/models/org%2Fnew-3b")[0] == 200
    assert "org/new-3b" not in states()


def test_an_installation_that_nobody_listens_to_stops_and_the_next_goes_on_from_there() -> None:
    body = {"model": "new-1b", "steps": 1000, "step_delay_s": 0.01}

    async def leave_early() -> None:
        async with Pool() as pool, await open(request("POST", "/api/install", body), HERE, pool=pool) as exchange:
            seen = 0
            async for _ in exchange.chunks():
                seen += 1
                if seen == 5:
                    return

    asyncio.run(leave_early())
    assert states()["new-1b"] == "downloading"
    done = store().read().downloads["new-1b"].done_bytes
    assert done > 0
    assert lines("/api/install", {"model": "new-1b", "steps": 4})[0]["completed"] >= done
    assert states()["new-1b"] == "not loaded"


def test_a_download_can_be_called_off_from_elsewhere() -> None:
    async def run() -> list[Any]:
        body = {"model": "new-1b", "steps": 10_000, "step_delay_s": 0.01}
        async with Pool() as pool, await open(request("POST", "/api/install", body), HERE, pool=pool) as exchange:
            said = []
            async for chunk in exchange.chunks():
                said.append(json.loads(chunk))
                if len(said) == 3:
                    await send(request("POST", "/api/cancel", {"model": "new-1b"}), HERE)
            return said

    assert asyncio.run(run())[-1]["status"] == "error"
    assert "new-1b" not in states()
    assert ask("POST", "/api/cancel", {"model": "nothing"}) == (200, {"cancelled": False})


def test_names_ask_for_faults_of_installations() -> None:
    assert ask("POST", "/api/install", {"model": "missing-model"})[0] == 404
    with pytest.raises(BadReply):
        lines("/api/install", {"model": "failing-model"})
    with pytest.raises(BadReply):
        lines("/api/install", {"model": "failing-model"})
    with pytest.raises(BadReply):
        lines("/api/install", {"model": "flaky-model"})
    again = lines("/api/install", {"model": "flaky-model"})
    assert again[0]["completed"] * 2 >= again[0]["total"]
    assert again[-1]["status"] == "success"
    with pytest.raises(TimedOut, match="stalled"):
        lines("/api/install", {"model": "stalling-model"}, Policy(in_process=True, idle_timeout_s=0.3))


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"steps": "4"}, {"steps": True}, {"step_delay_s": -1}, {"step_delay_s": 1e9}]
)
def test_a_pace_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    assert ask("POST", "/api/install", {"model": "new", **wrong})[0] == 400


def test_models_are_imported_updated_loaded_and_unloaded() -> None:
    assert ask("POST", "/api/import", {"model": "mine"})[0] == 400
    assert ask("POST", "/api/import", {"model": "mine", "path": "/a/missing.gguf"})[0] == 404
    assert ask("POST", "/api/import", {"model": "mine", "path": "/a/mine.gguf"})[0] == 200
    assert ask("GET", "/api/models/mine")[1]["file_path"] == "/a/mine.gguf"
    assert lines("/api/update", {"model": "mine"})[-1]["status"] == "success"
    assert ask("GET", "/api/models/mine")[1]["updates"] == 1
    loading = lines("/api/load", {"model": "mine", "steps": 3})
    assert [line["progress"] for line in loading] == [0, 1 / 3, 2 / 3, 1]
    assert states()["mine"] == "loaded"
    assert lines("/api/load", {"model": "mine"}) == [{"status": "success"}]
    assert ask("POST", "/api/unload", {"model": "mine"})[0] == 200
    assert states()["mine"] == "not loaded"
    ask("POST", "/api/import", {"model": "unloadable-one", "path": "/a"})
    assert ask("POST", "/api/load", {"model": "unloadable-one"})[0] == 500


def test_a_file_that_is_not_what_was_written_counts_as_not_there(data_dir: Path) -> None:
    lines("/api/load", {"model": "mock-model-30B"})
    path = data_dir / "mock-runtime" / "state.json"
    assert states()["mock-model-30B"] == "loaded"
    for garbage in (b"", b"{", b"[]", b"\xff\x00", b'{"models": 7, "downloads": {}}', b'{"models": {"a": 1}}'):
        path.write_bytes(garbage)
        assert set(states()) == set(names.BUILT_IN)
        assert lines("/api/load", {"model": "mock-model-30B"})[-1]["status"] == "success"
        assert states()["mock-model-30B"] == "loaded"


# Chats


def test_a_chat_names_its_model_and_what_was_asked_and_is_always_the_same() -> None:
    status, reply = chat("mock-model-7B", "Is the sea blue?")
    assert status == 200
    said = reply["choices"][0]["message"]["content"]
    assert "mock-model-7B" in said
    assert "Is the sea blue?" in said
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["prompt_tokens"] < usage["completion_tokens"]
    assert chat("mock-model-7B", "Is the sea blue?")[1] == reply


def test_a_model_that_is_not_loaded_is_refused_until_it_is() -> None:
    status, refused = chat("mock-model-30B")
    assert (status, refused["error"]["code"]) == (409, "model_not_loaded")
    lines("/api/load", {"model": "mock-model-30B"})
    assert chat("mock-model-30B")[0] == 200


def test_a_streamed_chat_is_the_whole_one_in_pieces() -> None:
    body = {"model": "mock-model-7B", "messages": [user("Hi  there ")], "stream_options": {"include_usage": True}}
    chunks = events(body)
    whole = ask("POST", "/v1/chat/completions", body)[1]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1])
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], whole["usage"])
    assert all("usage" not in chunk for chunk in events({"model": "mock-model-7B", "messages": [user("Hi")]}))


def test_an_answer_ends_at_its_limit_or_at_a_stop() -> None:
    choice = chat("mock-model-7B", max_tokens=3)[1]["choices"][0]
    assert choice["finish_reason"] == "length"
    assert chat("mock-model-7B", max_tokens=3)[1]["usage"]["completion_tokens"] == 3
    choice = chat("mock-model-7B", stop=["!"])[1]["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello", "stop")


def test_as_many_answers_come_as_are_asked_for() -> None:
    one, two = chat("mock-model-7B")[1], chat("mock-model-7B", n=2)[1]
    assert two["choices"] == [one["choices"][0], {**one["choices"][0], "index": 1}]
    assert two["usage"]["completion_tokens"] == 2 * one["usage"]["completion_tokens"]
    assert two["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    body = {"model": "mock-model-7B", "messages": [user("How are you?")], "n": 2}
    chunks = [chunk["choices"][0] for chunk in events(body)]
    for index in range(2):
        mine = [chunk for chunk in chunks if chunk["index"] == index]
        text = "".join(chunk["delta"].get("content") or "" for chunk in mine)
        assert text == one["choices"][0]["message"]["content"]
        assert mine[-1]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("wrong", "param", "code"),
    [
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": True}, "temperature", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"top_p": -0.1}, "top_p", "decimal_below_min_value"),
        ({"presence_penalty": -3}, "presence_penalty", "decimal_below_min_value"),
        ({"max_tokens": -1}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"max_completion_tokens": "10"}, "max_completion_tokens", "invalid_type"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"n": []}, "n", "invalid_type"),
        ({"stop": ["a", 1]}, "stop", "invalid_type"),
        ({"stop": list("abcde")}, "stop", "array_above_max_length"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "Hi"}, "messages", "invalid_type"),
        ({"messages": [user("Hi"), {"role": "boss", "content": "Work!"}]}, "messages[1].role", "invalid_value"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": 1}]}, "messages[0].role", "invalid_type"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content", "invalid_type"),
        ({"messages": ["Hi"]}, "messages[0]", "invalid_type"),
    ],
)
def test_nonsense_is_refused_as_openai_does(wrong: dict[str, Any], param: str, code: str) -> None:
    status, refused = chat("mock-model-7B", **wrong)
    error = refused["error"]
    assert (status, error["type"], error["param"], error["code"]) == (400, "invalid_request_error", param, code)
    assert f"'{param}'" in error["message"] or code == "invalid_value"


def test_what_is_refused_says_what_would_do() -> None:
    error = chat("mock-model-7B", temperature="hot")[1]["error"]
    assert error["message"] == "Invalid type for 'temperature': expected a decimal, but got a string instead."
    error = chat("mock-model-7B", max_tokens=-1)[1]["error"]
    assert error["message"] == (
        "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, but got -1 instead."
    )
    error = chat("mock-model-7B", messages=[{"role": "boss", "content": ""}])[1]["error"]
    assert error["message"].startswith("Invalid value: 'boss'. Supported values are: 'system', 'assistant', 'user', ")


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_what_openai_takes_is_taken(role: str) -> None:
    fine = {
        "temperature": 0,
        "top_p": 1,
        "n": None,
        "max_tokens": None,
        "stop": "x",
        "seed": 7,
        "frequency_penalty": -2,
    }
    assert chat("mock-model-7B", messages=[user("Hi"), {"role": role, "content": None}], **fine)[0] == 200


def test_more_than_the_context_holds_is_refused() -> None:
    assert chat("mock-model-0.5B", "word " * 4000)[1]["error"]["code"] == "context_length_exceeded"


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
            },
        },
    }
    for name in ("weather", "tides")
]


def test_tools_are_called_with_arguments_that_fit_and_their_answers_are_read() -> None:
    _, reply = chat("mock-model-7B", "Bergen", tools=TOOLS)
    choice = reply["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Bergen", "days": 1, "unit": "C"}
    chosen = {"type": "function", "function": {"name": "tides"}}
    _, other = chat("mock-model-7B", "Bergen", tools=TOOLS, tool_choice=chosen)
    assert other["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "tides"
    assert chat("mock-model-7B", tools=TOOLS, tool_choice="none")[1]["choices"][0]["finish_reason"] == "stop"
    messages = [user("Bergen"), choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "12 °C"}]
    body = {"model": "mock-model-7B", "messages": messages, "tools": TOOLS}
    assert "12 °C" in ask("POST", "/v1/chat/completions", body)[1]["choices"][0]["message"]["content"]
    streamed = events({"model": "mock-model-7B", "messages": [user("Bergen")], "tools": TOOLS})
    assert streamed[1]["choices"][0]["delta"]["tool_calls"] == [{"index": 0, **call}]
    assert streamed[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_answers_keep_to_a_schema() -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}, "list": {"type": "array", "items": {}}}}
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    content = chat("mock-model-7B", response_format=format)[1]["choices"][0]["message"]["content"]
    assert json.loads(content) == {"ok": True, "list": ["How are you?"]}
    content = chat("mock-model-7B", response_format={"type": "json_object"})[1]["choices"][0]["message"]["content"]
    assert json.loads(content)["question"] == "How are you?"


def test_pictures_are_counted() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    body = {"model": "mock-model-vision", "messages": [{"role": "user", "content": parts}]}
    assert "sent 1 picture." in ask("POST", "/v1/chat/completions", body)[1]["choices"][0]["message"]["content"]


def test_names_ask_for_faults_of_calls() -> None:
    for name in ("broken-model", "busy-model", "cut-model", "silent-model"):
        ask("POST", "/api/import", {"model": name, "path": "/a"})
        lines("/api/load", {"model": name})
    assert chat("broken-model")[0] == 500
    assert chat("busy-model")[0] == 429
    with pytest.raises(BadReply):
        events({"model": "cut-model", "messages": [user("Hi")]})
    with pytest.raises(TimedOut):
        ask("POST", "/v1/chat/completions", {"model": "silent-model", "messages": [user("")]}, _soon())


def _soon() -> Policy:
    return Policy(in_process=True, total_timeout_s=0.3)


# Vectors and rankings


def embed(given: Any, **more: Any) -> tuple[int, Any]:
    return ask("POST", "/v1/embeddings", {"model": "mock-model-embeddings", "input": given, **more})


def close(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_vectors_are_of_length_one_always_the_same_and_closer_for_texts_that_are_alike() -> None:
    status, reply = embed(["a cat sat on the mat", "the cat sits on a mat", "stock prices fell on Monday"])
    assert (status, reply["usage"]["total_tokens"] > 0) == (200, True)
    cat, cats, stock = (one["embedding"] for one in reply["data"])
    assert len(cat) == 768
    assert isclose(hypot(*cat), 1, rel_tol=1e-6)
    assert close(cat, cats) > close(cat, stock) + 0.2
    assert embed("a cat sat on the mat")[1]["data"][0]["embedding"] == cat


def test_vectors_come_as_wide_and_as_encoded_as_they_are_asked_for() -> None:
    (plain,) = embed("text", dimensions=8)[1]["data"]
    (encoded,) = embed("text", dimensions=8, encoding_format="base64")[1]["data"]
    unpacked = struct.unpack("<8f", base64.b64decode(encoded["embedding"]))
    assert unpacked == pytest.approx(plain["embedding"])
    assert [len(one["embedding"]) for one in embed([[1, 2], [3]], dimensions=1)[1]["data"]] == [1, 1]
    assert len(embed([1, 2, 3])[1]["data"]) == 1
    assert len(embed("")[1]["data"][0]["embedding"]) == 768
    for wrong in (0, 769, "8", True):
        assert embed("text", dimensions=wrong)[0] == 400
    for wrong_input in (None, [], [{}], ["a", 1]):
        assert embed(wrong_input)[0] == 400


def test_a_ranking_has_the_likest_document_first() -> None:
    documents = ["stock prices fell", "cats and mats", {"text": "a cat sat on the mat"}]
    body = {"model": "mock-model-rerank", "query": "cat on a mat", "documents": documents}
    status, reply = ask("POST", "/v1/rerank", body)
    assert (status, [one["index"] for one in reply["results"]]) == (200, [2, 1, 0])
    assert len(ask("POST", "/v1/rerank", {**body, "top_n": 1})[1]["results"]) == 1


@pytest.mark.parametrize(
    ("query", "documents", "code"),
    [
        ("cat", ["a"] * 2049, "too_many_documents"),
        ("cat " * 8193, ["a"], "context_length_exceeded"),
        ("cat", ["a", "mat " * 8193], "context_length_exceeded"),
    ],
)
def test_no_ranking_is_so_large_that_other_calls_wait_for_it(query: str, documents: list[str], code: str) -> None:
    status, reply = ask("POST", "/v1/rerank", {"model": "mock-model-rerank", "query": query, "documents": documents})
    assert (status, reply["error"]["code"]) == (400, code)


def test_a_body_that_is_nested_too_deeply_is_refused() -> None:
    tools: list[Any] = []
    for _ in range(900):
        tools = [tools]
    status, reply = chat("mock-model-7B", tools=tools)
    assert (status, reply["error"]["code"]) == (400, "bad_json")


def test_a_model_of_another_kind_is_refused() -> None:
    assert chat("mock-model-embeddings")[1]["error"]["code"] == "wrong_type"
    body = {"model": "mock-model-7B", "input": "x"}
    assert ask("POST", "/v1/embeddings", body)[1]["error"]["code"] == "wrong_type"
