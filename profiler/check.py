"""A run against thresholds: what `dyno check` decides. Pure; figures are those of the records and the explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import msgspec

from profiler.explanation import CauseRow, ExplainDocument
from profiler.records import RequestRecord
from profiler.stability import STABLE_FULL_MISS_RATE, STABLE_REUSE

__all__ = ["CheckDocument", "Result", "Thresholds", "check_run"]

Metric = Literal["full_miss_rate", "reuse_efficiency", "lost_s_per_dispatch"]


class Thresholds(msgspec.Struct, frozen=True):
    """What a run may be at worst: shares between 0 and 1, seconds; `None` is not checked."""

    max_full_miss_rate: float | None
    min_reuse_efficiency: float | None
    max_lost_s_per_dispatch: float | None

    @classmethod
    def of_percent(cls, max_full_miss: float | None, min_reuse: float | None, max_lost_s: float | None) -> Self:
        """Thresholds from percents; where none is given at all, those of the cache verdict."""
        if max_full_miss is None and min_reuse is None and max_lost_s is None:
            return cls(STABLE_FULL_MISS_RATE, STABLE_REUSE, max_lost_s)
        return cls(
            None if max_full_miss is None else max_full_miss / 100,
            None if min_reuse is None else min_reuse / 100,
            max_lost_s,
        )


class Result(msgspec.Struct, frozen=True):
    """One threshold. `value` is `None` where the run cannot tell it, which does not pass."""

    metric: Metric
    value: float | None
    limit: float
    passed: bool


class CheckDocument(msgspec.Struct, frozen=True):
    """The outcome, over the continuations whose class is known, and the causes of what was lost."""

    schema: int
    run: str
    target: str
    passed: bool
    continuations: int
    dispatches: int
    results: tuple[Result, ...]
    causes: tuple[CauseRow, ...]


def check_run(explanation: ExplainDocument, records: Sequence[RequestRecord], thresholds: Thresholds) -> CheckDocument:
    """Check every threshold that is set."""
    known = [r for r in records if r.verdict.continuation and r.verdict.cache_class != "unknown" and not r.error]
    dispatches = len({(r.session, r.repeat) for r in records})
    full = sum(r.verdict.cache_class == "full_miss" for r in known)
    cached = [(r.verdict.cached_tokens, r.verdict.reusable_tokens) for r in known]
    pairs = [(c, reusable) for c, reusable in cached if c is not None and reusable is not None]
    reusable = sum(each for _, each in pairs)
    rate = full / len(known) if known else None
    reuse = sum(min(c, each) for c, each in pairs) / reusable if reusable and len(pairs) == len(known) else None
    lost = explanation.lost_s / dispatches if explanation.lost_s is not None and dispatches else None
    if not explanation.losing_requests and known:
        lost = 0.0
    results = (
        _at_most("full_miss_rate", rate, thresholds.max_full_miss_rate),
        _at_least("reuse_efficiency", reuse, thresholds.min_reuse_efficiency),
        _at_most("lost_s_per_dispatch", lost, thresholds.max_lost_s_per_dispatch),
    )
    checked = tuple(result for result in results if result is not None)
    return CheckDocument(
        schema=1,
        run=explanation.run,
        target=explanation.target,
        passed=all(result.passed for result in checked),
        continuations=len(known),
        dispatches=dispatches,
        results=checked,
        causes=explanation.causes,
    )


def _at_most(metric: Metric, value: float | None, limit: float | None) -> Result | None:
    return None if limit is None else Result(metric, value, limit, value is not None and value <= limit)


def _at_least(metric: Metric, value: float | None, limit: float | None) -> Result | None:
    return None if limit is None else Result(metric, value, limit, value is not None and value >= limit)
