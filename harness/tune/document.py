"""What `dyno tune --json` prints: a tuning, finished or not, what was found and what it rests on. Only structs.

Its JSON Schema is docs/tune.schema.json, made from these types. Ratios are against the current setting. Unknown is
`None`. `harness.tune.result` makes it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from profiler.ab_document import MetricRow, Word

__all__ = ["ConfirmRow", "EffectRow", "LeverRow", "RaceRow", "StageRow", "TuneDocument"]

SCHEMA = 1


class LeverRow(msgspec.Struct, frozen=True):
    """A lever that was varied. `decided_by`: whether a rehearsal can decide it, or a dispatch alone."""

    name: str
    levels: tuple[str, ...]
    current: str
    decided_by: Literal["rehearse", "dispatch"]
    chosen: str | None = None


class EffectRow(msgspec.Struct, frozen=True):
    """A main effect by the screening: `high_level` against `low_level`, a ratio or a difference of the metric.

    `better` is the better level where the interval shows one; `mixed_with` are pairs of levers it cannot be told from.
    """

    lever: str
    low_level: str
    high_level: str
    scale: Literal["ratio", "difference"]
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    better: str | None
    mixed_with: tuple[str, ...]
    text: str


class RaceRow(msgspec.Struct, frozen=True):
    """A setting in one rung of the race: measured against the current one, and why it went no further, if it did not.

    `believed` is what it was ranked by: measured, drawn towards what was predicted.
    """

    rung: int
    setting: str
    scale: Literal["ratio", "difference"]
    measured: float | None
    believed: float | None
    dispatches: int
    out: str | None


class ConfirmRow(msgspec.Struct, frozen=True):
    """The winner against the current setting on held-out tasks. `shrinkage` is the part of the gain in the race that
    was not found again (0: all of it was; 1: none), in logarithms for a ratio; `None` where there was no gain to lose.
    """

    setting: str
    word: Word
    sentence: str
    held_out: MetricRow
    raced: MetricRow | None
    guards: tuple[str, ...]
    shrinkage: float | None
    shrinkage_text: str


class StageRow(msgspec.Struct, frozen=True):
    """One experiment: its folder's name, what it was, and how much."""

    name: str
    fidelity: Literal["simulate", "rehearse", "dispatch"]
    settings: int
    tasks: int
    blocks: int


class TuneDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A tuning. `verdict` is a sentence; `chosen` is the setting's name where one was found to be better.

    `file` is where it was written. `settings` counts those that can be run and are not the same; `None`: too many to
    count.
    """

    tuning: str
    title: str
    status: Literal["complete", "partial"]
    verdict: str
    chosen: str | None
    file: str | None
    target: str | None
    setting: str
    fidelity: Literal["rehearse", "dispatch"]
    primary: str
    guards: tuple[str, ...]
    margin: float
    seed: int
    combinations: int
    settings: int | None
    simulated: int
    refused: dict[str, str]
    budget_s: float
    spent_s: float
    dispatches: int
    tasks: tuple[str, ...]
    held_out: tuple[str, ...]
    levers: tuple[LeverRow, ...]
    screening: str | None
    effects: tuple[EffectRow, ...]
    pairs_mixed: tuple[tuple[str, ...], ...]
    race: tuple[RaceRow, ...]
    confirmed: ConfirmRow | None
    stages: tuple[StageRow, ...]
    notes: tuple[str, ...]
    schema: int = SCHEMA
