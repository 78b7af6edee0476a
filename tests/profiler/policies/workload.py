"""Random work for a prompt cache: conversations that go on, branch, are edited, cut, repeated and interleaved.

Token ids only, no text: an engine takes them as they are. The engine's own reply goes into the history, so a workload
is played against an engine, or against a policy with invented replies. Equal seeds give equal choices.
"""

from __future__ import annotations

from array import array
from random import Random

import msgspec

_IDS = (300, 900)


class Shape(msgspec.Struct, frozen=True):
    """How large a workload's parts are, in tokens, and how often it pins slots or forbids reuse."""

    system: tuple[int, int] = (50, 500)
    added: tuple[int, int] = (3, 400)
    reply: tuple[int, int] = (1, 40)
    most_conversations: int = 6
    longest: int = 5000
    pinned: float = 0.0
    without_cache: float = 0.02


class Ask(msgspec.Struct, frozen=True):
    """One request to make: its prompt, and how long its reply is."""

    conversation: str
    prompt: array[int]
    reply_tokens: int
    slot: int | None
    cache_prompt: bool


class Workload:
    """Conversations by name, each its last sequence. `ask`, then `answered`, in turn."""

    def __init__(self, seed: int, shape: Shape, slots: int) -> None:
        self._random = Random(seed)
        self._shape = shape
        self._slots = slots
        self._last: list[array[int]] = []
        self._systems = [self._text(shape.system) for _ in range(2)]
        self._asked = (0, array("i"))

    def ask(self) -> Ask:
        """The next request."""
        random, shape = self._random, self._shape
        number = random.randrange(len(self._last) + 1) if len(self._last) < shape.most_conversations else None
        if number is None or number < len(self._last):
            number = random.randrange(len(self._last)) if random.random() < 0.5 or number is None else number
            prompt = self._changed(self._last[number])
        else:
            prompt = self._systems[random.randrange(2)] + self._text(shape.added)
            self._last.append(prompt)
        if len(prompt) > shape.longest:
            prompt = self._systems[0] + self._text(shape.added)
        self._asked = (number, prompt)
        return Ask(
            conversation=f"c{number}",
            prompt=prompt,
            reply_tokens=random.randint(*shape.reply),
            slot=random.randrange(self._slots) if random.random() < shape.pinned else None,
            cache_prompt=random.random() >= shape.without_cache,
        )

    def answered(self, reply: array[int]) -> None:
        """The engine's reply to the last request."""
        number, prompt = self._asked
        self._last[number] = prompt + reply

    def _changed(self, sequence: array[int]) -> array[int]:
        """The next prompt of a conversation: mostly it goes on, sometimes its past is another."""
        random = self._random
        kind = random.random()
        if kind < 0.55:
            return sequence + self._text(self._shape.added)
        if kind < 0.65:
            return sequence[: random.randint(1, len(sequence))] + self._text(self._shape.added)
        if kind < 0.75:  # branch near the end, as when a turn is taken back
            return sequence[: max(1, len(sequence) - random.randint(1, 60))] + self._text(self._shape.added)
        if kind < 0.83:
            edited = array("i", sequence)
            edited[random.randrange(len(edited))] = random.randint(*_IDS)
            return edited + self._text((0, 20))
        if kind < 0.9:  # compaction: the middle is gone
            first = random.randint(1, len(sequence))
            return sequence[:first] + sequence[random.randint(first, len(sequence)) :] + self._text((1, 9))
        if kind < 0.95:
            return sequence[:]
        return sequence[: random.randint(1, len(sequence))]

    def _text(self, length: tuple[int, int]) -> array[int]:
        return array("i", [self._random.randint(*_IDS) for _ in range(between(self._random, length))])


def between(random: Random, length: tuple[int, int]) -> int:
    """A length of which short ones are likely and long ones happen."""
    least, most = length
    return least + int((most - least) * random.random() ** 2)
