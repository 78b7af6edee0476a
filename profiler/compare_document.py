"""What `dyno compare --json` prints: two sets of runs, what may differ between them, and the effect on every metric.

Its JSON Schema is docs/compare.schema.json, made from these types. Effects are of B against A. Unknown is `None`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from profiler.ab_document import MetricRow

__all__ = ["CompareDocument", "CompareRow", "FactRow", "SideRow"]

SCHEMA = 1

Value = str | int | float | bool | None


class SideRow(msgspec.Struct, frozen=True):
    """One side: its runs, what ran on them, and how many sessions or dispatches it holds.

    `excluded` are those that ended by a fault of the engine or the machine. `passed` of `verified` dispatches passed.
    `doubtful` counts requests that the machine was too busy for.
    """

    name: Literal["A", "B"]
    runs: tuple[str, ...]
    target: str
    build: str | None
    setting: str | None
    units: int
    outcomes: int
    excluded: int
    verified: int
    passed: int
    requests: int
    doubtful: int


class FactRow(msgspec.Struct, frozen=True):
    """A fact that should be equal and is not, and the word of `--although` that let it differ."""

    name: str
    a: Value
    b: Value
    although: str


class CompareRow(msgspec.Struct, frozen=True):
    """The effect of B against A on one metric, and the median of each side over the pairs that it rests on."""

    effect: MetricRow
    a_median: float | None
    b_median: float | None


class CompareDocument(msgspec.Struct, frozen=True):
    """Two sides, compared by the sessions or tasks that both hold.

    `differs` are settings of the harness and the command that are not the same on both sides: what was changed on
    purpose, it may be. `although` are facts that must be equal to compare, and were let differ. `only_a` and `only_b`
    name what one side alone holds, which takes no part.
    """

    schema: int
    unit: Literal["session", "task"]
    a: SideRow
    b: SideRow
    both: tuple[str, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    differs: dict[str, tuple[str, str]]
    although: tuple[FactRow, ...]
    metrics: tuple[CompareRow, ...]
    notes: tuple[str, ...]
