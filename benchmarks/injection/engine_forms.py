"""Causes on the engine's side: side calls, sub-agents, pins, small stores, restarts, cancelled requests. Pure.

The text only grows; what is lost is lost because of who else was there, how the engine was started, or what it is.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from benchmarks.injection.base_sessions import Talk, edited, in_system, side_turn, talk, with_parameters
from benchmarks.injection.case import Form, Made, Size, one_of, where, with_act
from harness.session_maker import text
from harness.sessions import Turn

__all__ = ["ENGINE_FORMS", "ONE_SLOT", "with_title"]

ONE_SLOT: Final = {"slots": "1", "cache_ram": "0"}
"""One place, and no store behind it."""
_KIND: Final = frozenset({"E5", "E6"})
"""What the kind of cache adds to a loss: nothing to go back to, or too far back."""


def with_title(rng: Random, size: Size, main: Talk, after: int) -> Made:
    """A request for a title between two turns; the repaired twin asks for it when the agent is done."""
    title = side_turn(rng, size, main[after])
    turns = (*main[: after + 1], title, *main[after + 1 :])
    return Made(turns, {after + 2: one_of("E1")}, {after + 2: _KIND}, repaired=(*main, title))


def _title(rng: Random, size: Size) -> Made:
    main = talk(rng, size)
    return with_title(rng, size, main, rng.randrange(1, len(main) - 1))


def _two_agents(rng: Random, size: Size) -> Made:
    """Two agents with other instructions take turns in one place."""
    a, b = talk(rng, size, (3,), name="a"), talk(rng, size, (3,), name="b", system=_other(rng))
    turns = [turn for pair in zip(a, b, strict=True) for turn in pair]
    returns = range(2, len(turns))
    return Made(tuple(turns), dict.fromkeys(returns, one_of("E1")), dict.fromkeys(returns, _KIND), repaired=(*a, *b))


def _other(rng: Random) -> str:
    """Instructions that share nothing with the agent's."""
    user = rng.choice(text.USERS)
    return f"You review changes for {user}. " + " ".join(
        rule.format(user=user, package="shop") for rule in text.RULES[6:16]
    )


def _sub_agent(lengths: tuple[int, ...]) -> Callable[[Random, Size], Made]:
    """A sub-agent with the same system prompt and tools runs between two turns of the main one."""

    def build(rng: Random, size: Size) -> Made:
        main = talk(rng, size, lengths)
        sub = talk(rng, size, (2,), name="sub", system=main[0].messages[0]["content"])
        after = rng.randrange(len(main) // 2, len(main) - 1)
        turns = (*main[: after + 1], *sub, *main[after + 1 :])
        at = after + 1 + len(sub)
        return Made(turns, {at: one_of("E2")}, {at: _KIND, after + 1: _KIND}, repaired=(*main, *sub))

    return build


def _pinned(rng: Random, size: Size) -> Made:
    """Each agent pinned to a slot of its own, which is cleared whenever the other one starts."""
    made = _two_agents(rng, size)
    turns = [with_parameters(turn, id_slot=0 if turn.conversation == "a" else 1) for turn in made.turns]
    returns = range(2, len(turns))
    return Made(tuple(turns), dict.fromkeys(returns, one_of("E3")), dict.fromkeys(returns, _KIND))


def _again(rng: Random, size: Size) -> Made:
    """The same request twice (a retry): everything but the last token could be reused."""
    main = talk(rng, size)
    at = rng.randrange(1, len(main))
    retry = msgspec.structs.replace(main[at], conversation="retry")
    turns = (*main[: at + 1], retry, *main[at + 1 :])
    return Made(turns, {at + 1: one_of("E5")}, {at + 2: _KIND})


def _branch(*codes: str) -> Callable[[Random, Size], Made]:
    """A new conversation that goes on from the middle of the first tool result, behind the last turn.

    That is more than a window and a batch back (640 tokens), where a sliding-window cache has nothing any more.
    """

    def build(rng: Random, size: Size) -> Made:
        main = talk(rng, size, (6,))
        last = main[-1]
        cut = next(n for n, message in enumerate(last.messages) if message["role"] == "tool")
        kept = str(last.messages[cut]["content"])
        half = {**last.messages[cut], "content": kept[: len(kept) // 2] + "\n[cut]"}
        branch = Turn("branch", (*last.messages[:cut], half), last.tools, last.max_tokens, last.parameters, last.reply)
        return Made((*main, branch), {len(main): one_of(*codes)}, {len(main): frozenset({"E5"})})

    return build


def _restored(rng: Random, size: Size) -> Made:
    """Two agents on four slots: each comes back out of the server's store, where a window does not reach far enough."""
    made = _two_agents(rng, size)
    returns = range(2, len(made.turns))
    return Made(made.turns, dict.fromkeys(returns, one_of("E6")), {}, made.repaired)


def _small_store(rng: Random, size: Size) -> Made:
    made = _title(rng, size)
    at = next(iter(made.must))
    return Made(made.turns, {at: one_of("E7")}, {at: _KIND}, made.repaired)


def _few_entries(rng: Random, size: Size) -> Made:
    """More conversations than the server keeps, one request each, and back."""
    main = talk(rng, size)
    after = rng.randrange(1, len(main) - 1)
    others = [talk(rng, size, (2,), name=f"other-{n}", system=_other(rng))[0] for n in range(3)]
    turns = (*main[: after + 1], *others, *main[after + 1 :])
    return Made(turns, {after + 4: one_of("E7")}, {after + 4: _KIND})


def _seeded(rng: Random, size: Size) -> Made:
    """A seed with every request, which sends it on a path that keeps less."""
    main = talk(rng, size)
    turns = edited(main, lambda n, turn: with_parameters(turn, seed=100 + n))
    return Made(tuple(turns), {n: one_of("E14") for n in range(1, len(main))}, {}, repaired=tuple(main))


def _at_one_turn(code: str, change: Callable[[Turn], Turn]) -> Callable[[Random, Size], Made]:
    def build(rng: Random, size: Size) -> Made:
        main = talk(rng, size)
        at = rng.randrange(1, len(main))
        turns = edited(main, lambda n, turn: change(turn) if n == at else turn)
        return Made(tuple(turns), {at: one_of(code)}, {}, repaired=tuple(main))

    return build


def _cancelled(rng: Random, size: Size) -> Made:
    """A request given up during its prefill, and sent again."""
    main = talk(rng, size)
    at = rng.randrange(1, len(main) - 1)
    long = _longer(rng, main[at])
    given_up = with_act(with_parameters(long, return_progress=True), "cancel")
    turns = (*main[:at], given_up, long)
    return Made(turns, {at + 1: one_of("E12")}, {at + 1: _KIND}, repaired=(*main[:at], long))


def _longer(rng: Random, turn: Turn) -> Turn:
    """The turn with much to evaluate in its last message, so that there is time to give it up."""
    *before, last = turn.messages
    words = rng.sample("river stone window paper garden silver morning letter bridge winter market".split(), 11)
    more = "\n".join(f"{n:04d} {' '.join(words)}" for n in range(60))
    return msgspec.structs.replace(turn, messages=(*before, {**last, "content": f"{last['content']}\n{more}"}))


def _no_room(rng: Random, size: Size) -> Made:
    """Three conversations whose sum is more than the KV cache that all slots share."""
    a, b, c = (talk(rng, size, (2,), name=name, system=None if name == "a" else _other(rng)) for name in "abc")
    return Made((a[0], b[0], c[0], a[1]), {3: one_of("E17")}, {})


def _elsewhere(rng: Random, size: Size) -> Made:
    """A sub-agent that is not put where its system prompt already lies."""
    main = talk(rng, size)
    sub = talk(rng, size, (2,), name="sub", system=main[0].messages[0]["content"])
    after = rng.randrange(1, len(main) - 1)
    turns = [*main[: after + 1], *sub, *main[after + 1 :]]
    return Made(tuple(turns), {after + 1: one_of("E19")}, {after + 1: _KIND})


def _pinned_elsewhere(rng: Random, size: Size) -> Made:
    """The same, because each of them is pinned to a slot of its own."""
    made = _elsewhere(rng, size)
    turns = [with_parameters(turn, id_slot=0 if turn.conversation == "main" else 1) for turn in made.turns]
    return Made(tuple(turns), made.must, made.may)


def _never_similar(rng: Random, size: Size) -> Made:
    """A server that takes a slot for its similarity only if the prompt hardly grew: agents lose theirs every turn."""
    main = talk(rng, size, (4,))
    return Made(tuple(main), {n: one_of("E19") for n in range(1, len(main))}, {})


def _there_and_back(rng: Random, size: Size) -> Made:
    """A line of the system prompt that changes for one request and is as before in the next."""
    main = talk(rng, size)
    at = rng.randrange(1, len(main) - 1)
    usual, other = rng.choice(
        (("Mode: plan", "Mode: edit"), ("Working directory: /srv/a", "Working directory: /srv/b"))
    )
    place = rng.choice(("middle", "end"))
    turns = edited(main, lambda n, turn: in_system(turn, other if n == at else usual, place))
    changed = frozenset({"P1", "P5"})
    return Made(
        tuple(turns),
        {at: (changed,), at + 1: one_of("E20")},
        {at: _KIND | {"E19"}, at + 1: changed | _KIND},
        repaired=tuple(edited(main, lambda _, turn: in_system(turn, usual, place))),
    )


_ONE_PLACE: Final = where("llama-server llama-cpp llama-cpp-server mlx")
_SERVER: Final = where("llama-server")
_SERVER_FULL: Final = where("llama-server", "full")
_NO_CUT: Final = ("sliding_window", "recurrent")

ENGINE_FORMS: Final = (
    Form("E1", "title", _title, _ONE_PLACE, ONE_SLOT),
    Form("E1", "two-agents", _two_agents, _ONE_PLACE, ONE_SLOT),
    Form("E2", "one-slot", _sub_agent((3, 2)), _ONE_PLACE, ONE_SLOT),
    Form("E2", "four-slots", _sub_agent((4, 3)), _SERVER_FULL),
    Form("E3", "two-pins", _pinned, _SERVER),
    Form("E5", "retry", _again, where("llama-server", "recurrent"), {"ctx_checkpoints": "0"}),
    Form("E5", "retry-in-process", _again, where("llama-cpp", "recurrent")),
    Form("E5", "branch", _branch("E5"), where("llama-server", *_NO_CUT), {"ctx_checkpoints": "0"}),
    Form("E5", "branch-in-process", _branch("E5"), where("llama-cpp mlx", *_NO_CUT)),
    Form("E6", "branch", _branch("E6"), where("llama-server", *_NO_CUT)),
    Form("E6", "restored", _restored, where("llama-server", "sliding_window")),
    # The states of a recurrent model are so small that a store of 1 MiB, the smallest, holds several.
    Form(
        "E7", "small-store", _small_store, where("llama-server", "full", "sliding_window"),
        {"slots": "1", "cache_ram": "1"},
    ),
    Form("E7", "few-entries", _few_entries, where("mlx-server", "full"), {"prompt_cache_size": "2"}),
    Form("E8", "restart", _at_one_turn("E8", lambda turn: with_act(turn, "restart"))),
    Form("E12", "cancelled", _cancelled, where("llama-server")),
    Form("E13", "cache-prompt", _at_one_turn("E13", lambda turn: with_parameters(turn, cache_prompt=False)), _SERVER),
    Form("E14", "seed", _seeded, where("mlx-server", *_NO_CUT)),
    Form(
        "E17", "no-room", _no_room, _SERVER_FULL,
        {"slots": "4", "kv_unified": "true", "cache_idle_slots": "false", "cache_ram": "0", "ctx": "2048"},
    ),
    Form("E19", "similarity", _never_similar, _SERVER_FULL, {"slot_prompt_similarity": "0.98", "cache_ram": "0"}),
    Form("E19", "pinned", _pinned_elsewhere, _SERVER_FULL, {"slots": "2", "kv_unified": "false", "cache_ram": "0"}),
    Form("E20", "there-and-back", _there_and_back, _ONE_PLACE, ONE_SLOT),
)  # fmt: skip
