"""The examples of docs/python.md run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.gateway.calling import Office
from tests.gateway.python_door import answering, completion, python_door, records, tool_call, with_tools

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
DEFAULTS = {"llm_id": "fake-chat@Fake", "embd_id": "fake-embedding@Fake", "rerank_id": "fake-rerank@Fake"}
DEFAULTS |= {"tts_id": "fake-tts@Fake", "asr_id": "fake-asr@Fake"}


@pytest.fixture
def ready(office: Office, settings: Any) -> Iterator[None]:
    with_tools(office)
    type(office.tenant).objects.filter(pk=office.tenant.pk).update(**DEFAULTS)
    with python_door(office, settings):
        yield


def test_the_examples_run_one_after_the_other(
    ready: None,
    office: Office,
    upstream: FakeUpstream,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"tenant_id": office.tenant.pk}
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for example in examples:
        if "bind_tools" in example:
            call = tool_call("a", "get_weather", '{"city": "Rome"}')
            answering(upstream, completion({"content": None, "tool_calls": [call]}), completion({"content": "Clear."}))
        elif "RateLimited" in example:
            upstream.rate_limited("/chat/completions", retry_after="3600")
        exec(compile(example, str(PAGE), "exec"), names)  # noqa: S102
        if "last_cost" in example:
            assert capsys.readouterr().out == "Hello!8 0.0000120000\n"
            assert names["text"] == "Hello!"
        elif "similarity" in example:
            assert (len(names["vectors"]), len(names["query"]), names["best"]) == (2, 4, 0)
        elif "speaker" in example:
            assert (tmp_path / "said.mp3").stat().st_size > 0
            assert capsys.readouterr().out == "final Hello.\n"
        elif "asyncio" in example:
            assert names["answers"] == [("Hello!", 10)] * 2
        elif "bind_tools" in example:
            assert names["text"] == "Clear."
            assert upstream.requests[-1].json["messages"][-1]["content"] == "clear in Rome"
        elif "RateLimited" in example:
            assert capsys.readouterr().out == "again in 3600.0\n"
        else:
            assert (names["row"].llm_name, names["config"]["llm_name"]) == ("fake-chat", "fake-chat")
            assert names["model"].llm_name == "fake-chat@Fake"
    assert len(examples) == 7
    assert len(records(office)) == 12
