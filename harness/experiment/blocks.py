"""The order of an experiment's dispatches: randomised, balanced, and the same for the same seed. Pure.

With an empty cache at the start of each dispatch, the arms of one task follow each other at once, so that what the
machine does slowly falls on both. Which arm goes first is dealt from a deck in which each order is as often as the
others (for more than two arms each arm is as often at each place). Where a dispatch carries on with the cache of the
one before it, a block is one stretch for each arm, since another arm's prompts would decide what is left.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from harness.experiment.plan import Plan

__all__ = ["Cell", "cells_of"]


class Cell(msgspec.Struct, frozen=True):
    """One dispatch of the plan: its place in the order, from 0, its block, from 1, its arm and its task.

    `fresh`: it starts with an empty cache.
    """

    order: int
    block: int
    arm: str
    task: str
    fresh: bool

    @property
    def key(self) -> tuple[int, str, str]:
        """What it is, wherever it stands in the order."""
        return self.block, self.arm, self.task


def cells_of(plan: Plan) -> tuple[Cell, ...]:
    """All dispatches of a plan in their order."""
    chance = random.Random(f"blocks of an experiment {plan.seed}")
    places = _carried(plan, chance) if plan.cache == "carry" else _interleaved(plan, chance)
    return tuple(Cell(order, *place) for order, place in enumerate(places))


_Place = tuple[int, str, str, bool]


def _interleaved(plan: Plan, chance: random.Random) -> Iterator[_Place]:
    deck = _deck(plan, plan.blocks * len(plan.tasks), chance)
    for block in range(1, plan.blocks + 1):
        for task in chance.sample(plan.tasks, len(plan.tasks)):
            for arm in deck.pop():
                yield block, arm, task.name, True


def _carried(plan: Plan, chance: random.Random) -> Iterator[_Place]:
    deck = _deck(plan, plan.blocks, chance)
    for block in range(1, plan.blocks + 1):
        tasks = chance.sample(plan.tasks, len(plan.tasks))  # the same for all arms: a neighbour is part of the state
        for arm in deck.pop():
            for number, task in enumerate(tasks):
                yield block, arm, task.name, number == 0


def _deck(plan: Plan, size: int, chance: random.Random) -> list[list[str]]:
    """So many orders of the arms: rotations of one that was drawn, each as often as the others, shuffled."""
    names = chance.sample([arm.name for arm in plan.arms], len(plan.arms))
    deck = [names[turn % len(names) :] + names[: turn % len(names)] for turn in range(size)]
    chance.shuffle(deck)
    return deck
