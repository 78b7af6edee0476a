"""Sessions in which nothing is wrong, in harmless ways of all sorts: no request may be given a cause. Pure."""

from __future__ import annotations

import json
from random import Random
from typing import Final

import msgspec

from backends.base import CacheKind, JsonObject
from benchmarks.injection.base_sessions import Talk, edited, side_turn, talk, with_messages, with_parameters
from benchmarks.injection.case import CLEAN, Form, Made, Size, where
from benchmarks.injection.engine_forms import ONE_SLOT
from harness.sessions import Turn

__all__ = ["CLEAN_FORMS", "trimmed_replies"]

_FOREIGN: Final = ("Größe geprüft ✓", "déjà vu – ça va", "日本語のテスト", "😀 ok 👍", "naïve Ωmega", "мир")


def _plain(rng: Random, size: Size) -> Made:
    return Made(tuple(talk(rng, size)))


def _sampling(rng: Random, size: Size) -> Made:
    """Other sampling parameters with every request."""
    turns = edited(talk(rng, size), lambda n, turn: with_parameters(turn, temperature=n / 4, top_p=1 - n / 20))
    return Made(tuple(turns))


def _seeds(rng: Random, size: Size) -> Made:
    """Another seed with every request."""
    return Made(tuple(edited(talk(rng, size), lambda n, turn: with_parameters(turn, seed=1000 + n))))


def _limits(rng: Random, size: Size) -> Made:
    """Other limits and stop texts with every request."""

    def edit(number: int, turn: Turn) -> Turn:
        turn = msgspec.structs.replace(turn, max_tokens=turn.max_tokens + 16 * number)
        return with_parameters(turn, stop=[f"STOP-{number}"])

    return Made(tuple(edited(talk(rng, size), edit)))


def _foreign(rng: Random, size: Size) -> Made:
    """What tools answer and users say in other scripts."""
    said = [rng.choice(_FOREIGN) for _ in range(40)]

    def message(index: int, m: JsonObject) -> JsonObject:
        return {**m, "content": f"{m['content']}\n{said[index % 40]}"} if m["role"] in ("user", "tool") else m

    turns = talk(rng, size)
    return Made(tuple(edited(turns, lambda _, t: with_messages(t, [message(i, m) for i, m in enumerate(t.messages)]))))


def _dated_results(rng: Random, size: Size) -> Made:
    """Tool results full of times, counters, branches and reminders: in new messages they cost nothing."""
    lines = [
        f"2026-05-04 09:{n:02d}:{rng.randrange(60):02d} On branch main, {rng.randrange(99)}% done, "
        f"{9000 - n} tokens left"
        for n in range(60)
    ]

    def message(index: int, m: JsonObject) -> JsonObject:
        return {**m, "content": f"{lines[index]}\n{m['content']}"} if m["role"] == "tool" else m

    turns = talk(rng, size)
    return Made(tuple(edited(turns, lambda _, t: with_messages(t, [message(i, m) for i, m in enumerate(t.messages)]))))


def _long_result(rng: Random, size: Size) -> Made:
    """One tool result far longer than all before it."""
    at = rng.randrange(2, 6)
    more = "\n".join(f"{n}: {rng.randrange(10**6)}" for n in range(100 if size == "usual" else 25))

    def message(index: int, m: JsonObject) -> JsonObject:
        return {**m, "content": f"{m['content']}\n{more}"} if m["role"] == "tool" and index in (at, at + 1) else m

    turns = talk(rng, size)
    return Made(tuple(edited(turns, lambda _, t: with_messages(t, [message(i, m) for i, m in enumerate(t.messages)]))))


def _thinks(rng: Random, size: Size) -> Made:
    """The model thinks, and the client sends its reasoning back."""
    return Made(tuple(talk(rng, size, thinks=True)))


def _two_calls(rng: Random, size: Size) -> Made:
    """Two tool calls in each reply, and two results behind it."""

    def doubled(message: JsonObject) -> JsonObject:
        calls = message.get("tool_calls")
        if not calls:
            return message
        second = {"id": f"{calls[0]['id']}b", "type": "function"}
        arguments = json.dumps({"path": ".", "pattern": f"def {calls[0]['id']}"})
        return {**message, "tool_calls": [*calls, {**second, "function": {"name": "grep", "arguments": arguments}}]}

    def edit(_: int, turn: Turn) -> Turn:
        messages: list[JsonObject] = []
        for m in turn.messages:
            messages.append(doubled(m))
            if m["role"] == "tool":
                messages.append({"role": "tool", "tool_call_id": f"{m['tool_call_id']}b", "content": "./setup.py:1"})
        return msgspec.structs.replace(turn, messages=tuple(messages), reply=doubled(turn.reply))

    return Made(tuple(edited(talk(rng, size), edit)))


def _only_talk(rng: Random, size: Size) -> Made:
    """A conversation without tools."""

    def edit(_: int, turn: Turn) -> Turn:
        return msgspec.structs.replace(turn, tools=())

    turns = talk(rng, size, (1, 1, 1, 1))
    return Made(tuple(edited(turns, edit)))


def _side_by_side(rng: Random, size: Size) -> Made:
    """Two agents take turns, each with a slot to itself."""
    talks = [_named(talk(rng, size, (3,)), name) for name in "ab"]
    return Made(tuple(turn for pair in zip(*talks, strict=True) for turn in pair))


def _named(turns: Talk, name: str) -> Talk:
    """The conversation under another name, with instructions that begin with it."""

    def edit(_: int, turn: Turn) -> Turn:
        first, *rest = turn.messages
        system = {**first, "content": f"{name * 24}\n{first['content']}"}
        return msgspec.structs.replace(turn, conversation=name, messages=(system, *rest))

    return edited(turns, edit)


def _title_last(rng: Random, size: Size) -> Made:
    """A title that is asked for when the agent is done: nobody comes back."""
    main = talk(rng, size)
    return Made((*main, side_turn(rng, size, main[-1])))


def _title_elsewhere(rng: Random, size: Size) -> Made:
    """A title between two turns, where there is a slot for it."""
    main = talk(rng, size)
    return Made((*main[:2], side_turn(rng, size, main[1]), *main[2:]))


def _same_again(rng: Random, size: Size) -> Made:
    """The same request twice, where the cache can be cut back."""
    main = talk(rng, size)
    return Made((*main[:3], msgspec.structs.replace(main[2], conversation="retry"), *main[3:]))


def _asked_again(rng: Random, size: Size) -> Made:
    """The last request of a conversation sent once more, since its reply was lost on the way."""
    main = talk(rng, size)
    return Made((*main, main[-1]))


def trimmed_replies(rng: Random, size: Size) -> Made:
    """Replies that end with a space and a line break, and a client that cuts them off: a token or two.

    Where a cache cannot be cut back this costs everything (`E5.trimmed-replies`).
    """

    def edit(_: int, turn: Turn) -> Turn:
        return msgspec.structs.replace(turn, reply={**turn.reply, "content": f"{turn.reply['content']} \n"})

    return Made(tuple(edited(talk(rng, size, (1, 1, 1, 1)), edit)))


def _keeps_several(engine: str, kind: CacheKind) -> bool:
    """Whether an engine as it is launched keeps several conversations whole.

    Not the sliding window of llama-server, which comes back from its store cut short (`E6.restored`); and mlx_lm.server
    keeps several entries for each prompt whose cache cannot be cut back, so that its ten are soon full.
    """
    return (engine == "llama-server" and kind != "sliding_window") or (engine == "mlx-server" and kind == "full")


_ENGINES: Final = "llama-server llama-cpp llama-cpp-server mlx mlx-server"
CLEAN_FORMS: Final = (
    Form(CLEAN, "plain", _plain),
    Form(CLEAN, "sampling", _sampling, where("llama-server mlx-server")),
    Form(CLEAN, "seeds", _seeds, where("llama-server")),
    Form(CLEAN, "limits", _limits, where("llama-server")),
    Form(CLEAN, "foreign", _foreign),
    Form(CLEAN, "dated-results", _dated_results),
    Form(CLEAN, "long-result", _long_result),
    Form(CLEAN, "thinks", _thinks),
    Form(CLEAN, "two-calls", _two_calls),
    Form(CLEAN, "only-talk", _only_talk),
    Form(CLEAN, "side-by-side", _side_by_side, _keeps_several),
    Form(CLEAN, "title-last", _title_last, launch=ONE_SLOT),
    Form(CLEAN, "title-elsewhere", _title_elsewhere, _keeps_several),
    Form(CLEAN, "asked-again", _asked_again, where(_ENGINES, "full")),
    Form(CLEAN, "trimmed-replies", trimmed_replies, where(_ENGINES, "full"), forced=True),
    Form(CLEAN, "same-again", _same_again, where(_ENGINES, "full")),
)
