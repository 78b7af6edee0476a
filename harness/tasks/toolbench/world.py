"""The simulated world behind toolbench's tools: which call gives which text. Pure; reads and writes nothing.

The same calls in the same order always give the same texts. What a form answers depends on its arguments, so a wrong
one gives a receipt as well, only not the one that was asked for.
"""

from __future__ import annotations

import hashlib
import json

import msgspec

from harness.tasks.base import Call
from harness.tasks.toolbench.catalogue import FORMS

__all__ = ["WORDS", "Record", "World", "answer", "digits", "receipt"]

WORDS = tuple(
    "amber birch cedar coral delta ember fern flint grove hazel heron ivory jade kite lemon linden lotus maple marsh "
    "mint north onyx opal otter pearl pine plum quartz raven reed river robin ruby sable slate spruce stone swan "
    "tiger topaz tulip velvet violet willow".split()
)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one call brings. `after` is a call that must have been made before it does; later records go first."""

    call: Call
    text: str
    ok: bool = True
    after: Call | None = None


class World(msgspec.Struct, frozen=True):
    """All that can be known. `salt` makes receipts unlike those of any other world."""

    salt: str
    records: tuple[Record, ...]


def answer(world: World, call: Call, before: tuple[Call, ...]) -> tuple[str, bool]:
    """The text that a call brings after the calls `before`, and whether it did what was asked."""
    for record in reversed(world.records):
        if record.call == call and (record.after is None or record.after in before):
            return record.text, record.ok
    if call.name in FORMS:
        return receipt(world.salt, call), True
    if call.name == "wait":
        return "waited", True
    name, value = next(iter(call.arguments.items()))
    return f"error: no {name} {value}", False


def receipt(salt: str, call: Call) -> str:
    """What a form answers: a word and four digits, by a hash of the arguments and the world's salt."""
    text = json.dumps([salt, call.name, call.arguments], sort_keys=True)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return f"done: receipt {WORDS[number % len(WORDS)]}-{digits(number // len(WORDS), 4)}"


def digits(number: int, length: int) -> str:
    """The last `length` digits of a number, with zeros in front."""
    return f"{number % 10**length:0{length}d}"
