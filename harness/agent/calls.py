"""From a reply to calls that can be run, or to the fault of each that cannot. Pure; never raises on any text.

A call comes apart from the engine (`native`), or was written into the text of the reply (`text`), where the lever
`calls.rescue` decides whether it counts as a call or as a fault. Arguments are checked against the tool's JSON Schema;
a parameter that the schema does not name is a violation too.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import msgspec

from backends.base import JsonObject
from harness.agent.schema import violation_of
from harness.agent.text_calls import Found, Schemas, calls_in_reply, find_calls
from profiler.dispatch_records import CallFault
from profiler.records import Reply, ToolCall

__all__ = ["ParsedCall", "Reading", "Said", "read_calls", "said_by"]

_SHOWN_CHARACTERS = 200


class Said(NamedTuple):
    """What a model said: its text, what it thought, the calls that the engine took out, why it stopped."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    stop_reason: str | None = None


class ParsedCall(msgspec.Struct, frozen=True):
    """A call. `written` is the text of its arguments as the model wrote it, `arguments` what that says; `None` if it is
    no JSON object.

    With a `fault` it cannot be run; `problem` says for the model what is wrong and what to do.
    """

    id: str
    name: str
    written: str
    arguments: JsonObject | None = None
    origin: Literal["native", "text"] = "native"
    fault: CallFault | None = None
    problem: str = ""


class Reading(NamedTuple):
    """The calls of a reply, and its text without those that were taken out of it."""

    content: str
    calls: tuple[ParsedCall, ...]


def said_by(reply: Reply, tools: Sequence[JsonObject]) -> Said:
    """What a recorded reply says; calls that the engine left as text between tags are taken apart here."""
    found = calls_in_reply(reply.text.get("tool_call", ""), _schemas(tools))
    calls = reply.calls or tuple(ToolCall("", _clean(call.name), _clean(call.arguments)) for call in found)
    reasoning = reply.text.get("reasoning", "").strip().removeprefix("<think>").removesuffix("</think>")
    return Said(reply.text.get("content", ""), reasoning.strip("\n"), calls, reply.stop_reason)


def read_calls(said: Said, tools: Sequence[JsonObject], *, rescue: bool) -> Reading:
    """The calls of a reply: the engine's, or, if there are none, those that stand in its text.

    Args:
        said: the reply.
        tools: the tools as the request described them.
        rescue: calls in the text are taken; else each has the fault `text_encoded_call`.
    """
    schemas = _schemas(tools)
    cut = said.stop_reason == "length"
    if said.calls:
        last = len(said.calls) - 1
        parsed = [_checked(call, schemas, cut=cut and number == last) for number, call in enumerate(said.calls)]
        return Reading(said.content, tuple(parsed))
    found = find_calls(said.content, schemas) if schemas else ()
    if not found:
        return Reading(said.content, ())
    calls = tuple(_from_text(call, schemas, cut=cut, rescue=rescue) for call in found)
    return Reading(_without(said.content, found) if rescue else said.content, calls)


def _schemas(tools: Sequence[JsonObject]) -> Schemas:
    return {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in tools}


def _from_text(found: Found, schemas: Schemas, *, cut: bool, rescue: bool) -> ParsedCall:
    parsed = _checked(
        ToolCall("", _clean(found.name), _clean(found.arguments)), schemas, cut=cut and not found.complete
    )
    parsed = msgspec.structs.replace(parsed, origin="text")
    if rescue or parsed.fault == "truncated_call":
        return parsed
    problem = "You wrote a tool call as text, so nothing was run. Make the call in the form that the tools ask for."
    return msgspec.structs.replace(parsed, fault="text_encoded_call", problem=problem)


def _without(content: str, found: Sequence[Found]) -> str:
    kept: list[str] = []
    at = 0
    for call in found:
        kept.append(content[at : max(at, call.start)])
        at = max(at, call.end)
    return "".join([*kept, content[at:]]).strip()


def _checked(call: ToolCall, schemas: Schemas, *, cut: bool) -> ParsedCall:
    arguments = _object(call.arguments)

    def faulty(fault: CallFault, problem: str) -> ParsedCall:
        return ParsedCall(call.id, call.name, call.arguments, arguments, fault=fault, problem=problem)

    if arguments is None and cut:
        return faulty(
            "truncated_call", "Your reply was cut off inside this call: it was too long. Make a shorter call."
        )
    if call.name not in schemas:
        return faulty("unknown_tool", _unknown(call.name, schemas))
    if arguments is None:
        shown = call.arguments[:_SHOWN_CHARACTERS]
        return faulty("unparsable_args", f"The arguments of {call.name} are no JSON object: {shown}")
    violation = violation_of(arguments, schemas[call.name])
    if violation:
        return faulty("schema_violation", f"Wrong arguments for {call.name}: {violation}")
    return ParsedCall(call.id, call.name, call.arguments, arguments)


def _clean(text: str) -> str:
    """A text without halves of characters, which JSON can name and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _unknown(name: str, schemas: Schemas) -> str:
    near = difflib.get_close_matches(name, schemas, 1)
    hint = f"Did you mean {near[0]}?" if near else f"Tools: {', '.join(schemas)}."
    return f"There is no tool {name[:_SHOWN_CHARACTERS]!r}. {hint}" if name else f"The call names no tool. {hint}"


def _object(text: str) -> JsonObject | None:
    """A text as a JSON object; nothing at all is an empty one, as models without arguments write it."""
    if not text.strip():
        return {}
    try:
        value: Any = msgspec.json.decode(text.encode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return cast("JsonObject", value) if isinstance(value, dict) else None
