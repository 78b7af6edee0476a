"""Generate agent sessions whose effect on a prompt cache is known: one kind for each cause of a lost cache.

All kinds tell the same story, a coding agent that repairs faults in a made-up project, and differ in what the
client does to its prompts. Equal arguments give equal sessions on every Python and machine. The files in
`profiles/sessions` are made here (`write_bundled`). Nothing is sent and nothing is judged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random

import msgspec

from backends.base import JsonObject
from harness.session_maker import text
from harness.session_maker.agent import Agent, Conversation, task_lengths
from harness.session_maker.workspace import Words, Workspace
from harness.sessions import Session, Side, Turn, write_session

__all__ = ["KINDS", "fewest_turns", "generate", "write_bundled"]

_RESULT_CHARS = 700
_LONG_RESULT_CHARS = 620
_BEFORE_SUB_AGENT = 2.7
"""Main's prompt over the shared prefix when a sub-agent starts. Above 2, the sub-agent can use less than half
of main's slot, so that llama-server saves a copy before it hands the slot over; the rest is margin."""
_SUB_AGENT_RESULT = 0.14
"""A sub-agent's tool result over the shared prefix. After two of them the prefix is far more than half of its
sequence, so that main, on its return, is put on that slot and llama-server leaves the copy unused."""
_SUB_AGENT_TURNS = 3
_TITLES = 3
_KEPT_MESSAGES = 2
_CLOCK_START = datetime(2026, 5, 4, 9, 12, 31)
_RESEARCH = ("list", "grep")


def _main(rng: Random, **prompt: str) -> tuple[Workspace, Conversation]:
    workspace = Workspace(rng)
    return workspace, Conversation("main", workspace.system_prompt(**prompt))


def _append_only(rng: Random, turns: int, chars: int) -> list[Turn]:
    agent = Agent(rng, *_main(rng))
    return list(agent.work(task_lengths(rng, turns, 5, 8), lambda: chars))


def _reasoning_kept(rng: Random, turns: int, chars: int) -> list[Turn]:
    agent = Agent(rng, *_main(rng), thinks=True)
    return list(agent.work(task_lengths(rng, turns, 3, 5), lambda: chars))


def _reasoning_dropped(rng: Random, turns: int, chars: int) -> list[Turn]:
    return [
        _with_messages(turn, [{k: m[k] for k in m if k != "reasoning_content"} for m in turn.messages])
        for turn in _reasoning_kept(rng, turns, chars)
    ]


def _clock_in_system_prompt(rng: Random, turns: int, chars: int) -> list[Turn]:
    now = _CLOCK_START
    line = text.CLOCK.format(time=now)
    workspace, talk = _main(rng, second_line=line)
    result: list[Turn] = []
    for turn in Agent(rng, workspace, talk).work(task_lengths(rng, turns, 5, 8), lambda: chars):
        system = talk.system.replace(line, text.CLOCK.format(time=now), 1)
        result.append(_with_messages(turn, [{"role": "system", "content": system}, *turn.messages[1:]]))
        now += timedelta(seconds=4 + rng.randrange(90))
    return result


def _tools_reordered(rng: Random, turns: int, chars: int) -> list[Turn]:
    result: list[Turn] = []
    order = list(text.TOOLS)
    for turn in _append_only(rng, turns, chars):
        first = order[0]
        while order[0] is first:
            rng.shuffle(order)
        result.append(msgspec.structs.replace(turn, tools=tuple(order)))
    return result


def _compaction(rng: Random, turns: int, chars: int) -> list[Turn]:
    whole = _append_only(rng, turns, chars)
    at = turns // 2
    cut = len(whole[at].messages) - _KEPT_MESSAGES
    done = "\n".join(f"- {_note(m)}" for m in whole[at].messages[1:cut] if m["role"] != "tool")
    summary: JsonObject = {"role": "user", "content": text.SUMMARY.format(done=done)}
    return whole[:at] + [_with_messages(t, [t.messages[0], summary, *t.messages[cut:]]) for t in whole[at:]]


def _note(message: JsonObject) -> str:
    """A message in one line of a summary: an order, a tool call, or an answer."""
    for call in message.get("tool_calls", ()):
        function = call["function"]
        return f"{function['name']} {next(iter(json.loads(function['arguments']).values()))}"
    return f"{message['role']}: {message['content'].partition('. ')[0]}"


def _title_call(rng: Random, turns: int, chars: int) -> list[Turn]:
    workspace, talk = _main(rng)
    own_turns = turns - _TITLES
    # After the first turn and twice again, and never after the last: main has to come back.
    after = [part * (own_turns - 1) // _TITLES for part in range(_TITLES)]
    result: list[Turn] = []
    main = Agent(rng, workspace, talk).work(task_lengths(rng, own_turns, 5, 8), lambda: chars)
    for number, turn in enumerate(main):
        result.append(turn)
        if number in after:
            result.append(_title(rng, workspace.words(), after.index(number) + 1, turn))
    return result


def _title(rng: Random, words: Words, number: int, turn: Turn) -> Turn:
    talk = Conversation(f"title-{number}", text.TITLE_SYSTEM, tools=())
    form = text.TITLE_FIRST if number == 1 else text.TITLE_LATER
    talk.add("user", form.format(text=turn.messages[1]["content"], latest=turn.reply["content"]))
    return talk.turn({"role": "assistant", "content": rng.choice(text.TITLES).format(**words)})


def _sub_agent(rng: Random, turns: int, chars: int) -> list[Turn]:
    workspace, talk = _main(rng)
    own_turns = turns - 2 * _SUB_AGENT_TURNS
    before = own_turns * 5 // 8
    between = (own_turns - before) // 2
    result: list[Turn] = []

    def result_chars() -> int:
        left = before - len(result)
        if left <= 0:
            return chars
        # A quarter more than needed: results vary in length, and an edit is answered by a few lines.
        missing = _BEFORE_SUB_AGENT * talk.shared_chars - talk.prompt_chars
        return max(chars, int(1.25 * missing / left))

    def helper(number: int) -> Iterator[Turn]:
        own = Conversation(f"sub-{number}", talk.system)
        size_chars = min(chars, int(_SUB_AGENT_RESULT * talk.shared_chars))
        order = text.SUB_TASKS[number - 1]
        return Agent(rng, workspace, own).solve(order, _RESEARCH, text.REPORTS, lambda: size_chars)

    main = Agent(rng, workspace, talk).work([own_turns], result_chars)
    # `result` grows turn by turn, as `result_chars` looks at it.
    for phase in (islice(main, before), helper(1), islice(main, between), helper(2), main):
        for turn in phase:
            result.append(turn)
    return result


def _interleaved(rng: Random, turns: int, chars: int) -> list[Turn]:
    streams: list[Iterator[Turn]] = []
    for name, persona, own_turns in zip("ab", text.PERSONAS, (turns - turns // 2, turns // 2), strict=True):
        workspace = Workspace(rng)
        talk = Conversation(name, workspace.system_prompt(persona=persona))
        streams.append(Agent(rng, workspace, talk).work(task_lengths(rng, own_turns, 4, 7), lambda: chars))
    return [next(streams[number % 2]) for number in range(turns)]


def _with_messages(turn: Turn, messages: list[JsonObject]) -> Turn:
    return msgspec.structs.replace(turn, messages=tuple(messages))


class _Kind(msgspec.Struct, frozen=True):
    """How a kind is made and described, and the turns and the seed of its bundled file."""

    build: Callable[[Random, int, int], list[Turn]]
    turns: int
    seed: int
    provokes: str
    side: Side
    title: str
    fewest_turns: int = 2
    result_chars: int = _RESULT_CHARS


_KINDS = {
    "append-only": _Kind(_append_only, 16, 7, "nothing", "none", "Every request extends the one before it."),
    "append-only-long": _Kind(
        _append_only,
        40,
        8,
        "nothing",
        "none",
        "Every request extends the one before it, up to a long prompt.",
        result_chars=_LONG_RESULT_CHARS,
    ),
    "reasoning-kept": _Kind(_reasoning_kept, 14, 9, "nothing", "none", "The client sends the model's reasoning back."),
    "reasoning-dropped": _Kind(
        _reasoning_dropped,
        14,
        10,
        "reasoning_stripped",
        "prompt",
        "The client drops the model's reasoning from the history.",
    ),
    "clock-in-system-prompt": _Kind(
        _clock_in_system_prompt,
        12,
        11,
        "clock_in_system_prompt",
        "prompt",
        "The system prompt opens with the time of day, which moves every turn.",
    ),
    "tools-reordered": _Kind(
        _tools_reordered, 12, 12, "tools_reordered", "prompt", "The tools come in another order every turn."
    ),
    "compaction": _Kind(
        _compaction,
        16,
        13,
        "compaction",
        "prompt",
        "Half-way the client replaces the history by a summary.",
        fewest_turns=8,
    ),
    "title-call": _Kind(
        _title_call,
        12,
        14,
        "title_call",
        "engine",
        "Requests for a title come between the agent's turns.",
        fewest_turns=8,
    ),
    "sub-agent": _Kind(
        _sub_agent,
        14,
        15,
        "sub_agent",
        "engine",
        "Sub-agents with the same system prompt and tools come between the agent's turns.",
        fewest_turns=12,
    ),
    "interleaved": _Kind(
        _interleaved,
        16,
        16,
        "interleaved",
        "engine",
        "Two agents with different system prompts take turns.",
        fewest_turns=4,
    ),
}
KINDS: tuple[str, ...] = tuple(_KINDS)
"""The kinds of session, the baseline first."""


def fewest_turns(kind: str) -> int:
    """The fewest turns in which a kind can show what it is about."""
    return _KINDS[kind].fewest_turns


def generate(kind: str, *, seed: int, turns: int, scale: float = 1.0) -> Session:
    """A session of one of the `KINDS`; `scale` multiplies the length of tool results.

    Raises:
        ValueError: no such kind, fewer turns than it needs (`fewest_turns`), or a scale that is not positive.
    """
    if kind not in _KINDS:
        raise ValueError(f"unknown kind {kind!r}; kinds: {', '.join(KINDS)}")
    made = _KINDS[kind]
    if turns < made.fewest_turns:
        raise ValueError(f"{kind} needs at least {made.fewest_turns} turns, not {turns}")
    if not scale > 0:
        raise ValueError(f"scale must be positive, not {scale}")
    built = made.build(Random(seed), turns, round(made.result_chars * scale))
    return Session(kind, made.title, made.provokes, made.side, seed, tuple(built))


def write_bundled(folder: Path) -> None:
    """Write the bundled session of every kind to `folder`, as `<kind>.jsonl`.

    Raises:
        OSError: a file cannot be written.
    """
    for kind, made in _KINDS.items():
        write_session(generate(kind, seed=made.seed, turns=made.turns), folder / f"{kind}.jsonl")
