"""The sessions of the cache experiments, and how they are played: replayed, stored, read again, their causes found."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec

from backends.base import Engine, JsonObject
from harness.replay import Plan, replay
from harness.sessions import Session, Turn
from profiler.causes.base import Cause
from profiler.findings import Finding, find
from profiler.machine import machine
from profiler.records import CacheVerdict, RequestRecord, RunInfo
from profiler.store import RunWriter, read_run

_WORDS = "river stone window paper garden silver morning letter bridge winter market lantern".split()


class Seen(msgspec.Struct, frozen=True):
    """One request: its record, and the causes of its losses with the tokens that each is charged with."""

    record: RequestRecord
    finding: Finding | None

    @property
    def verdict(self) -> CacheVerdict:
        return self.record.verdict

    @property
    def cached(self) -> int:
        assert self.verdict.cached_tokens is not None, self.record.error
        return self.verdict.cached_tokens

    @property
    def shared(self) -> int:
        """What an unbounded cache would have held: min(L, P - 1)."""
        assert self.verdict.reusable_tokens is not None
        return self.verdict.reusable_tokens

    @property
    def engine(self) -> dict[str, int]:
        """Causes of the engine's side by code."""
        charges = self.finding.charges if self.finding else ()
        return {c.cause.code: c.tokens for c in charges if c.cause.code.startswith("E")}

    def cause(self, code: str) -> Cause:
        assert self.finding is not None
        return next(c.cause for c in self.finding.charges if c.cause.code == code)

    def reuses_all(self) -> bool:
        """All but the last sampled token, which is in no cache."""
        return self.shared - self.cached <= 1 and not self.engine


def words(seed: str, count: int) -> str:
    chosen = random.Random(seed)
    return " ".join(chosen.choice(_WORDS) for _ in range(count))


def system(text: str) -> JsonObject:
    return {"role": "system", "content": text}


def user(text: str) -> JsonObject:
    return {"role": "user", "content": text}


ANSWER = "All is well there."
REPLY: JsonObject = {"role": "assistant", "content": ANSWER}
TITLE = (user("Give this chat a title of four words."),)


def turn(conversation: str, *messages: JsonObject, reply: JsonObject = REPLY, **parameters: Any) -> Turn:
    return Turn(conversation, messages, (), 256, parameters, reply)


def main_turns(seed: str) -> tuple[tuple[JsonObject, ...], tuple[JsonObject, ...]]:
    """The messages of a conversation of some 600 tokens, and of its next turn; half of it is the system prompt."""
    first = (system(words(f"{seed} system", 90)), user(words(f"{seed} task", 110)))
    return first, (*first, REPLY, user("Go on then."))


def sub_agent(seed: str) -> tuple[JsonObject, ...]:
    return system(words(f"{seed} system", 90)), user("Look at the bridge, and at nothing else.")


def clocked(time: str, *further: JsonObject) -> tuple[JsonObject, ...]:
    return (system(f"It is {time}. {words('clock', 90)}"), user(words("clock task", 40)), *further)


def long_history() -> tuple[JsonObject, ...]:
    pairs = [(user(words(f"long {number}", 24)), REPLY) for number in range(9)]
    return (system(words("long system", 60)), *(message for pair in pairs for message in pair))


def title_between(first: tuple[JsonObject, ...], second: tuple[JsonObject, ...]) -> list[Turn]:
    return [turn("main", *first), turn("title", *TITLE), turn("main", *second)]


def rows(name: str) -> dict[str, list[Turn]]:
    """The sessions of one server, by row."""
    one, two, three = main_turns("b"), main_turns("c"), main_turns("d")
    thought = {"role": "assistant", "reasoning_content": words("thought", 16), "content": ANSWER}
    long = long_history()
    b = title_between(*one)
    c = [turn("main", *two[0]), turn("sub", *sub_agent("c")), turn("main", *two[1])]
    branch = (*long[:16], user("Something else, then."))
    c4 = [turn("long", *long[:-1]), turn("branch", *branch), turn("long", *long, user("And now?"))]
    d = [
        turn("main", *three[0], id_slot=0),
        turn("sub", *sub_agent("other"), id_slot=1),
        turn("main", *three[1], id_slot=0),
        turn("sub", *sub_agent("other"), REPLY, user("Go on then."), id_slot=1),
    ]
    later = main_turns("e")
    e = [turn("main", *later[0]), turn("main", *later[0]), turn("main", *later[1])]
    f = [turn("main", *clocked("10:31")), turn("main", *clocked("11:45", REPLY, user("Go on then.")))]
    stripped = main_turns("g")
    g = [turn("main", *stripped[0], reply=thought), turn("main", *stripped[1])]
    off = main_turns("h")
    h = [turn("main", *off[0]), turn("main", *off[1], cache_prompt=False)]
    both = main_turns("taken")
    taken = [turn("main", *both[0]), turn("sub", *sub_agent("taken")), *title_between(*both)[1:]]
    edited = (three[0][0], user(words("d task", 55) + " and nothing more"))
    back = [turn("main", *three[0]), turn("main", *edited), turn("main", *three[0])]
    cut = [turn("main", *three[0]), turn("sub", *edited), turn("main", *three[1])]
    return {
        "one slot": {"b": b, "e": e, "f": f, "g": g, "h": h, "back": back},
        "no store": {"b": b, "taken twice": taken, "cut": cut},
        "four slots": {"c": c, "c4": c4},
        "pinned": {"d": d},
        "repeats": {"e": e},
        "date": {"f": f},
        "one": {"b": b},
    }[name]


def on_engine(engine: Engine, sessions: dict[str, list[Turn]], folder: Path) -> dict[str, list[Seen]]:
    """Replay the sessions, store the run, read it again and find the causes."""
    info = RunInfo("run", "test", 1, "test", engine.facts(), machine(), {}, {})
    writer = RunWriter.create(folder, info)
    plan = Plan(tuple(Session(name, name, None, None, None, tuple(turns)) for name, turns in sessions.items()))
    for record, kept in replay(engine, plan, on_anchor=writer.anchor):
        writer.request(record, kept.body, kept.rendered)
    writer.close("complete")
    run = read_run(writer.path)
    found = {finding.record.request_id: finding for finding in find(writer.path, run).findings}
    seen = [Seen(record, found.get(record.request_id)) for record in run.requests]
    for one in seen:
        # Whatever the cause: the engine's side is shared out once, and wholly.
        assert sum(one.engine.values()) == (one.verdict.lost_engine_side_tokens or 0)
    return {name: [one for one in seen if one.record.session == name] for name in sessions}
