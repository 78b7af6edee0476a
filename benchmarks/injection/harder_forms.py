"""Causes in forms that are easily taken for another one: no tell-tale word, another place, two kinds of text at once.

Pure. Each of them was seen in the histories of real agents.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Final

import msgspec

from backends.base import JsonObject
from benchmarks.injection.base_sessions import Talk, edited, in_system, side_turn, talk, with_messages
from benchmarks.injection.case import AFTERMATH, Form, Made, Size, one_of, where
from benchmarks.injection.clean_forms import trimmed_replies
from benchmarks.injection.engine_forms import ONE_SLOT
from benchmarks.injection.head_forms import injected
from harness.sessions import Turn

__all__ = ["HARDER_FORMS"]

_CLOCK: Final = datetime(2026, 5, 4, 9, 12, 31)


def _first_user(turn: Turn, text: str, *, behind: bool = False) -> Turn:
    """The turn with something put into the first message of the user."""
    system, first, *rest = turn.messages
    said = f"{first['content']}\n\n{text}" if behind else f"{text}\n\n{first['content']}"
    return with_messages(turn, [system, {**first, "content": said}, *rest])


def _session_id(rng: Random, size: Size) -> Made:
    """An id of the request in the system prompt."""
    clean = talk(rng, size)
    ids = [f"{rng.randrange(16**8):08x}-{rng.randrange(16**4):04x}" for _ in clean]
    put = rng.choice(("Request id: {}", "trace={}", "Session {} of the gateway."))
    place = rng.choice(("start", "middle", "end"))
    turns = edited(clean, lambda n, t: in_system(t, put.format(ids[n]), place))
    still = edited(clean, lambda _, t: in_system(t, put.format(ids[0]), place))
    return injected(still, turns, range(1, len(clean)), one_of("P1"))


def _clock_inside(rng: Random, size: Size) -> Made:
    """A time in the middle of a line, with words on both sides, beside a value that does not move."""
    clean = talk(rng, size)
    start = _CLOCK + timedelta(minutes=rng.randrange(600))
    put = "You run on host box-{host} (Linux); local time is {time:%H:%M}, and the shift ends at 18:00 on every day."
    host = rng.randrange(10, 99)
    said = [put.format(host=host, time=start + timedelta(minutes=3 * n)) for n in range(len(clean))]
    turns = edited(clean, lambda n, t: in_system(t, said[n], "middle"))
    still = edited(clean, lambda _, t: in_system(t, said[0], "middle"))
    return injected(still, turns, range(1, len(clean)), one_of("P1"))


def _user_clock(rng: Random, size: Size) -> Made:
    """A time stamp in front of the first message of the user, written anew with every request."""
    clean = talk(rng, size)
    put = rng.choice(("[Mon {:%Y-%m-%d %H:%M:%S} UTC]", "<timestamp>{:%Y-%m-%dT%H:%M:%S}</timestamp>"))
    said = [put.format(_CLOCK + timedelta(seconds=41 * n)) for n in range(len(clean))]
    turns = edited(clean, lambda n, t: _first_user(t, said[n]))
    still = edited(clean, lambda _, t: _first_user(t, said[0]))
    return injected(still, turns, range(1, len(clean)), one_of("P1", "P5"))


def _user_git(rng: Random, size: Size) -> Made:
    """Git status in the first message of the user."""
    clean = talk(rng, size)
    at = rng.randrange(1, len(clean))
    old, new = rng.choice(
        (
            ("On branch main\nnothing to commit, working tree clean", "On branch main\n M shop/cart.py\n?? notes.txt"),
            ("## main...origin/main", "## main...origin/main [ahead 1]\n M shop/cart.py"),
            ("Your branch is up to date with 'origin/main'.", "Your branch is ahead of 'origin/main' by 2 commits."),
        )
    )
    turns = edited(clean, lambda n, t: _first_user(t, f"<git>\n{new if n >= at else old}\n</git>"))
    still = edited(clean, lambda _, t: _first_user(t, f"<git>\n{old}\n</git>"))
    return injected(still, turns, [at], one_of("P2"))


def _mode_note(rng: Random, size: Size) -> Made:
    """A note without a tell-tale word, behind the last message of each request, that never stays."""
    clean = talk(rng, size)
    note = rng.choice(("Plan mode is on: do not edit any file.", "Note: the user is watching. Keep it short."))

    def edit(turn: Turn, kept: range) -> Turn:
        ends = {len(clean[number].messages) - 1 for number in kept}
        messages = [
            {**m, "content": f"{m['content']}\n\n{note}"} if index in ends else m
            for index, m in enumerate(turn.messages)
        ]
        return with_messages(turn, messages)

    turns = edited(clean, lambda n, t: edit(t, range(n, n + 1)))
    kept = edited(clean, lambda n, t: edit(t, range(n + 1)))
    return injected(kept, turns, range(1, len(clean)), one_of("P4"))


def _thoughts_in_content(rng: Random, size: Size) -> Made:
    """Thoughts that the model writes into its content, and that the client cuts out of it."""
    clean = edited(talk(rng, size), lambda _, t: t)
    thought = "The total is off by one cent, so rounding comes before the sum. Look at the parser first."

    def thinking(message: JsonObject) -> JsonObject:
        if message["role"] != "assistant":
            return message
        return {**message, "content": f"<think>\n{thought}\n</think>\n\n{message['content']}"}

    turns = edited(clean, lambda _, t: msgspec.structs.replace(t, reply=thinking(t.reply)))
    kept = edited(turns, lambda _, t: with_messages(t, [thinking(m) for m in t.messages]))
    return injected(kept, turns, range(1, len(clean)), one_of("P9"))


def _history(change: Callable[[list[JsonObject], int], list[JsonObject]]) -> Callable[[Random, Size], Made]:
    """The history changed by `change` (which gets the messages and how many are old) from one turn on."""

    def build(rng: Random, size: Size) -> Made:
        clean = talk(rng, size, (4, 3))
        at = rng.randrange(3, len(clean))
        old = len(clean[at].messages) - 2
        turns = edited(clean, lambda n, t: t if n < at else with_messages(t, change(list(t.messages), old)))
        return Made(tuple(turns), {at: one_of("P11")}, {at: AFTERMATH})

    return build


def _truncated(messages: list[JsonObject], old: int) -> list[JsonObject]:
    """Old tool results cut to their beginning."""
    return [
        {**m, "content": f"{m['content'][:40]}\n… (truncated)"} if m["role"] == "tool" and n < old else m
        for n, m in enumerate(messages)
    ]


def _first_result_named(messages: list[JsonObject], old: int) -> list[JsonObject]:
    """One old result replaced by a pointer to a file."""
    at = next(n for n, m in enumerate(messages) if m["role"] == "tool")
    return [*messages[:at], {**messages[at], "content": "(stored in results/0001.txt)"}, *messages[at + 1 :]]


def _without_calls(messages: list[JsonObject], old: int) -> list[JsonObject]:
    """Old exchanges with tools taken out, what was said left in."""
    kept = [m for m in messages[:old] if m["role"] != "tool" and not m.get("tool_calls")]
    return [*kept, *messages[old:]]


def _two_titles(rng: Random, size: Size) -> Made:
    """Two requests for titles at different times."""
    main = talk(rng, size)
    first, second = side_turn(rng, size, main[1], 1), side_turn(rng, size, main[3], 2)
    turns = (*main[:2], first, *main[2:4], second, *main[4:])
    kind = frozenset({"E5", "E6"})
    # The second title finds its own instructions no more, of which there are few.
    return Made(turns, {3: one_of("E1"), 6: one_of("E1")}, {3: kind, 6: kind, 5: kind | {"E1", "E20"}})


def _header_and_thoughts(rng: Random, size: Size) -> Made:
    """A memory at one turn, and the client leaves the model's reasoning out at another."""
    clean: Talk = talk(rng, size, thinks=True)
    first, second = sorted(rng.sample(range(2, len(clean)), 2))

    def edit(number: int, turn: Turn) -> Turn:
        if number >= first:
            turn = in_system(turn, "## Memories\n- Deploys happen on Thursdays.", "end")
        if number < second:
            return turn
        old = len(clean[second].messages)
        bare = [{k: m[k] for k in m if k != "reasoning_content"} for m in turn.messages[:old]]
        return with_messages(turn, [*bare, *turn.messages[old:]])

    must = {first: one_of("P5"), second: one_of("P9")}
    return Made(tuple(edited(clean, edit)), must, dict.fromkeys(must, AFTERMATH))


def _trimmed(rng: Random, size: Size) -> Made:
    """Replies that lose their last token or two on the way back, which this kind of cache does not forgive."""
    turns = trimmed_replies(rng, size).turns
    return Made(turns, {n: one_of("E5", "E6") for n in range(1, len(turns))})


_REASONING: Final = where("llama-server llama-cpp mlx mlx-server")
HARDER_FORMS: Final = (
    Form("P1", "request-id", _session_id),
    Form("P1", "inside-a-line", _clock_inside),
    Form("P1", "user-message", _user_clock),
    Form("P2", "user-message", _user_git),
    Form("P4", "no-mark", _mode_note),
    Form("P9", "in-content", _thoughts_in_content, forced=True),
    Form("P11", "truncated", _history(_truncated)),
    Form("P11", "stored", _history(_first_result_named)),
    Form("P11", "calls-dropped", _history(_without_calls)),
    Form("E1", "two-titles", _two_titles, where("llama-server llama-cpp llama-cpp-server mlx"), ONE_SLOT),
    Form("E5", "trimmed-replies", _trimmed, where("llama-server llama-cpp mlx", "recurrent"), forced=True),
    Form("P5+P9", "memory-and-thoughts", _header_and_thoughts, _REASONING),
)
