"""Finds tool calls that a model wrote as text, in the forms that model families were trained on. Pure; never raises.

    Hermes, Qwen      <tool_call>{"name": "read", "arguments": {"path": "a.py"}}</tool_call>
    Qwen coder        <tool_call><function=read><parameter=path>a.py</parameter></function></tool_call>
    Llama 3           <function=read>{"path": "a.py"}</function>, <|python_tag|>{"name": …, "parameters": …}
    Mistral           [TOOL_CALLS][{"name": …, "arguments": …}], [TOOL_CALLS]read[ARGS]{"path": "a.py"}
    Harmony           <|channel|>commentary to=functions.read <|message|>{"path": "a.py"}<|call|>
    anything          a ```json block, or a whole text, that is such an object and names a tool that there is

It says what was written; whether the call can be run is found out in `harness.agent.calls`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

from backends.base import JsonObject

__all__ = ["Found", "Schemas", "calls_in_reply", "find_calls"]


class Found(NamedTuple):
    """A call as it was written: where it stands in the text, its name (empty: none can be read), its arguments.

    `arguments` is JSON, unless the model wrote none; `complete` is false where the text ends inside the call.
    """

    start: int
    end: int
    name: str
    arguments: str
    complete: bool = True


_NAME = r"[\w.:/-]{1,128}"
_TAGGED = re.compile(r"<tool_call>(?P<body>.*?)(?P<close></tool_call>|\Z|(?=<tool_call>))", re.DOTALL)
_FUNCTION = re.compile(rf"<function=(?P<name>{_NAME})>(?P<body>.*?)(?P<close></function>|\Z|(?=<function=))", re.DOTALL)
_PARAMETER = re.compile(rf"<parameter=(?P<key>{_NAME})>(?P<value>.*?)(?:</parameter>|\Z|(?=<parameter=))", re.DOTALL)
_MARK = re.compile(rf"(?:\[TOOL_CALLS\]|<\|python_tag\|>)\s*(?:(?P<name>{_NAME})\s*(?:\[ARGS\])?\s*(?=\{{))?")
_HARMONY = re.compile(
    rf"(?:<\|channel\|>)?commentary to=(?:functions\.)?(?P<name>{_NAME})[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"(?P<body>.*?)(?P<close><\|call\|>|<\|end\|>|\Z)",
    re.DOTALL,
)
_BLOCK = re.compile(r"```(?:json|tool_call|tool_code)?[ \t]*\n(?P<body>.*?)(?P<close>```|\Z)", re.DOTALL)
_NAME_GUESS = re.compile(rf'"(?:name|tool|function)"\s*:\s*"(?P<name>{_NAME})')
_NAMES = ("name", "tool", "function", "tool_name")
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_DECODER = json.JSONDecoder()


Schemas = Mapping[str, JsonObject]
"""The tools that there are: the JSON Schema of each one's arguments by its name."""


def find_calls(text: str, tools: Schemas) -> tuple[Found, ...]:
    """Calls in the text of a reply, in order; without marks of a known form only those that name one of `tools`."""
    finders: tuple[Callable[[str, Schemas], Iterator[Found]], ...]
    finders = (_in_tags, _in_functions, _after_marks, _in_harmony)
    for finder in finders:
        found = tuple(finder(text, tools))
        if found:
            return found
    return tuple(found for found in _in_blocks(text) if found.name in tools)


def calls_in_reply(text: str, tools: Schemas) -> tuple[Found, ...]:
    """Calls in what an engine put aside as tool calls without taking it apart: texts of calls, one after the other."""
    if not text.strip():
        return ()
    if "<tool_call>" in text:
        return tuple(_in_tags(text, tools))
    return tuple(_in_functions(text, tools)) or tuple(_objects(text, 0, len(text), complete=True))


def _in_tags(text: str, tools: Schemas) -> Iterator[Found]:
    for tag in _TAGGED.finditer(text):
        complete, body = tag["close"] == "</tool_call>", tag["body"]
        inner = [*_in_functions(body, tools)] or [*_objects(body, 0, len(body), complete=complete)]
        for found in inner or [Found(0, 0, "", body.strip())]:
            yield found._replace(start=tag.start(), end=tag.end(), complete=complete and found.complete)


def _in_functions(text: str, tools: Schemas) -> Iterator[Found]:
    for function in _FUNCTION.finditer(text):
        body = function["body"].strip()
        arguments = body
        if not body.startswith("{"):
            known = tools.get(function["name"], {}).get("properties", {})
            values = {part["key"]: part["value"].strip("\n") for part in _PARAMETER.finditer(body)}
            typed = {key: _value(value, known.get(key, {})) for key, value in values.items()}
            arguments = json.dumps(typed, ensure_ascii=False)
        complete = function["close"] == "</function>"
        yield Found(function.start(), function.end(), function["name"], arguments, complete)


def _after_marks(text: str, _: Schemas) -> Iterator[Found]:
    at = 0
    while mark := _MARK.search(text, at):
        body, at = mark.end(), mark.end()
        if mark["name"]:
            value, end = _decoded(text, body)
            arguments = text[body:end] if value is not None else text[body:]
            at = end if value is not None else len(text)
            yield Found(mark.start(), at, mark["name"], arguments.strip(), complete=value is not None)
            continue
        for found in _objects(text, body, len(text), complete=True, stop_at_text=True):
            at = found.end
            yield found._replace(start=mark.start())


def _in_harmony(text: str, _: Schemas) -> Iterator[Found]:
    for call in _HARMONY.finditer(text):
        yield Found(call.start(), call.end(), call["name"], call["body"].strip(), call["close"] == "<|call|>")


def _in_blocks(text: str) -> Iterator[Found]:
    blocks = [*_BLOCK.finditer(text)]
    for block in blocks:
        for found in _objects(block["body"], 0, len(block["body"]), complete=bool(block["close"]), stop_at_text=True):
            yield found._replace(start=block.start(), end=block.end())
    if not blocks and text.lstrip().startswith(("{", "[")):
        yield from _objects(text, 0, len(text), complete=True, stop_at_text=True)


def _objects(text: str, start: int, end: int, *, complete: bool, stop_at_text: bool = False) -> Iterator[Found]:
    """Calls written as JSON objects, or lists of them, one after the other.

    What is no JSON is one call that cannot be read, with the name that it seems to have, or ends it (`stop_at_text`).
    """
    at = start
    while at < end:
        while at < end and text[at] in " \t\r\n,;":
            at += 1
        if at >= end:
            return
        value, after = _decoded(text, at)
        if value is None:
            if not stop_at_text or text[at] in "{[":
                guess = _NAME_GUESS.search(text, at, end)
                yield Found(at, end, guess["name"] if guess else "", text[at:end].strip(), complete=complete)
            return
        for item in _items(value):
            found = _call(item)
            if found is not None:
                yield Found(at, after, *found, complete=complete)
            elif not stop_at_text:
                yield Found(at, after, "", text[at:after], complete=complete)
        at = after


def _items(value: Any) -> list[Any]:
    return [*cast("list[object]", value)] if isinstance(value, list) else [value]


def _call(value: Any) -> tuple[str, str] | None:
    """Name and arguments of an object that is a call, also one inside `function`."""
    if not isinstance(value, dict):
        return None
    held = cast("dict[str, Any]", value)
    if isinstance(held.get("function"), dict):
        held = cast("dict[str, Any]", held["function"])
    name = next((held[key] for key in _NAMES if isinstance(held.get(key), str)), None)
    if name is None:
        return None
    key = next((key for key in _ARGUMENTS if key in held), None)
    arguments: Any = {} if key is None else held[key]
    return name, arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """The JSON object or list at a place and where it ends; `None` if there is none."""
    if text[at : at + 1] not in ("{", "["):
        return None, at
    try:
        value: Any
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at
    return value, end


def _value(text: str, schema: JsonObject) -> Any:
    """A parameter's value, which this form writes without quotes: a text where the schema asks for one, else JSON."""
    if schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
