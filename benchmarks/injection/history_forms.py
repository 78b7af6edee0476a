"""Causes in the history: arguments written anew, reasoning left out, other tokens, compaction, template, proxy."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from backends.base import JsonObject
from benchmarks.injection.base_sessions import Talk, edited, talk, with_messages, with_parameters
from benchmarks.injection.case import AFTERMATH, Form, Made, Size, one_of, where, with_act
from benchmarks.injection.head_forms import injected
from harness.session_maker import text
from harness.sessions import Turn

__all__ = ["HISTORY_FORMS"]

_WRITES: Final[dict[str, Callable[[JsonObject], str]]] = {
    "spacing": lambda value: json.dumps(value, separators=(",", ":")),
    "key-order": lambda value: json.dumps(dict(reversed(value.items()))),
    "indented": lambda value: json.dumps(value, indent=1),
    "unicode": json.dumps,
}
_FOREIGN: Final = ("größer", "déjà vu", "naïve façade", "señal", "smörgås")


def _model_writes(form: str) -> Callable[[Random, Size], Made]:
    """The model writes arguments in a form of its own; what the client sends back is what it made of them."""

    def build(rng: Random, size: Size) -> Made:
        clean = _told(rng, talk(rng, size), foreign=form == "unicode")
        write = _WRITES[form]
        turns = edited(clean, lambda _, turn: _with_reply(turn, _as_written(turn.reply, write)))
        called = [n + 1 for n, turn in enumerate(clean[:-1]) if turn.reply.get("tool_calls")]
        made = injected(clean, turns, called, one_of("P8"))
        # Replies in other scripts cannot be forced on llama-server, so that the twin would lose them itself.
        return msgspec.structs.replace(made, repaired=None) if form == "unicode" else made

    return build


def _as_written(reply: JsonObject, write: Callable[[JsonObject], str]) -> JsonObject:
    """A reply with its call as the text that the model generated."""
    calls = reply.get("tool_calls")
    if not calls:
        return reply
    function = calls[0]["function"]
    call = f'{{"name": "{function["name"]}", "arguments": {write(json.loads(function["arguments"]))}}}'
    return {"role": "assistant", "content": f"{reply['content']}\n<tool_call>\n{call}\n</tool_call>"}


def _resumed(rng: Random, size: Size) -> Made:
    """From one turn on, the client sends the earlier calls back with their arguments in another order."""
    clean = _told(rng, talk(rng, size), foreign=False)
    at = rng.randrange(2, len(clean))
    old = len(clean[at].messages)

    def other(message: JsonObject) -> JsonObject:
        calls = [
            {
                **call,
                "function": {
                    **call["function"],
                    "arguments": _WRITES["key-order"](json.loads(call["function"]["arguments"])),
                },
            }
            for call in message.get("tool_calls") or ()
        ]
        return {**message, "tool_calls": calls} if calls else message

    def edit(number: int, turn: Turn) -> Turn:
        if number < at:
            return turn
        return with_messages(turn, [other(m) if n < old else m for n, m in enumerate(turn.messages)])

    return injected(clean, edited(clean, edit), [at], one_of("P8"))


def _told(rng: Random, turns: Talk, *, foreign: bool) -> Talk:
    """The same conversation with arguments long enough to lose something: a reason in every call, two keys or more."""
    reasons: dict[str, str] = {}

    def with_reason(message: JsonObject) -> JsonObject:
        calls: list[JsonObject] = []
        for call in message.get("tool_calls") or ():
            if call["id"] not in reasons:
                word = rng.choice(_FOREIGN) if foreign else rng.choice(("quickly", "again", "before the edit"))
                reasons[call["id"]] = f"to see {word} whether the total is right"
            value = {"why": reasons[call["id"]], **json.loads(call["function"]["arguments"])}
            arguments = json.dumps(value, ensure_ascii=False)
            calls.append({**call, "function": {**call["function"], "arguments": arguments}})
        return {**message, "tool_calls": calls} if calls else message

    def edit(_: int, turn: Turn) -> Turn:
        return _with_reply(with_messages(turn, [with_reason(m) for m in turn.messages]), with_reason(turn.reply))

    return edited(turns, edit)


def _with_reply(turn: Turn, reply: JsonObject) -> Turn:
    return Turn(turn.conversation, turn.messages, turn.tools, turn.max_tokens, turn.parameters, reply)


def _client_strips(*, resumed: bool) -> Callable[[Random, Size], Made]:
    """The client leaves the model's reasoning out: always, or from one turn on."""

    def build(rng: Random, size: Size) -> Made:
        clean = talk(rng, size, thinks=True)
        at = rng.randrange(2, len(clean)) if resumed else 0

        def edit(number: int, turn: Turn) -> Turn:
            if number < at:
                return turn
            old = len(clean[at].messages) if resumed else len(turn.messages)
            kept = [{k: m[k] for k in m if k != "reasoning_content"} for m in turn.messages[:old]]
            return with_messages(turn, [*kept, *turn.messages[old:]])

        changed = [at] if resumed else range(1, len(clean))
        return injected(clean, edited(clean, edit), changed, one_of("P9"))

    return build


def _template_strips(rng: Random, size: Size) -> Made:
    """The template leaves earlier reasoning out as soon as the user speaks again."""
    first = 2 + rng.randrange(2)
    turns = talk(rng, size, (first, 2), thinks=True)
    return Made(tuple(turns), {first: one_of("P9")}, {first: AFTERMATH})


def _other_tokens(rng: Random, size: Size) -> Made:
    """The model reaches a text by other tokens than the tokenizer makes of it."""
    clean = talk(rng, size)
    at = rng.randrange(len(clean) - 1)
    turns = edited(clean, lambda n, turn: with_act(turn, f"retokenise {rng.randrange(3)}") if n == at else turn)
    return injected(clean, turns, [at + 1], one_of("P10"))


def _compaction(kind: str) -> Callable[[Random, Size], Made]:
    """The history is made shorter at one turn, and goes on from there."""

    def build(rng: Random, size: Size) -> Made:
        clean = talk(rng, size, (4, 3))
        at = rng.randrange(3, len(clean))

        def edit(number: int, turn: Turn) -> Turn:
            return turn if number < at else with_messages(turn, _SHORTER[kind](turn, clean[at]))

        # No repaired twin: a history that is not cut short is another one, and longer.
        return Made(tuple(edited(clean, edit)), {at: one_of("P11")}, {at: AFTERMATH})

    return build


def _summarised(turn: Turn, cut: Turn) -> list[JsonObject]:
    kept = len(cut.messages) - 2
    done = "\n".join(f"- {m['role']}: {str(m['content'])[:60]}" for m in cut.messages[1:kept] if m["role"] != "tool")
    return [turn.messages[0], {"role": "user", "content": text.SUMMARY.format(done=done)}, *turn.messages[kept:]]


def _cleared(turn: Turn, cut: Turn) -> list[JsonObject]:
    old = len(cut.messages) - 2
    return [
        {**m, "content": "[Old tool result content cleared]"} if m["role"] == "tool" and n < old else m
        for n, m in enumerate(turn.messages)
    ]


def _windowed(turn: Turn, cut: Turn) -> list[JsonObject]:
    # Whole exchanges go: a tool's answer never stays without its call.
    first = next(n for n in range(3, len(cut.messages)) if cut.messages[n]["role"] in ("assistant", "user"))
    return [turn.messages[0], *turn.messages[first:]]


def _pruned(turn: Turn, cut: Turn) -> list[JsonObject]:
    """One exchange taken out of the middle."""
    first = next(n for n, m in enumerate(cut.messages) if m["role"] == "tool") - 1
    return [*turn.messages[:first], *turn.messages[first + 2 :]]


_SHORTER: Final[dict[str, Callable[[Turn, Turn], list[JsonObject]]]] = {
    "summary": _summarised,
    "results-cleared": _cleared,
    "window": _windowed,
    "pruned": _pruned,
}


def _two_clients(rng: Random, size: Size) -> Made:
    """A begin-of-text token that one of two clients has the template write, and the other not."""
    clean = talk(rng, size)
    at = rng.randrange(1, len(clean))
    keys = {"chat_template_kwargs": {"begin": True}}
    turns = edited(clean, lambda n, turn: with_parameters(turn, **keys) if n >= at else turn)
    return injected(clean, turns, [at], one_of("P13"))


def _proxy(kind: str) -> Callable[[Random, Size], Made]:
    """Something behind the client rewrites its requests, from one turn on."""

    def build(rng: Random, size: Size) -> Made:
        clean = talk(rng, size)
        at = rng.randrange(1, len(clean))
        turns = edited(clean, lambda n, turn: with_act(turn, f"proxy {kind}") if n >= at else turn)
        return injected(clean, turns, [at], one_of("P14"))

    return build


_LLAMA_SERVER: Final = where("llama-server")
_SHOWS_REASONING: Final = where("llama-server llama-cpp mlx mlx-server")
"""llama-cpp-python's server hands no reasoning to the template."""
HISTORY_FORMS: Final = (
    Form("P8", "spacing", _model_writes("spacing"), forced=True),
    Form("P8", "key-order", _model_writes("key-order"), forced=True),
    Form("P8", "indented", _model_writes("indented"), forced=True),
    Form("P8", "unicode", _model_writes("unicode"), forced=True),
    Form("P8", "resumed", _resumed),
    Form("P9", "client", _client_strips(resumed=False), forced=True),
    Form("P9", "client-resumed", _client_strips(resumed=True), _SHOWS_REASONING),
    Form("P9", "template", _template_strips, where("llama-server llama-cpp mlx"), template="strip"),
    Form("P10", "other-tokens", _other_tokens, forced=True),
    Form("P11", "summary", _compaction("summary")),
    Form("P11", "results-cleared", _compaction("results-cleared")),
    Form("P11", "window", _compaction("window")),
    Form("P11", "pruned", _compaction("pruned")),
    Form("P13", "two-clients", _two_clients, _LLAMA_SERVER, template="begin"),
    Form("P14", "shortened", _proxy("shortened")),
    Form("P14", "reworded", _proxy("reworded")),
    Form("P14", "squeezed", _proxy("squeezed")),
)
