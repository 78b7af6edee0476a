"""What every statistic here takes and gives: observations and pairs in, estimates with their n and method out.

Nothing is computed in this file. A value that cannot be told is None, and `notes` says why.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Comparison", "Estimate", "Interval", "Kind", "Metric", "Observation", "Pair", "Scale"]

Kind = Literal["time to success", "success", "score", "ratio", "difference"]
"""What a metric is, and by that how it is compared: see docs/statistics.md."""

Scale = Literal["ratio", "difference", "rate", "net wins"]
"""`net wins`: the share of the pairs that the treatment won, less the share that it lost; from −1 to 1."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One dispatch of one arm."""

    arm: str
    task: str
    """The task instance; arms are compared on the same one."""
    block: int
    """The round in which every arm does every task once."""
    order: int
    """Its place among all dispatches of the experiment, from 0."""
    success: bool | None = None
    """What the verifier said; None: it said nothing."""
    score: float | None = None
    """From 0 to 1."""
    time_s: float | None = None
    """From the start of the dispatch to its end, of a success to when it was verified."""
    limit_s: float | None = None
    """The time limit that it ran under."""
    censored: bool = False
    """It was stopped at its limit: what it took and used is at least what was seen."""
    measures: dict[str, float | None] = {}
    """Tokens, rates, bytes, seconds: by name, with the unit in the name."""
    excluded: bool = False
    """A fault of the infrastructure, not an outcome: it is counted, and takes part in nothing."""


class Pair(msgspec.Struct, frozen=True):
    """The two observations of one task in one block."""

    task: str
    block: int
    baseline: Observation
    treatment: Observation


class Metric(msgspec.Struct, frozen=True):
    """What is compared. `name` is that of a measure for the kinds `ratio` and `difference`, else a label."""

    name: str
    kind: Kind
    better: Literal["lower", "higher"] = "lower"
    accumulates: bool = False
    """It grows until the dispatch ends (seconds, tokens), so that a stopped dispatch gives a lower bound."""


class Interval(msgspec.Struct, frozen=True):
    """Where the true value lies. A bound that is None does not exist: it may be any value on that side."""

    low: float | None
    high: float | None
    confidence: float


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """One figure with all that it rests on: treatment by baseline as a `ratio`, less baseline as a `difference`."""

    metric: str
    scale: Scale
    method: str
    value: float | None = None
    interval: Interval | None = None
    p: float | None = None
    """Two-sided, of «there is no difference»."""
    pairs: int
    """The pairs that it rests on; of a `rate`, the observations."""
    tasks: int
    spread: float | None = None
    """Standard deviation of the tasks' values; of ratios, of their natural logarithms."""
    within: float | None = None
    """The same between pairs of one task; None without repeats."""
    notes: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two arms on one metric: the estimate that decides, and others beside it that should agree."""

    metric: Metric
    baseline: str
    treatment: str
    main: Estimate
    cut_off: Estimate | None = None
    """Where the main one counts wins: the ratio with what has no end cut off at its limit, to judge equivalence by."""
    beside: tuple[Estimate, ...] = ()
