from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import JsonObject
from harness.agent.calls import ParsedCall, Said, read_calls, said_by
from harness.tools.base import schema_of
from profiler.records import Reply, ToolCall

READ = schema_of("read", "", required={"path": {"type": "string"}}, limit={"type": "integer", "minimum": 1})
BASH = schema_of("bash", "", required={"command": {"type": "string"}})
TOOLS = (READ, BASH)
PATH = {"path": "a.py"}


def native(name: str, arguments: str, stop: str = "tool_calls") -> ParsedCall:
    return read_calls(Said("", "", (ToolCall("x", name, arguments),), stop), TOOLS, rescue=False).calls[0]


@pytest.mark.parametrize(
    ("name", "arguments", "fault", "problem"),
    [
        ("read", '{"path": "a.py"}', None, ""),
        ("read", '{"path": "a.py", "limit": 3}', None, ""),
        ("read", '{"path": "a.py"', "unparsable_args", "The arguments of read are no JSON object"),
        ("read", '["a.py"]', "unparsable_args", "no JSON object"),
        ("read", '{"path": NaN}', "unparsable_args", "no JSON object"),
        ("read", "", "schema_violation", "'path' is a required property"),
        ("read", '{"path": 3}', "schema_violation", "path: 3 is not of type 'string'"),
        ("read", '{"path": "a", "limit": 0}', "schema_violation", "limit: 0 is less than the minimum"),
        ("read", '{"path": "a", "file": "b"}', "schema_violation", "'file' was unexpected"),
        ("reed", '{"path": "a"}', "unknown_tool", "There is no tool 'reed'. Did you mean read?"),
        ("fly", "{}", "unknown_tool", "There is no tool 'fly'. Tools: read, bash."),
        ("", "{}", "unknown_tool", "The call names no tool."),
    ],
)
def test_faults_of_native_calls(name: str, arguments: str, fault: str | None, problem: str) -> None:
    call = native(name, arguments)
    assert call.fault == fault
    assert problem in call.problem
    assert bool(call.problem) == bool(fault)


def test_a_call_that_was_cut_off_is_not_merely_unparsable() -> None:
    assert native("read", '{"path": "a', stop="length").fault == "truncated_call"
    assert native("read", '{"path": "a"}', stop="length").fault is None


WRITTEN = {
    "hermes": '<tool_call>\n{"name": "read", "arguments": {"path": "a.py"}}\n</tool_call>',
    "hermes without an end": '<tool_call>{"name": "read", "arguments": {"path": "a.py"}}',
    "qwen": "<tool_call>\n<function=read>\n<parameter=path>\na.py\n</parameter>\n</function>\n</tool_call>",
    "llama function": '<function=read>{"path": "a.py"}</function>',
    "llama python tag": '<|python_tag|>{"name": "read", "parameters": {"path": "a.py"}}',
    "mistral": '[TOOL_CALLS][{"name": "read", "arguments": {"path": "a.py"}}]',
    "mistral with a name": '[TOOL_CALLS]read[ARGS]{"path": "a.py"}',
    "harmony": '<|channel|>commentary to=functions.read <|constrain|>json<|message|>{"path": "a.py"}<|call|>',
    "block": 'I read it.\n```json\n{"tool": "read", "args": {"path": "a.py"}}\n```',
    "bare": '{"name": "read", "parameters": {"path": "a.py"}}',
    "inside a function": '{"type": "function", "function": {"name": "read", "arguments": "{\\"path\\": \\"a.py\\"}"}}',
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_call_in_the_text_is_a_fault_or_rescued(text: str) -> None:
    said = Said(text, stop_reason="stop")
    faulty = read_calls(said, TOOLS, rescue=False)
    assert [(call.name, call.arguments, call.origin, call.fault) for call in faulty.calls] == [
        ("read", PATH, "text", "text_encoded_call")
    ]
    assert faulty.content == text
    rescued = read_calls(said, TOOLS, rescue=True)
    assert [(call.name, call.arguments, call.origin, call.fault) for call in rescued.calls] == [
        ("read", PATH, "text", None)
    ]
    assert "a.py" not in rescued.content


def test_several_calls_in_the_text_keep_their_order_and_the_words_between() -> None:
    call = '<tool_call>{"name": "%s", "arguments": {}}</tool_call>'
    reading = read_calls(Said(f"First {call % 'read'} then {call % 'bash'} done."), TOOLS, rescue=True)
    assert [call.name for call in reading.calls] == ["read", "bash"]
    assert reading.content == "First  then  done."


@pytest.mark.parametrize(
    "text",
    [
        "All tests pass now.",
        '```json\n{"name": "Ada", "age": 36}\n```',
        '```python\nread("a.py")\n```',
        '{"result": [1, 2]}',
        "[1] see the notes",
        "I would call read next.",
    ],
)
def test_other_text_is_no_call(text: str) -> None:
    assert read_calls(Said(text), TOOLS, rescue=True) == (text, ())


def test_a_text_call_that_was_cut_off() -> None:
    call = read_calls(Said('<tool_call>{"name": "read", "arg', stop_reason="length"), TOOLS, rescue=False).calls[0]
    assert (call.name, call.fault) == ("read", "truncated_call")


def test_values_without_quotes_are_typed_by_the_schema() -> None:
    text = "<function=read><parameter=path>\n42\n</parameter><parameter=limit>7</parameter></function>"
    assert read_calls(Said(text), TOOLS, rescue=True).calls[0].arguments == {"path": "42", "limit": 7}


def test_calls_that_the_engine_left_as_text_are_native() -> None:
    raw = '{"name": "read", "arguments": {"path": "a.py"}}\n{"name": "bash", "arguments": {"command": "ls"}}'
    said = said_by(Reply(text={"tool_call": raw, "content": "Now"}, stop_reason="tool_calls"), TOOLS)
    assert said.calls == (ToolCall("", "read", '{"path": "a.py"}'), ToolCall("", "bash", '{"command": "ls"}'))
    assert [call.origin for call in read_calls(said, TOOLS, rescue=False).calls] == ["native", "native"]


def test_calls_that_the_engine_took_apart_win_over_their_text() -> None:
    call = ToolCall("id", "read", "{}")
    reply = Reply(text={"tool_call": "read{}", "reasoning": "<think>\nhm\n</think>\n\n"}, calls=(call,))
    assert said_by(reply, TOOLS)[1:3] == ("hm", (call,))


PIECES = (
    "<tool_call>", "</tool_call>", "<function=", "[TOOL_CALLS]", "```json\n", "<parameter=a>", "<|message|>",
    "commentary to=x", "\ud800", '"\\ud800"', "[" * 3000, "{",
)  # fmt: skip
MARKS = st.sampled_from([*WRITTEN.values(), *PIECES])


@given(st.lists(st.one_of(st.text(max_size=20), MARKS), max_size=8).map("".join), st.booleans())
def test_no_text_raises(text: str, rescue: bool) -> None:
    said = said_by(Reply(text={"content": text, "tool_call": text}, stop_reason="length"), TOOLS)
    for one in (said, Said(text, stop_reason="stop"), Said("", "", (ToolCall("", text, text),))):
        for call in read_calls(one, TOOLS, rescue=rescue).calls:
            assert (call.fault is None) == (not call.problem)
            assert call.fault or call.arguments is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["path", "limit", "x"]), JSON, max_size=3))
def test_hermes_calls_come_back_as_they_were_written(arguments: dict[str, Any]) -> None:
    text = f"<tool_call>{json.dumps({'name': 'read', 'arguments': arguments})}</tool_call>"
    call = read_calls(Said(text), TOOLS, rescue=True).calls[0]
    assert call.arguments == arguments
    valid = (
        isinstance(arguments.get("path"), str)
        and "x" not in arguments
        and ("limit" not in arguments or (type(arguments["limit"]) is int and arguments["limit"] >= 1))
    )
    assert (call.fault is None) == valid


def test_a_schema_that_is_none_allows_everything() -> None:
    odd: JsonObject = {"type": "function", "function": {"name": "odd", "parameters": {"type": "nonsense"}}}
    assert read_calls(Said("", "", (ToolCall("", "odd", '{"a": 1}'),)), (odd,), rescue=False).calls[0].fault is None
