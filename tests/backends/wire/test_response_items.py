"""Chat messages to the items of a response and back: nothing of a history is lost, and what does not fit is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import JsonObject, RequestRejected
from backends.wire.response_items import from_items, to_items, to_tools
from tests.backends.contract import ANSWER, CALL, RESULT, TOOL

WORDS = st.text(min_size=1, max_size=8)


def texts(*said: str) -> list[JsonObject]:
    return [{"type": "text", "text": text} for text in said]


@st.composite
def histories(draw: st.DrawFn) -> list[JsonObject]:
    """A system message or none, then turns, each with an answer, reasoning, calls and their results."""
    made: list[JsonObject] = [{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 4))):
        said: JsonObject = {"role": "assistant", "content": draw(st.just("") | WORDS)}
        if draw(st.booleans()):
            said["reasoning_content"] = draw(WORDS)
        calls = [f"call_{number}_{i}" for i in range(draw(st.integers(0, 2)))]
        if calls:
            function = {"name": draw(WORDS), "arguments": '{"b": 1, "a": "é"}'}
            said["tool_calls"] = [{"id": call, "type": "function", "function": function} for call in calls]
        made += [{"role": "user", "content": draw(WORDS)}, said]
        made += [{"role": "tool", "tool_call_id": call, "content": draw(st.text())} for call in calls]
    return made


def in_parts(message: JsonObject) -> JsonObject:
    """As llama-server keeps it: every text is a list of parts, and an assistant that only calls has none."""
    if message["role"] == "tool":
        return message
    content = texts(message["content"]) if message["content"] else []
    only_calls = not content and "tool_calls" in message and "reasoning_content" not in message
    return {k: v for k, v in {**message, "content": content}.items() if not (only_calls and k == "content")}


@given(histories())
def test_there_and_back_is_the_same_history(messages: list[JsonObject]) -> None:
    assert from_items(to_items(messages)) == [in_parts(message) for message in messages]


def test_a_call_is_an_item_of_its_own_after_what_led_to_it() -> None:
    items = to_items([{"role": "user", "content": "look"}, {**CALL, "content": "Looking."}, RESULT])
    assert [item["type"] for item in items] == [
        "message", "reasoning", "message", "function_call", "function_call_output",
    ]  # fmt: skip
    assert items[1]["content"] == [{"type": "reasoning_text", "text": "I should look at it first."}]
    assert items[3]["arguments"] == '{"path": "core/frame.py"}'
    assert items[3]["call_id"] == items[4]["call_id"] == "call_1"


def test_two_assistant_messages_in_a_row_become_one() -> None:
    (joined,) = from_items(to_items([ANSWER, ANSWER]))
    assert joined["content"] == texts(ANSWER["content"], ANSWER["content"])


def test_texts_and_images_keep_their_places() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    message = {"role": "user", "content": [*texts("before"), image]}
    (item,) = to_items([message])
    assert item["content"][1] == {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    assert from_items([item]) == [message]


def test_a_tool_is_flat_and_not_strict_unless_it_says_so() -> None:
    (tool,) = to_tools([TOOL])
    assert tool == {"type": "function", "strict": False, **TOOL["function"]}
    (strict,) = to_tools([{"type": "function", "function": {"name": "f", "strict": True}}])
    assert strict["strict"] is True


@pytest.mark.parametrize(
    ("message", "match"),
    [
        ({"content": "no role"}, "role None"),
        ({"role": "user", "content": 3}, "neither text"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "'input_audio'"),
        ({"role": "user", "content": ["text"]}, "type None"),
    ],
)
def test_what_has_no_place_is_refused(message: dict[str, Any], match: str) -> None:
    with pytest.raises(RequestRejected, match=match):
        to_items([message])
