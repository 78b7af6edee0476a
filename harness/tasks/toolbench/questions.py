"""Draws the questions of toolbench: what is asked, in which world, with which tools, and which calls answer it. Pure.

A question with its answer is either one for instances or one for training (`held`), by a hash of both texts, so no
model that was trained here has read an instance's question or an instance's answer as one.
"""

from __future__ import annotations

import itertools
import zlib
from random import Random
from typing import Literal

import msgspec

from harness.tasks.base import Call
from harness.tasks.toolbench.catalogue import FORMS, PROPERTIES, RECORDS, TENSES, TRAILS
from harness.tasks.toolbench.world import WORDS, Record, World, answer, receipt

__all__ = ["KINDS", "TIERS", "Kind", "Question", "Tier", "draw", "held_out", "toolset"]

Kind = Literal["select", "arguments", "chain2", "chain4", "recover", "chain6", "impossible"]
Tier = Literal["easy", "medium", "hard"]
TIERS: dict[Kind, Tier] = {
    "select": "easy",
    "arguments": "easy",
    "chain2": "easy",
    "chain4": "medium",
    "recover": "medium",
    "chain6": "hard",
    "impossible": "hard",
}
KINDS: tuple[Kind, ...] = tuple(TIERS)
NONE = "none"
RULES = (
    "Find it with the tools, one call at a time. Then submit exactly what they say; submit none if they cannot tell."
)
SUMS = "Work out sums: elm-(3 + 4) is elm-7. "
LARGEST_PART = 19
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CITIES = ("Paris", "London", "Tokyo", "Berlin", "Madrid", "Rome", "Oslo", "Vienna", "Prague", "Lisbon", "Dublin")


class Question(msgspec.Struct, frozen=True):
    """One question. `calls` answer it, before `submit` is called with `answer`; `tools` are offered, in this order."""

    kind: Kind
    text: str
    answer: str
    tools: tuple[str, ...]
    calls: tuple[Call, ...]
    world: World

    @property
    def instruction(self) -> str:
        """What the agent is asked."""
        return f"{self.text}\n\n{RULES}"

    @property
    def submission(self) -> Call:
        """The right last call."""
        return Call("submit", {"answer": self.answer})

    def replies(self) -> tuple[str, ...]:
        """What each of `calls` brings, in order."""
        return tuple(answer(self.world, call, self.calls[:at])[0] for at, call in enumerate(self.calls))


_Found = tuple[str, str, tuple[Call, ...], World]
"""Question, answer, calls and world, as the functions below draw them."""


def draw(random: Random, kind: Kind, tools: tuple[str, ...] | None = None, *, held: bool = True) -> Question:
    """Draw a question of a kind: one for instances (`held`), or one for training.

    With `tools`, one that these tools go with; they must be of the kind's group (`toolset`).
    """
    offered = tools or toolset(random, kind)
    while True:
        text, token, calls, world = _draw(random, kind, offered)
        if held_out(text) == held and (token == NONE or held_out(token) == held):
            return Question(kind, text, token, offered, calls, world)


def held_out(text: str) -> bool:
    """Whether a question or an answer is kept for instances: one in four, by a hash that no seed changes."""
    return zlib.crc32(text.encode()) % 4 == 0


def toolset(random: Random, kind: Kind) -> tuple[str, ...]:
    """Tools to offer for a kind, in any order."""
    if kind.startswith("chain"):
        group = _trails(random)
    elif kind == "arguments":
        group = random.sample(tuple(FORMS), 3)
    elif kind == "select":
        group = _records(random, random.randint(4, 5))
    elif kind == "recover":
        group = [*_records(random, 2), "unlock", "wait"]
    else:
        group = _trails(random) if random.random() < 0.5 else _records(random, random.randint(4, 5))
    names = [*group, "submit"]
    random.shuffle(names)
    return tuple(names)


def _trails(random: Random) -> list[str]:
    return random.sample(tuple(TRAILS.values()), random.randint(3, 4))


def _records(random: Random, count: int) -> list[str]:
    """Tools that are alike: the three tenses of one property, and others."""
    name = random.choice(PROPERTIES)
    alike = [f"{tense}_{name}" for tense in TENSES]
    others = random.sample([tool for tool in RECORDS if tool not in alike], max(count - 2, 1))
    return (random.sample(alike, 3 if random.random() < 0.5 else 2) + others)[:count]


def _draw(random: Random, kind: Kind, tools: tuple[str, ...]) -> _Found:
    if kind == "arguments":
        return _form(random, tools)
    if kind == "select":
        return _record(random, tools)
    if kind == "recover":
        return random.choice((_locked, _renamed, _busy))(random, tools)
    if kind == "impossible":
        if any(tool in TRAILS.values() for tool in tools):
            return _trail(random, tools, random.randint(2, 4), hard=False, ends=False)
        return random.choice((_missing, _no_tool))(random, tools)
    return _trail(random, tools, int(kind[-1]), hard=kind == "chain6", ends=True)


def _name(random: Random, smallest: int = 10, largest: int = 99) -> str:
    return f"{random.choice(WORDS)}-{random.randint(smallest, largest)}"


def _names(random: Random, count: int, smallest: int = 10, largest: int = 99) -> list[str]:
    """Names that differ from each other."""
    names: list[str] = []
    while len(names) < count:
        name = _name(random, smallest, largest)
        names += [name] if name not in names else []
    return names


def _token(random: Random) -> str:
    return _name(random, 1000, 9999)


def _ask(random: Random, tool: str, item: str) -> str:
    tense, name = tool.split("_")
    wording = random.choice(
        ("What is the {what} of {item}?", "Tell me the {what} of {item}.", "Which {what} does {item} have?")
    )
    return wording.format(what=f"{TENSES[tense]}{name}", item=item)


def _says(tool: str, item: str, token: str) -> str:
    tense, name = tool.split("_")
    return f"{TENSES[tense]}{name} of {item}: {token}"


def _offered(random: Random, tools: tuple[str, ...]) -> str:
    return random.choice([tool for tool in tools if tool in RECORDS])


def _record(random: Random, tools: tuple[str, ...]) -> _Found:
    """One property of an item, of which the other tools know other things."""
    right, item = _offered(random, tools), _name(random)
    records = {tool: _token(random) for tool in tools if tool in RECORDS}
    world = World(
        "", tuple(Record(Call(tool, {"item": item}), _says(tool, item, token)) for tool, token in records.items())
    )
    return _ask(random, right, item), records[right], (Call(right, {"item": item}),), world


def _form(random: Random, tools: tuple[str, ...]) -> _Found:
    """Something to do with three or four arguments, whose receipt is asked."""
    form = random.choice([tool for tool in tools if tool in FORMS])
    day, city, count = random.choice(DAYS), random.choice(CITIES), random.randint(2, 99)
    time = f"{random.randrange(24):02d}:{random.choice((0, 15, 30, 45)):02d}"
    thing, source, target = _names(random, 3)
    text, values = {
        "book_room": (
            f"Book room {thing} on {day} at {time} for {count} people.",
            (thing, day, time, count),
        ),
        "send_parcel": (f"Send parcel {thing} to {city}, weight {count}.", (thing, city, count)),
        "move_stock": (f"Move {count} of {thing} from {source} to {target}.", (thing, count, source, target)),
        "set_alarm": (f"Set the alarm of zone {thing} on {day} at {time}.", (thing, day, time)),
    }[form]
    call = Call(form, dict(zip(FORMS[form], values, strict=True)))
    salt = _token(random)
    token = receipt(salt, call).rpartition(" ")[2]
    return f"{text} What is the receipt?", token, (call,), World(salt, ())


def _trail(random: Random, tools: tuple[str, ...], length: int, *, hard: bool, ends: bool) -> _Found:
    """Each thing names the next one; the last one has the token, or nothing if the trail has no end.

    A hard trail has false signs everywhere, and in every second trail one step is a sum.
    """
    things = [thing for thing, tool in TRAILS.items() if tool in tools]
    names = _names(random, length, 100, 999) if hard else _names(random, length)
    leads = [_false_sign if hard else _plain] * (length - 1)
    if hard and random.random() < 0.5:
        at = random.randrange(length - 1)
        leads[at], names[at + 1] = _sum, _name(random, 10, 2 * LARGEST_PART)
    stops = [(random.choice(things), name) for name in names]
    calls = tuple(Call(TRAILS[thing], {thing: name}) for thing, name in stops)
    token = _token(random) if ends else NONE
    texts = [
        f"{name}: {lead(random, *stop)}"
        for ((_, name), stop), lead in zip(itertools.pairwise(stops), leads, strict=True)
    ]
    texts.append(f"{stops[-1][1]}: the token is {token}" if ends else f"{stops[-1][1]}: empty")
    records = tuple(Record(call, text) for call, text in zip(calls, texts, strict=True))
    text = f"Start at {stops[0][0]} {stops[0][1]} and follow the trail. {SUMS if hard else ''}What is the token?"
    return text, token, calls, World("", records)


def _plain(_: Random, thing: str, name: str) -> str:
    return f"go to {thing} {name}"


def _sum(random: Random, thing: str, name: str) -> str:
    word, number = name.split("-")
    part = random.randint(max(int(number) - LARGEST_PART, 1), min(int(number) - 1, LARGEST_PART))
    return f"go to {thing} {word}-({int(number) - part} + {part})"


def _false_sign(random: Random, thing: str, name: str) -> str:
    """Beside the right way, one that differs in a digit and is not to be gone."""
    word, number = name.split("-")
    at = random.randrange(len(number))
    digit = random.choice([digit for digit in "123456789" if digit != number[at]])
    decoy = f"{word}-{number[:at]}{digit}{number[at + 1 :]}"
    way = random.choice(("not {thing} {decoy}, go to {thing} {name}", "go to {thing} {name}, not {thing} {decoy}"))
    return way.format(thing=thing, decoy=decoy, name=name)


def _again(random: Random, tools: tuple[str, ...], error: str, fix: Call, fixed: str, item: str) -> _Found:
    """A lookup that fails until another call was made."""
    tool, token = _offered(random, tools), _token(random)
    look = Call(tool, {"item": item})
    records = (
        Record(look, error, ok=False),
        Record(fix, fixed),
        Record(look, _says(tool, item, token), after=fix),
    )
    return _ask(random, tool, item), token, (look, fix, look), World("", records)


def _locked(random: Random, tools: tuple[str, ...]) -> _Found:
    item, key = _name(random), _name(random)
    fix = Call("unlock", {"item": item, "key": key})
    return _again(random, tools, f"error: {item} is locked, unlock it with key {key}", fix, f"{item} is open", item)


def _busy(random: Random, tools: tuple[str, ...]) -> _Found:
    item, seconds = _name(random), random.randint(2, 99)
    fix = Call("wait", {"seconds": seconds})
    return _again(random, tools, f"error: {item} is busy, wait {seconds} seconds", fix, "waited", item)


def _renamed(random: Random, tools: tuple[str, ...]) -> _Found:
    tool, token = _offered(random, tools), _token(random)
    item, now = _names(random, 2)
    calls = (Call(tool, {"item": item}), Call(tool, {"item": now}))
    records = (
        Record(calls[0], f"error: {item} is now called {now}", ok=False),
        Record(calls[1], _says(tool, now, token)),
    )
    return _ask(random, tool, item), token, calls, World("", records)


def _missing(random: Random, tools: tuple[str, ...]) -> _Found:
    """The item does not exist."""
    tool, item = _offered(random, tools), _name(random)
    return _ask(random, tool, item), NONE, (Call(tool, {"item": item}),), World("", ())


def _no_tool(random: Random, tools: tuple[str, ...]) -> _Found:
    """The property is one that no tool tells, though the others do tell of this item."""
    known = {tool.partition("_")[2] for tool in tools if tool in RECORDS}
    lacking = [tool for tool in RECORDS if tool not in tools]
    alike = [tool for tool in lacking if tool.partition("_")[2] in known]
    wanted, item = random.choice(alike or lacking if random.random() < 0.5 else lacking), _name(random)
    records = tuple(
        Record(Call(tool, {"item": item}), _says(tool, item, _token(random))) for tool in tools if tool in RECORDS
    )
    return _ask(random, wanted, item), NONE, (), World("", records)
