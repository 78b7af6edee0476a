"""The histories that a chat template is tried with: one construct of agent work each. Nothing is rendered here."""

from __future__ import annotations

import json

import msgspec

from backends.base import JsonObject

__all__ = ["CLOCK", "CONSTRUCTS", "TOOLS", "TOOLS_MARK", "Construct"]

CLOCK = "clock"
TOOLS_MARK = "Read a file of the project"
_IF_WRITTEN = "only of a model that writes arguments so"
_PIXEL = "data:image/png;base64," + (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Construct(msgspec.Struct, frozen=True):
    """One thing that agents do. `turns` are replies, each with the messages that the client then adds.

    `forms`: the arguments of its calls are looked for as they were said. `needs` says of what model alone a loss here
    is one; `reasons`: its replies hold reasoning.
    """

    name: str
    title: str
    opening: tuple[JsonObject, ...]
    turns: tuple[tuple[JsonObject, tuple[JsonObject, ...]], ...] = ()
    forms: bool = False
    needs: str | None = None
    reasons: bool = False


def _tool(name: str, about: str, **kinds: str) -> JsonObject:
    properties = {key: {"type": kind, "description": f"The {key}."} for key, kind in kinds.items()}
    parameters: JsonObject = {"type": "object", "properties": properties, "required": list(kinds)[:1]}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


TOOLS: tuple[JsonObject, ...] = (
    _tool("read_file", TOOLS_MARK, path="string", first_line="integer", share="number"),
    _tool("search_text", "Search the project for a text", pattern="string", folder="string"),
)

_SYSTEM: JsonObject = {"role": "system", "content": "You repair faults in a small project. Read before you change."}
_FIRST: JsonObject = {"role": "user", "content": "Order one: the tests of the parser fail, find out why."}
_NEXT: JsonObject = {"role": "user", "content": "Order two: now look at the writer too."}
_LAST: JsonObject = {"role": "user", "content": "Order three: say in one line what is left."}
_ANSWER = "Answer one: the parser reads one line too few."
_SECOND_ANSWER = "Answer two: the writer is in order."


def _said(content: str | None, *calls: JsonObject, thought: str | None = None, empty: bool = False) -> JsonObject:
    reply: JsonObject = {"role": "assistant", "content": "" if empty else content}
    if thought is not None:
        reply["reasoning_content"] = thought
    if calls:
        reply["tool_calls"] = list(calls)
    return reply


def _call(number: int, arguments: str | JsonObject, name: str = "read_file") -> JsonObject:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    # Nine characters and digits: templates that check the form of an id accept it.
    return {"id": f"call0000{number}", "type": "function", "function": {"name": name, "arguments": text}}


def _result(number: int, text: str) -> JsonObject:
    return {"role": "tool", "tool_call_id": f"call0000{number}", "name": "read_file", "content": text}


def _reading(number: int, *, thought: str | None = None, content: str | None = None) -> JsonObject:
    return _said(content, _call(number, {"path": f"src/part_{number}.py"}), thought=thought, empty=content is None)


def _form(name: str, title: str, arguments: str) -> Construct:
    turns = ((_said("", _call(1, arguments)), (_result(1, "Result one: 12 lines."),)),)
    return Construct(name, title, (_SYSTEM, _FIRST), turns, forms=True, needs=_IF_WRITTEN)


_THOUGHTS = tuple(f"Thought {n}: the fault must be in part {n}, so that file comes first." for n in range(1, 5))
_PARALLEL = _said("", _call(1, {"path": "src/part_1.py"}), _call(2, {"path": "src/part_2.py"}))
_LINES = "\n\n  Result one: def first():\n\n\n        return 1\n\t# done\n\n"

CONSTRUCTS: tuple[Construct, ...] = (
    Construct(
        "text",
        "text alone",
        (_SYSTEM, _FIRST),
        ((_said(_ANSWER), (_NEXT,)), (_said(_SECOND_ANSWER), (_LAST,))),
    ),
    Construct(
        "tool-call",
        "a tool call, its result, then a new order",
        (_SYSTEM, _FIRST),
        (
            (_reading(1), (_result(1, "Result one: 12 lines."),)),
            (_said(_ANSWER), (_NEXT,)),
            (_said(_SECOND_ANSWER), (_LAST,)),
        ),
    ),
    Construct(
        "tool-loop",
        "tool calls one after the other",
        (_SYSTEM, _FIRST),
        (
            *((_reading(n), (_result(n, f"Result {n}: {n} lines."),)) for n in (1, 2, 3)),
            (_said(_ANSWER), (_NEXT,)),
        ),
    ),
    Construct(
        "parallel-calls",
        "two tool calls in one reply",
        (_SYSTEM, _FIRST),
        (
            (_PARALLEL, (_result(1, "Result one: 12 lines."), _result(2, "Result two: 7 lines."))),
            (_said(_ANSWER), (_NEXT,)),
        ),
    ),
    Construct(
        "text-with-call",
        "text before a tool call",
        (_SYSTEM, _FIRST),
        (
            (_reading(1, content="I read the first part."), (_result(1, "Result one: 12 lines."),)),
            (_said(_ANSWER), (_NEXT,)),
        ),
    ),
    Construct(
        "null-content",
        "a tool call with no content at all",
        (_SYSTEM, _FIRST),
        ((_said(None, _call(1, {"path": "src/part_1.py"})), (_result(1, "Result one: 12 lines."),)),),
    ),
    Construct(
        "tool-result",
        "a tool result of many lines, indented, with blank ones around",
        (_SYSTEM, _FIRST),
        ((_reading(1), (_result(1, _LINES),)), (_reading(2), (_result(2, "Result two: 7 lines."),))),
    ),
    Construct(
        "reasoning-in-loop",
        "reasoning before each tool call, while the loop runs",
        (_SYSTEM, _FIRST),
        tuple((_reading(n, thought=_THOUGHTS[n]), (_result(n, f"Result {n}: {n} lines."),)) for n in (1, 2)),
        reasons=True,
    ),
    Construct(
        "reasoning-answer",
        "reasoning before an answer, then a new order",
        (_SYSTEM, _FIRST),
        ((_said(_ANSWER, thought=_THOUGHTS[0]), (_NEXT,)), (_said(_SECOND_ANSWER, thought=_THOUGHTS[3]), (_LAST,))),
        reasons=True,
    ),
    Construct(
        "reasoning-new-order",
        "a new order after a tool loop with reasoning",
        (_SYSTEM, _FIRST),
        (
            (_reading(1, thought=_THOUGHTS[0]), (_result(1, "Result one: 12 lines."),)),
            (_reading(2, thought=_THOUGHTS[1]), (_result(2, "Result two: 7 lines."),)),
            (_said(_ANSWER, thought=_THOUGHTS[2]), (_NEXT,)),
        ),
        reasons=True,
    ),
    _form("arguments-spaced", 'arguments with spaces: {"a": 1}', '{"path": "src/part_1.py", "first_line": 3}'),
    _form("arguments-compact", 'arguments without spaces: {"a":1}', '{"path":"src/part_1.py","first_line":3}'),
    _form("arguments-order", "arguments in another order than declared", '{"first_line": 3, "path": "src/part_1.py"}'),
    _form("arguments-unicode", "arguments with other letters than ASCII", '{"path": "src/größe_né_文.py"}'),
    _form("arguments-escaped", "arguments with escaped letters", '{"path": "src/gr\\u00f6\\u00dfe.py"}'),
    _form(
        "arguments-numbers", "arguments with long or round fractions", '{"path": "a.py", "share": 0.123456789012345}'
    ),
    _form("arguments-round", "arguments with whole numbers written as fractions", '{"path": "a.py", "share": 2.0}'),
    Construct(
        "answer-space",
        "an answer that ends in a new line",
        (_SYSTEM, _FIRST),
        ((_said(_ANSWER + "\n"), (_NEXT,)),),
        needs="only of a model that ends its answers so",
    ),
    Construct(
        "image",
        "an image in a message",
        (
            _SYSTEM,
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Order one: what does this picture show?"},
                    {"type": "image_url", "image_url": {"url": _PIXEL}},
                ],
            },
        ),
        ((_said(_ANSWER), (_NEXT,)),),
    ),
    Construct(CLOCK, "today's date in the prompt", (_SYSTEM, _FIRST)),
)
"""In the order of the report; plain text first."""
