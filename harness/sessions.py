"""Agent sessions as files: every request an agent sent, complete and in order, with the reply it got.

JSON Lines. The first line is the header, each further line a turn:

    {"schema": 1, "name": "…", "title": "…", "provokes": "nothing", "side": "none", "seed": 7}
    {"conversation": "main", "request": {"messages": […], "tools": […], "max_tokens": 512, …}, "reply": {…}}

`request` is the chat-completions body with the whole history, so that a recorded trace of any agent fits.
Empty lines are skipped. Key order inside messages, tools and replies is kept, since it reaches the prompt.
This module reads, writes and salts; it invents nothing (`harness.session_maker.generator`) and sends nothing
(`harness.replay`).

Schema history: 1, the first one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from backends.base import JsonObject

__all__ = [
    "SCHEMA",
    "Session",
    "SessionError",
    "Side",
    "Turn",
    "bundled_sessions",
    "read_session",
    "salted",
    "write_session",
]

SCHEMA = 1
Side = Literal["none", "prompt", "engine"]
"""Where a cache loss lies: nowhere, in the text that changed, or in the engine that did not reuse it."""

_BUNDLED = Path(__file__).parent.parent / "profiles" / "sessions"
_SYSTEM_ROLES = ("system", "developer")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FORMAT = "the format is described in profiles/sessions/README.md"


class SessionError(Exception):
    """A session file that cannot be used: where, why and what to do next.

    `line` counts from 1; `None` means the whole file.
    """

    def __init__(self, path: Path, line: int | None, message: str, hint: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line is not None else f"{path}: {message}")
        self.path = path
        self.line = line
        self.message = message
        self.hint = hint


class Turn(msgspec.Struct, frozen=True):
    """One request with its whole history, and the assistant message that came back.

    `conversation` names the history that the request belongs to: a side call is a conversation of its own.
    `parameters` are the remaining keys of the request body (`temperature`, …).
    """

    conversation: str
    messages: tuple[JsonObject, ...]
    tools: tuple[JsonObject, ...]
    max_tokens: int
    parameters: JsonObject
    reply: JsonObject


class Session(msgspec.Struct, frozen=True):
    """A session: its turns in the order sent, and what it is known to do to a prompt cache.

    `provokes` names the cause of the loss (`nothing`: an intact cache reuses all), `side` where it lies.
    For a recording of unknown kind both are `None`; `seed` is `None` for what was not generated.
    """

    name: str
    title: str
    provokes: str | None
    side: Side | None
    seed: int | None
    turns: tuple[Turn, ...]


_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Header(msgspec.Struct):
    schema: int
    name: _Text
    title: str
    provokes: str | None
    side: Side | None
    seed: int | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _ToolCall(msgspec.Struct):
    function: _Function


class _Contents(msgspec.Struct, kw_only=True):
    content: str | list[JsonObject] | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Message(_Contents):
    role: Literal["system", "developer", "user", "assistant", "tool"]


class _Reply(_Contents):
    role: Literal["assistant"]


class _Request(msgspec.Struct):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    tools: list[JsonObject] = []


class _Line(msgspec.Struct):
    conversation: _Text
    request: _Request
    reply: _Reply


_Shape = TypeVar("_Shape")


def read_session(path: Path) -> Session:
    """Read a session file.

    Raises:
        SessionError: the file cannot be read, is not UTF-8, not JSON Lines, has another schema, lacks a key,
            holds a value of the wrong type or an unknown role, or has no turns.
    """
    lines = _objects(path)
    number, first = next(lines, (None, None))
    if first is None:
        raise SessionError(path, None, "the file is empty", f"add a header and turns; {_FORMAT}")
    if "schema" in first and first["schema"] != SCHEMA:
        hint = f"this version reads schema {SCHEMA}; a newer one may have written the file"
        raise SessionError(path, number, f"schema {first['schema']!r} is not known", hint)
    header = _checked(path, number, first, _Header, f"the first line is the header; {_FORMAT}")
    turns = tuple(_turn(path, number, value) for number, value in lines)
    if not turns:
        raise SessionError(path, number, "the session has no turns", "add one line for each request")
    return Session(header.name, header.title, header.provokes, header.side, header.seed, turns)


def write_session(session: Session, path: Path) -> None:
    """Write a session file, replacing what is there. Equal sessions give equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    header = {
        "schema": SCHEMA,
        "name": session.name,
        "title": session.title,
        "provokes": session.provokes,
        "side": session.side,
        "seed": session.seed,
    }
    lines = [header, *(_line(turn) for turn in session.turns)]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def bundled_sessions() -> tuple[Session, ...]:
    """The known-answer sessions shipped in `profiles/sessions`, by name.

    Raises:
        SessionError: there are none, or one cannot be read.
    """
    paths = sorted(_BUNDLED.glob("*.jsonl"))
    if not paths:
        hint = "install dyno again; its data files are missing"
        raise SessionError(_BUNDLED, None, "no bundled sessions here", hint)
    return tuple(read_session(path) for path in paths)


def salted(session: Session, nonce: str, every_request: bool = False) -> Session:
    """The same session with a line of its own at the very start of each system prompt: no cache knows it.

    With one nonce throughout, the session starts cold and stays warm within. With `every_request`, each
    request gets a number before the nonce and is cold by itself. A conversation that does not open with a
    system message is given one. What a template puts before it (markers, sometimes the tools) stays shared.
    """
    turns = tuple(
        _salted(turn, f"{number} {nonce}" if every_request else nonce) for number, turn in enumerate(session.turns, 1)
    )
    return msgspec.structs.replace(session, turns=turns)


def _salted(turn: Turn, salt: str) -> Turn:
    first, rest = turn.messages[0], turn.messages[1:]
    if first["role"] not in _SYSTEM_ROLES:
        return msgspec.structs.replace(turn, messages=({"role": "system", "content": salt}, *turn.messages))
    content: Any = first.get("content")
    if isinstance(content, list):
        content = [{"type": "text", "text": f"{salt}\n"}, *content]
    else:
        content = f"{salt}\n{content or ''}"
    return msgspec.structs.replace(turn, messages=({**first, "content": content}, *rest))


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file with their line numbers."""
    try:
        lines = path.read_bytes().removeprefix(_BYTE_ORDER_MARK).split(b"\n")
    except OSError as error:
        hint = "check the path, and that it is a readable file"
        raise SessionError(path, None, f"cannot be read: {error.strerror}", hint) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = msgspec.json.decode(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            message = f"not UTF-8 at byte {error.start + 1} of the line"
            raise SessionError(path, number, message, "unpack or convert the file") from error
        except (msgspec.DecodeError, RecursionError) as error:
            hint = "each line is one complete JSON object; a recording cut short ends in half a line"
            raise SessionError(path, number, f"invalid JSON: {error}", hint) from error
        yield number, _checked(path, number, value, dict[str, Any], "each line is one JSON object")


def _turn(path: Path, number: int, value: dict[str, Any]) -> Turn:
    _checked(path, number, value, _Line, f"a turn has conversation, request and reply; {_FORMAT}")
    body = value["request"]
    known = {"messages", "tools", "max_tokens"}
    return Turn(
        conversation=value["conversation"],
        messages=tuple(body["messages"]),
        tools=tuple(body.get("tools", ())),
        max_tokens=body["max_tokens"],
        parameters={key: body[key] for key in body if key not in known},
        reply=value["reply"],
    )


def _line(turn: Turn) -> JsonObject:
    tools = {"tools": turn.tools} if turn.tools else {}
    request = {"messages": turn.messages, **tools, "max_tokens": turn.max_tokens, **turn.parameters}
    return {"conversation": turn.conversation, "request": request, "reply": turn.reply}


def _checked(path: Path, number: int | None, value: object, shape: type[_Shape], hint: str) -> _Shape:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise SessionError(path, number, str(error).replace("`", ""), hint) from error
