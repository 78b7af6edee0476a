"""Which candidates another one beats: worse in nothing, and better in one thing by more than both intervals.

Both relations are transitive, so that a candidate that is beaten may be left out of everything that follows. An axis on
which two candidates were not found alike (`Figure.found`) makes them incomparable.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.quant.figures import BETTER, Axis, Figure, Figures

__all__ = ["dominates", "dominators", "never_worse"]


def never_worse(one: Figures, other: Figures) -> bool:
    """Whether `one` is at least as good as `other` on every axis, in its value and in both bounds."""
    return one.keys() == other.keys() and all(_as_good(axis, one[axis], other[axis]) for axis in one)


def dominates(one: Figures, other: Figures) -> bool:
    """Whether `one` is never worse, and on some axis its interval lies wholly on the better side of the other's."""
    return never_worse(one, other) and any(_clearly_better(axis, one[axis], other[axis]) for axis in one)


def dominators(figures: Mapping[str, Figures]) -> dict[str, str]:
    """Each candidate that is beaten, with one that beats it and is itself not beaten (the first by name)."""
    beaten_by = {name: [other for other in figures if dominates(figures[other], figures[name])] for name in figures}
    return {
        name: min(other for other in others if not beaten_by[other]) for name, others in beaten_by.items() if others
    }


def _as_good(axis: Axis, one: Figure, other: Figure) -> bool:
    if one.found != other.found or one.told != other.told:
        return False
    if BETTER[axis] == "lower":
        return one.low <= other.low and one.value <= other.value and one.high <= other.high
    return one.low >= other.low and one.value >= other.value and one.high >= other.high


def _clearly_better(axis: Axis, one: Figure, other: Figure) -> bool:
    if not (one.told and other.told):
        return False
    return one.high < other.low if BETTER[axis] == "lower" else one.low > other.high
