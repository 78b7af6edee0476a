"""Chat messages to Anthropic's blocks and back: nothing of a history is lost, and what does not fit is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import JsonObject, RequestRejected
from backends.wire.message_blocks import from_blocks, to_blocks, to_tools
from tests.backends.contract import CALL, RESULT, TOOL

WORDS = st.text(min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4), lambda x: st.lists(x, max_size=2)
)


@st.composite
def histories(draw: st.DrawFn) -> list[JsonObject]:
    """A system message or none, then turns: a question, or calls with their results, and what is said between."""
    made: list[JsonObject] = [{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 4))):
        made.append({"role": "user", "content": draw(WORDS)})
        said: JsonObject = {"role": "assistant", "content": draw(WORDS)}
        if draw(st.booleans()):
            said["reasoning_content"] = draw(WORDS)
        calls = [f"call_{number}_{i}" for i in range(draw(st.integers(0, 2)))]
        if calls:
            arguments = msgspec.json.encode(draw(st.dictionaries(WORDS, JSON, max_size=3))).decode()
            function = {"name": draw(WORDS), "arguments": arguments}
            said["tool_calls"] = [{"id": call, "type": "function", "function": function} for call in calls]
        made += [said, *({"role": "tool", "tool_call_id": call, "content": draw(st.text())} for call in calls)]
    return made


@given(histories())
def test_there_and_back_is_the_same_history(messages: list[JsonObject]) -> None:
    assert from_blocks(*to_blocks(messages)) == messages


def test_the_results_of_one_turn_are_one_message_of_the_user() -> None:
    second = {
        **RESULT,
        "tool_call_id": "call_2",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
    }
    system, messages = to_blocks([{"role": "user", "content": "look"}, CALL, RESULT, second])
    assert system is None
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert [block["type"] for block in messages[1]["content"]] == ["thinking", "tool_use"]
    assert messages[1]["content"][1]["input"] == {"path": "core/frame.py"}
    assert [block["tool_use_id"] for block in messages[2]["content"]] == ["call_1", "call_2"]
    assert messages[2]["content"][1]["content"] == "ab"


def test_a_tool_keeps_its_schema() -> None:
    (tool,) = to_tools([TOOL])
    assert tool == {"name": "read_file", "description": "Read a file.", "input_schema": TOOL["function"]["parameters"]}


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([{"content": "no role"}], "role None"),
        ([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}], "system message after"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "only text"),
        ([{"role": "user", "content": 3}], "only text"),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}], "no JSON object"),
    ],
)
def test_what_has_no_place_is_refused(messages: list[dict[str, Any]], match: str) -> None:
    with pytest.raises(RequestRejected, match=match):
        to_blocks(messages)
