"""Sessions of known lengths whose best cache setting can be worked out by hand (reference: the experiments c, c4)."""

from __future__ import annotations

from random import Random

from backends.base import JsonObject
from harness.sessions import Session, Turn

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def words(seed: int, tokens: int) -> str:
    """A text of that many tokens of the scripted tokenizer; other seeds begin with other words."""
    random = Random(seed)
    return "".join(" " + "".join(random.choice(_LETTERS) for _ in range(3)) for _ in range(tokens))


def turn(conversation: str, system: str, *users: str, parameters: JsonObject | None = None) -> Turn:
    """A request with a system message and user messages; its reply is not sent back."""
    messages: list[JsonObject] = [{"role": "system", "content": system}]
    messages += [{"role": "user", "content": text} for text in users]
    reply: JsonObject = {"role": "assistant", "content": "done"}
    return Turn(conversation, tuple(messages), (), 8, parameters or {}, reply)


def session(name: str, *turns: Turn) -> Session:
    return Session(name, "", None, None, None, turns)


def sub_agent() -> Session:
    """Main, a sub-agent that is nearly all system prompt, main again: similarity 0.1 leaves main's copy unused."""
    system = words(1, 900)
    main = turn("main", system, words(2, 1040))
    return session("case-sub-agent", main, turn("sub", system, words(3, 30)), main)


def branch() -> Session:
    """A long conversation, a branch of most of it, the long one again: a slot must be kept for the branch."""
    system, most = words(4, 900), words(5, 2500)
    long = turn("long", system, most, words(6, 1700))
    return session("case-branch", long, turn("branch", system, most, words(7, 30)), long)


def small_share() -> Session:
    """A sub-agent of which a third is the system prompt, and main again: similarity 0.5 starts the sub-agent cold."""
    system = words(8, 900)
    main = turn("main", system, words(9, 4000))
    return session("case-small-share", main, turn("sub", system, words(10, 2000)), main)
