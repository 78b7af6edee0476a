"""Two-level Plackett–Burman designs with fold-over, and what is mixed with what in them, in words. Pure.

A design of N runs tells N - 1 main effects. Alone it mixes each with effects of pairs of levers; its fold-over (every
run again with all levels exchanged) frees the main effects of all pairs. Pairs stay mixed among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from harness.experiment.plan import PlanError

__all__ = ["MOST_LEVERS", "Signs", "aliases", "folded", "pair_aliases", "plackett_burman", "screening_rows"]

Signs = NDArray[np.int8]

_FIRST_ROWS: Final = {
    8: "+++-+--",
    12: "++-+++---+-",
    16: "++++-+-++--+---",
    20: "++--++++-+-+----++-",
    24: "+++++-+-++--++--+-+----",
}
"""Plackett and Burman's; the others are turns of them, and one row of minus."""
MOST_LEVERS: Final = 23
_MIXED: Final = 0.05
"""Correlations below this are rounding."""


def plackett_burman(levers: int) -> Signs:
    """The smallest design for so many levers: a row for each run, a column of 1 and -1 for each lever.

    Raises:
        PlanError: there is none for so many.
    """
    if not 1 <= levers <= MOST_LEVERS:
        raise PlanError(f"{levers} levers cannot be screened at once", hint=f"vary at most {MOST_LEVERS}")
    runs = next(size for size in _FIRST_ROWS if size > levers)
    first = np.asarray([1 if sign == "+" else -1 for sign in _FIRST_ROWS[runs]], dtype=np.int8)
    turned = [np.roll(first, turn) for turn in range(runs - 1)]
    return np.vstack([*turned, -np.ones(runs - 1, dtype=np.int8)]).astype(np.int8)[:, :levers]


def folded(design: Signs) -> Signs:
    """A design with its fold-over."""
    return np.vstack([design, -design]).astype(np.int8)


def screening_rows(levers: int, *, fold: bool) -> Signs:
    """The runs of a screening, each once: with few levers the same run would stand there several times."""
    design = plackett_burman(levers)
    return np.unique(folded(design) if fold else design, axis=0)[::-1]


def aliases(design: Signs, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The pairs of levers with which each main effect is mixed, with the share; none with a fold-over."""
    found: dict[str, tuple[str, ...]] = {}
    pairs = list(combinations(range(len(names)), 2))
    for number, name in enumerate(names):
        column = design[:, number].astype(float)
        mixed = ((pair, _mixture(column, _pair(design, pair))) for pair in pairs if number not in pair)
        found[name] = tuple(_said(names, pair, share) for pair, share in mixed if abs(share) > _MIXED)
    return found


def pair_aliases(design: Signs, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The groups of pairs of levers whose effects cannot be told from each other, those that are wholly mixed."""
    groups: list[list[tuple[int, int]]] = []
    for pair in combinations(range(len(names)), 2):
        column = _pair(design, pair)
        same = next((group for group in groups if abs(_mixture(column, _pair(design, group[0]))) > 1 - _MIXED), None)
        if same is None:
            groups.append([pair])
        else:
            same.append(pair)
    return tuple(tuple(f"{names[a]} × {names[b]}" for a, b in group) for group in groups if len(group) > 1)


def _pair(design: Signs, pair: tuple[int, int]) -> NDArray[np.float64]:
    return (design[:, pair[0]] * design[:, pair[1]]).astype(float)


def _mixture(column: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(column @ other) / len(column)


def _said(names: Sequence[str], pair: tuple[int, int], share: float) -> str:
    words = f"{names[pair[0]]} × {names[pair[1]]}"
    return words if abs(share) > 1 - _MIXED else f"{words} (by {abs(share):.0%})".replace("%", " %")
