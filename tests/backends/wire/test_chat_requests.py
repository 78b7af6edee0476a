"""The chat that a body of another form asks for. That llama-server reads it so is shown in `tests/harness/external`."""

from __future__ import annotations

from typing import Any

import pytest

from backends.wire import chat_of_message, chat_of_response

FUNCTION: dict[str, Any] = {"name": "f", "description": "d", "parameters": {"type": "object"}}


def test_a_response_may_leave_out_what_goes_without_saying() -> None:
    body = {
        "instructions": "s",
        "input": [
            {"role": "user", "content": "a"},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}", "status": "completed"},
            {"type": "function_call_output", "call_id": "1", "output": "done"},
        ],
        "tools": [{"type": "function", **FUNCTION}, {"type": "web_search"}],
    }
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert chat_of_response(body) == (
        [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "done"},
        ],
        [{"type": "function", "function": {**FUNCTION, "strict": True}}],
    )
    assert chat_of_response({"input": "a"}) == ([{"role": "user", "content": "a"}], [])


def test_the_body_is_left_as_it_is() -> None:
    body: dict[str, Any] = {"input": [{"role": "user", "content": "a"}], "tools": [{"type": "function", "name": "f"}]}
    chat_of_response(body)
    assert body == {"input": [{"role": "user", "content": "a"}], "tools": [{"type": "function", "name": "f"}]}


@pytest.mark.parametrize(
    "body",
    [
        {"input": "a", "previous_response_id": "r"},
        {"input": 3},
        {"input": "a", "tools": 3},
        {"input": ["a"]},
        {"input": [{"type": "function_call"}]},
        {"input": [{"type": "reasoning", "content": []}]},
    ],
)
def test_a_response_that_cannot_be_read_has_no_chat(body: dict[str, Any]) -> None:
    assert chat_of_response(body) is None


def test_messages_with_parts_become_those_of_a_chat() -> None:
    body = {
        "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "done"}]},
                    {"type": "tool_result", "tool_use_id": "2"},
                ],
            },
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    }
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    assert chat_of_message(body) == (
        [
            {"role": "system", "content": "ab"},
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "done"},
            {"role": "tool", "tool_call_id": "2", "content": ""},
        ],
        [{"type": "function", "function": FUNCTION}],
    )


@pytest.mark.parametrize("messages", [3, ["a"], [{"role": "user"}], [{"role": "user", "content": [{"text": "a"}]}]])
def test_messages_that_cannot_be_read_have_no_chat(messages: Any) -> None:
    assert chat_of_message({"messages": messages}) is None
