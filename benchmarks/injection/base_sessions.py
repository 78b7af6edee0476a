"""Clean sessions of a coding agent, short enough that a case takes about a second, and edits of their turns. Pure.

The agent, its words and its tools are those of `harness.session_maker.agent`; here only lengths are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

import msgspec

from backends.base import JsonObject
from benchmarks.injection.case import Size
from harness.session_maker import text
from harness.session_maker.agent import Agent, Conversation
from harness.session_maker.workspace import Workspace
from harness.sessions import Turn

__all__ = [
    "Talk",
    "edited",
    "in_system",
    "places",
    "side_turn",
    "talk",
    "with_messages",
    "with_parameters",
]

_SYSTEM_CHARS = {"usual": 900, "small": 400}
_TOOLS = {"usual": ("read", "grep", "test"), "small": ("list", "grep")}
_RESULT_CHARS = {"usual": 260, "small": 120}
_MAX_TOKENS = {"usual": 160, "small": 8}
"""For engines whose replies cannot be forced."""

Talk = list[Turn]
"""The turns of one conversation, in order."""


def talk(
    rng: Random,
    size: Size,
    lengths: Sequence[int] = (3, 2),
    *,
    name: str = "main",
    thinks: bool = False,
    system: str | None = None,
) -> Talk:
    """A conversation that only grows: one task for each length in turns, the last turn of each is an answer."""
    workspace = Workspace(rng)
    said = system if system is not None else _cut(workspace.system_prompt(), _SYSTEM_CHARS[size])
    own = Conversation(name, said, tuple(t for t in text.TOOLS if t["function"]["name"] in _TOOLS[size]))
    turns = Agent(rng, workspace, own, thinks=thinks).work(list(lengths), lambda: _RESULT_CHARS[size])
    return [msgspec.structs.replace(turn, max_tokens=_MAX_TOKENS[size]) for turn in turns]


def side_turn(rng: Random, size: Size, of: Turn, number: int = 1) -> Turn:
    """A request for a title of the conversation that `of` belongs to; a conversation of its own."""
    own = Conversation(f"title-{number}", text.TITLE_SYSTEM, tools=())
    own.add("user", text.TITLE_LATER.format(text=of.messages[1]["content"], latest=of.reply["content"]))
    turn = own.turn({"role": "assistant", "content": rng.choice(text.TITLES).format(**Workspace(rng).words())})
    return msgspec.structs.replace(turn, max_tokens=_MAX_TOKENS[size])


def _cut(system: str, chars: int) -> str:
    """The beginning of a system prompt, up to a whole line."""
    return system if len(system) <= chars else system[:chars].rpartition("\n")[0]


def edited(turns: Iterable[Turn], edit: Callable[[int, Turn], Turn]) -> Talk:
    """Every turn, edited by its number."""
    return [edit(number, turn) for number, turn in enumerate(turns)]


def with_messages(turn: Turn, messages: Iterable[JsonObject]) -> Turn:
    """The turn with other messages."""
    return msgspec.structs.replace(turn, messages=tuple(messages))


def with_parameters(turn: Turn, **more: object) -> Turn:
    """The turn with further keys in its request body."""
    return msgspec.structs.replace(turn, parameters={**turn.parameters, **more})


def places(system: str) -> dict[str, int]:
    """Where a line can be put into a system prompt: before everything, after the first line, in the middle, behind."""
    middle = system.find("\n", len(system) // 2)
    first = system.find("\n")
    return {
        "start": 0,
        "second": first + 1 if first >= 0 else 0,
        "middle": middle + 1 if middle >= 0 else len(system),
        "end": len(system),
    }


def in_system(turn: Turn, line: str, place: str) -> Turn:
    """The turn with a line of its own in its system prompt."""
    system: str = turn.messages[0]["content"]
    at = places(system)[place]
    before, after = system[:at], system[at:]
    put = f"{before}{line}\n{after}" if after else f"{before}\n{line}"
    return with_messages(turn, [{**turn.messages[0], "content": put}, *turn.messages[1:]])
