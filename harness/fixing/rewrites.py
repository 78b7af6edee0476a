"""Rewrite a session as it would be if its agent kept the prompts: each rewrite stands for one change of a harness.

Session in, session out; nothing is sent. A conversation that only ever extended its prompts comes out as it went in.
What the model was shown changes with the prompts, so a rewritten session measures caches and times, not answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from backends.base import JsonObject
from harness.sessions import Session, Turn
from profiler.causes.levers import Rewrite

__all__ = ["rewrite", "with_parameters"]

_SYSTEM_ROLES: Final = ("system", "developer")
_REASONING_KEYS: Final = ("reasoning_content", "reasoning")
Messages = tuple[JsonObject, ...]


def rewrite(session: Session, how: Rewrite) -> Session:
    """The session after one of the rewrites, each within a conversation:

    - `freeze_system`: every system message has the content that stood in its place first;
    - `keep_tools`: every request has the tools of all requests, in the order and the form in which each came first;
    - `keep_reasoning`: replies in the history have their reasoning again;
    - `keep_arguments`: tool calls in the history have the arguments that the model wrote, letter by letter;
    - `append_only`: each request is the one before it, its reply as recorded, and what is new.
    """
    return _BY_NAME[how](session)


def with_parameters(session: Session, parameters: JsonObject) -> Session:
    """The session with these keys in every request body; `None` takes a key out."""

    def changed(turn: Turn) -> Turn:
        merged = {**turn.parameters, **parameters}
        return msgspec.structs.replace(turn, parameters={k: v for k, v in merged.items() if v is not None})

    return _with_turns(session, map(changed, session.turns))


def _freeze_system(session: Session) -> Session:
    first: dict[tuple[str, int], Any] = {}

    def frozen(turn: Turn) -> Turn:
        messages = list(turn.messages)
        places = [at for at, message in enumerate(messages) if message["role"] in _SYSTEM_ROLES]
        for ordinal, at in enumerate(places):
            content = first.setdefault((turn.conversation, ordinal), messages[at].get("content"))
            if messages[at].get("content") != content:
                messages[at] = {**messages[at], "content": content}
        return msgspec.structs.replace(turn, messages=tuple(messages))

    return _with_turns(session, map(frozen, session.turns))


def _keep_tools(session: Session) -> Session:
    every: defaultdict[str, dict[bytes, JsonObject]] = defaultdict(dict)
    for turn in session.turns:
        for tool in turn.tools:
            every[turn.conversation].setdefault(_tool_name(tool), tool)
    kept = {conversation: tuple(tools.values()) for conversation, tools in every.items()}
    turns = (msgspec.structs.replace(t, tools=kept.get(t.conversation, ())) for t in session.turns)
    return _with_turns(session, turns)


def _tool_name(tool: JsonObject) -> bytes:
    """What a tool is known by: its name, or for a tool of another shape all of it."""
    function: JsonObject = tool.get("function", tool)
    return msgspec.json.encode(function.get("name", tool), order="deterministic")


def _keep_reasoning(session: Session) -> Session:
    def with_reasoning(message: JsonObject, reply: JsonObject) -> JsonObject:
        missing = {key: reply[key] for key in _REASONING_KEYS if reply.get(key) and not message.get(key)}
        return {**message, **missing}

    return _with_replies(session, with_reasoning)


def _keep_arguments(session: Session) -> Session:
    def with_arguments(message: JsonObject, reply: JsonObject) -> JsonObject:
        if not message.get("tool_calls"):
            return message
        pairs = zip(message["tool_calls"], reply["tool_calls"], strict=True)
        calls = [
            {**call, "function": {**call["function"], "arguments": wrote["function"]["arguments"]}}
            for call, wrote in pairs
        ]
        return {**message, "tool_calls": calls}

    return _with_replies(session, with_arguments)


def _append_only(session: Session) -> Session:
    before: dict[str, tuple[Turn, Messages]] = {}

    def appended(turn: Turn) -> Turn:
        messages = turn.messages
        if turn.conversation in before:
            earlier, kept = before[turn.conversation]
            new = () if turn.messages == earlier.messages else _new(earlier, turn)
            # Nothing new is the same question again, and its reply was thrown away.
            messages = (*kept, earlier.reply, *new) if new else kept
        before[turn.conversation] = (turn, messages)
        return msgspec.structs.replace(turn, messages=messages)

    return _with_turns(session, map(appended, session.turns))


def _new(earlier: Turn, turn: Turn) -> Messages:
    """The messages that a request brings: those behind the reply to the one before it.

    Where the history no longer holds that reply, those at its end that are neither the model's nor were there before.
    """
    answered = [at for at, message in enumerate(turn.messages) if _is_reply(message, earlier.reply)]
    if answered:
        return turn.messages[answered[-1] + 1 :]
    replies = [at for at, message in enumerate(turn.messages) if message["role"] in ("assistant", *_SYSTEM_ROLES)]
    tail = turn.messages[max(replies, default=-1) + 1 :]
    return tuple(message for message in tail if message not in earlier.messages)


def _with_replies(session: Session, changed: Callable[[JsonObject, JsonObject], JsonObject]) -> Session:
    """The session with `changed(message, reply)` in place of every message of a history that is a recorded reply."""
    replies: defaultdict[str, list[JsonObject]] = defaultdict(list)

    def repaired(turn: Turn) -> Turn:
        known = replies[turn.conversation]
        messages: list[JsonObject] = []
        at = 0
        for message in turn.messages:
            found = next((n for n in range(at, len(known)) if _is_reply(message, known[n])), None)
            if found is not None:
                at = found + 1
            messages.append(message if found is None else changed(message, known[found]))
        known.append(turn.reply)
        return msgspec.structs.replace(turn, messages=tuple(messages))

    return _with_turns(session, map(repaired, session.turns))


def _is_reply(message: JsonObject, reply: JsonObject) -> bool:
    """Whether a message of the history is this reply: the same text and calls, however their arguments are written."""
    return message["role"] == "assistant" and _said(message) == _said(reply)


def _said(message: JsonObject) -> tuple[object, object]:
    calls: Sequence[JsonObject] = message.get("tool_calls") or ()
    called = [(c["function"]["name"], _meaning(c["function"]["arguments"])) for c in calls]
    return message.get("content") or "", called


def _meaning(arguments: object) -> object:
    """Arguments as a value; what is no JSON stands for itself."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return arguments


def _with_turns(session: Session, turns: Iterable[Turn]) -> Session:
    return msgspec.structs.replace(session, turns=tuple(turns))


_BY_NAME: Final[dict[Rewrite, Callable[[Session], Session]]] = {
    "freeze_system": _freeze_system,
    "keep_tools": _keep_tools,
    "keep_reasoning": _keep_reasoning,
    "keep_arguments": _keep_arguments,
    "append_only": _append_only,
}
