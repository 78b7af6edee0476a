"""Two causes in one session, at the same request or at different ones; both have to be named. Pure."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from benchmarks.injection.base_sessions import edited, in_system, talk, with_messages
from benchmarks.injection.case import AFTERMATH, Form, Made, Size, one_of, where
from benchmarks.injection.engine_forms import ONE_SLOT, with_title

__all__ = ["MIXED_FORMS"]


def _date_and_title(rng: Random, size: Size) -> Made:
    """The date changes at the end of the system prompt just when a title was asked for."""
    main = talk(rng, size)
    at = rng.randrange(2, len(main))
    dated = edited(main, lambda n, t: in_system(t, f"Today's date: 2026-05-{4 + (n >= at):02d}", "end"))
    made = with_title(rng, size, dated, at - 1)
    return Made(made.turns, {at + 1: (*one_of("P1"), *one_of("E1"))}, {at + 1: AFTERMATH})


def _date_and_tools(rng: Random, size: Size) -> Made:
    main = talk(rng, size)
    at = rng.randrange(1, len(main))
    turns = edited(main, lambda n, t: in_system(t, f"Today's date: 2026-05-{4 + (n >= at):02d}", "second"))
    turns = edited(turns, lambda n, t: msgspec.structs.replace(t, tools=t.tools[::-1]) if n >= at else t)
    return Made(tuple(turns), {at: (*one_of("P1"), *one_of("P6"))}, {at: AFTERMATH})


def _header_and_compaction(rng: Random, size: Size) -> Made:
    """A header that moves with every request, and tool results cleared at one of them."""
    main = talk(rng, size, (4, 2))
    at = rng.randrange(3, len(main))
    hashes = [f"{rng.randrange(16**5):05x}" for _ in main]
    turns = edited(
        main, lambda n, t: in_system(t, f"x-anthropic-billing-header: cc_version=2.1.40; cch={hashes[n]};", "start")
    )
    cleared = {"content": "[Old tool result content cleared]"}
    old = len(main[at].messages) - 2
    turns = edited(
        turns,
        lambda n, t: (
            t
            if n < at
            else with_messages(
                t, [{**m, **cleared} if m["role"] == "tool" and i < old else m for i, m in enumerate(t.messages)]
            )
        ),
    )
    must = {n: one_of("P3") for n in range(1, len(main))}
    may = dict.fromkeys(must, AFTERMATH)
    return Made(tuple(turns), {**must, at: (*one_of("P3"), *one_of("P11"))}, may)


def _git_and_memory(rng: Random, size: Size) -> Made:
    """Git status at one turn, a memory at another one."""
    main = talk(rng, size, (3, 3))
    first, second = sorted(rng.sample(range(1, len(main)), 2))
    turns = edited(
        main, lambda n, t: in_system(t, f"Current branch: {'main' if n < first else 'fix/totals'}", "middle")
    )
    turns = edited(
        turns, lambda n, t: t if n < second else in_system(t, "## Memories\n- The user prefers tabs.", "end")
    )
    return Made(tuple(turns), {first: one_of("P2"), second: one_of("P5")}, {first: AFTERMATH, second: AFTERMATH})


MIXED_FORMS: Final = (
    Form("P1+E1", "date-and-title", _date_and_title, where("llama-server llama-cpp mlx"), ONE_SLOT),
    Form("P1+P6", "date-and-tools", _date_and_tools),
    Form("P3+P11", "header-and-cleared", _header_and_compaction),
    Form("P2+P5", "git-and-memory", _git_and_memory),
)
