"""What the Python door does to texts, vectors and arguments, by itself."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bundle import tools
from gateway.bundle.calls import Spent, summed
from gateway.bundle.media import image_url
from gateway.bundle.texts import Spoken, Without, fitted, fitted_beside, truncated, without_thoughts
from gateway.bundle.vectors import Numbers, Rows
from providers.batches import tokens_at_most
from tests.live.stack import ROOT
from usage.records import Usage

pytestmark = pytest.mark.once

BITS = st.lists(
    st.sampled_from(["<", "<think>", "</think>", "<tool_call>", "</tool_call>", "a", "答", " ", "thi", "nk>"])
)


@given(BITS, st.data())
def test_blocks_are_taken_out_however_a_text_is_cut(bits: list[str], data: st.DataObject) -> None:
    text = "".join(bits)
    whole = Without("<tool_call>", "</tool_call>")
    expected = whole.feed(text) + whole.close()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    other = Without("<tool_call>", "</tool_call>")
    assert "".join(map(other.feed, pieces)) + other.close() == expected
    begin, _, rest = expected.partition("<tool_call>")
    assert "</tool_call>" not in rest or begin


@given(st.lists(st.tuples(st.sampled_from(["", "hm"]), st.sampled_from(["", "yes", "<", " "]))))
def test_every_begin_of_thinking_has_its_end(deltas: list[tuple[str, str]]) -> None:
    spoken = Spoken(thoughts=True, tool_calls=False)
    text = "".join(spoken.feed(*delta) for delta in deltas) + spoken.close()
    assert text.count("<think>") == text.count("</think>")
    hidden = Spoken(thoughts=False, tool_calls=False)
    said = "".join(hidden.feed(*delta) for delta in deltas) + hidden.close()
    assert said == "".join(content for _, content in deltas)


@given(st.text(), st.integers(1, 50))
def test_what_is_fitted_fits_and_says_something(text: str, tokens: int) -> None:
    found = fitted(text, tokens)
    assert found
    assert tokens_at_most(found) <= max(tokens, 2)
    assert fitted_beside(text, text, tokens)


@pytest.mark.parametrize(
    ("text", "chinese"),
    [("", False), ("It is", False), ("答案", True), ("答案 is 42, and these are more letters", False)],
)
def test_a_note_is_in_the_language_of_most_of_the_text(text: str, chinese: bool) -> None:
    assert ("大模型" in truncated(text)) == chinese


@given(BITS)
def test_no_thought_is_left_in_a_whole_answer(bits: list[str]) -> None:
    assert "</think>" not in without_thoughts("".join(bits))


@given(st.text())
def test_arguments_are_an_object_or_nothing(text: str) -> None:
    assert isinstance(tools.arguments_of(text), dict | None)


@pytest.mark.parametrize("given", ["[" * 100_000, "{" * 100_000, "x" * 2_000_000, 3, ["a"], "true"])
def test_arguments_that_are_none_are_told(given: object) -> None:
    assert tools.arguments_of(given) in (None, {})


@pytest.mark.parametrize("piece", ["{", '["', '{"', "{]", '"“', ":", "\\", "/*", "("])
def test_to_mend_arguments_takes_no_time_to_speak_of(piece: str) -> None:
    for letters in (tools.MAX_MENDED, 60_000):
        began = time.process_time()
        tools.arguments_of(('{"a": ' + piece * letters)[:letters])
        assert time.process_time() - began < 5, "once it was minutes"


def test_what_a_tool_returns_becomes_text() -> None:
    assert tools.as_text("as it is") == "as it is"
    assert tools.as_text({"a": [1, "é"]}) == '{"a": [1, "é"]}'
    assert tools.as_text({1}) == "{1}"
    assert tools.as_text(None) == "null"


def test_lists_look_like_arrays_where_there_is_no_numpy() -> None:
    rows = Rows([Numbers([1.0, 2.0]), Numbers([3.0, 4.0])])
    assert (rows.shape, rows[1].shape, rows.tolist()) == ((2, 2), (2,), [[1.0, 2.0], [3.0, 4.0]])
    assert (Rows().shape, Numbers().shape) == ((0, 0), (0,))
    code = (
        "import sys; sys.modules['numpy'] = None; from gateway.bundle import vectors; "
        "print(vectors.rows([[1, 2]]).shape, vectors.numbers([1]).tolist())"
    )
    code = f"import django; django.setup(); {code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[-2] == "(1, 2) [1]", done.stderr


def test_what_is_unknown_stays_so_in_a_sum() -> None:
    total = summed([Usage(input_tokens=1, output_tokens=2), Usage(input_tokens=3, estimated=True)])
    assert (total.input_tokens, total.output_tokens, total.reasoning_tokens) == (4, 2, None)
    assert total.estimated
    assert (Spent().calls, Spent().usage.total_tokens, Spent.of([]).cost) == (0, 0, 0)


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"GIF89a", "image/gif"), (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"), (b"whatever", "image/jpeg")],
)
def test_a_picture_s_type_is_told_by_its_beginning(data: bytes, kind: str) -> None:
    assert image_url(data).startswith(f"data:{kind};base64,")
