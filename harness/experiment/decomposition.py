"""Why one arm takes longer than another: the difference of their times, taken apart. Pure.

A dispatch's time is prefill, decode, tools, and the rest; prefill is what its causes lost and what was new text. Each
part is compared within pairs (one task, one block), and averaged over tasks, so that the parts sum up to the difference
of the whole. Where the engine does not tell prefill from decode, its time is one part. The pairs are those of
`harness.stats`: only outcomes, only both halves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from harness.experiment.running import is_outcome
from harness.experiment.store import Done
from harness.stats.locations import student
from harness.stats.pairing import units_of
from profiler.ab_document import PartRow
from profiler.causes.catalogue import kind_of
from profiler.dispatch_records import Totals

__all__ = ["decomposed", "parts_of"]

CONFIDENCE = 0.95


def parts_of(totals: Totals, lost_s: Mapping[str, float] | None = None) -> dict[str, float]:
    """Where the seconds of a dispatch went; the parts sum up to its wall time. Lost prefill is `lost CODE`.

    `lost_s` is what its causes took by the experiment's price; without it, what the dispatch itself could tell. A price
    is an estimate: it never takes more than the prefill that there was.
    """
    wall, tools = totals.wall_ns / 1e9, totals.tool_ns / 1e9
    if totals.prefill_ns is None or totals.decode_ns is None:
        engine = 0.0 if totals.engine_ns is None else totals.engine_ns / 1e9
        return {"engine": engine, "tools": tools, "rest": wall - engine - tools}
    prefill, decode = totals.prefill_ns / 1e9, totals.decode_ns / 1e9
    lost = {f"lost {code}": value for code, value in (_lost_s(totals) if lost_s is None else lost_s).items()}
    most = min(1.0, prefill / sum(lost.values())) if sum(lost.values()) > 0 else 1.0
    lost = {name: value * most for name, value in lost.items()}
    return {
        **lost,
        "prefill": prefill - sum(lost.values()),
        "decode": decode,
        "tools": tools,
        "rest": wall - prefill - decode - tools,
    }


def _lost_s(totals: Totals) -> dict[str, float]:
    """Seconds by cause. Too short a dispatch tells no price of a token: its causes then share what was lost in all."""
    causes = totals.lost_by_cause_s
    priced = {code: value for code, value in causes.items() if value is not None}
    if priced or not causes or totals.lost_ns is None:
        return priced
    return {"+".join(sorted(causes)): totals.lost_ns / 1e9}


def decomposed(
    done: Sequence[Done], baseline: str, treatment: str, lost: Mapping[tuple[str, str], Mapping[str, float]]
) -> tuple[PartRow, ...]:
    """The parts of the difference, treatment less baseline, the largest first; the whole is the first row.

    `lost` is what `harness.experiment.pricing` tells of dispatches.
    """
    halves: dict[str, dict[tuple[int, str], dict[str, float]]] = {baseline: {}, treatment: {}}
    for one in done:
        if one.begun.arm in halves and not one.begun.warm_up and is_outcome(one.ended):
            totals = one.ended.totals
            place = (one.begun.block, one.begun.task)
            parts = parts_of(totals, lost.get((one.load, one.ended.dispatch_id)))
            halves[one.begun.arm].setdefault(place, {"whole": totals.wall_ns / 1e9, **parts})
    both = sorted(halves[baseline].keys() & halves[treatment].keys())
    if not both:
        return ()
    names = list(dict.fromkeys(name for arm in halves.values() for place in both for name in arm[place]))
    rows = [_row(name, both, halves[baseline], halves[treatment]) for name in names]
    whole = [row for row in rows if row.part == "whole"]
    return (*whole, *sorted((row for row in rows if row.part != "whole"), key=lambda row: -abs(row.difference_s)))


_Half = Mapping[tuple[int, str], Mapping[str, float]]


def _row(name: str, places: Sequence[tuple[int, str]], first: _Half, second: _Half) -> PartRow:
    """A part that one half does not have took no time there."""
    before = [first[place].get(name, 0.0) for place in places]
    after = [second[place].get(name, 0.0) for place in places]
    tasks = [task for _, task in places]
    units = units_of(tasks, [b - a for a, b in zip(before, after, strict=True)]).values
    located = student(np.asarray(units), CONFIDENCE)
    part, _, code = name.partition(" ")
    return PartRow(
        part=part,
        code=code or None,
        title="; ".join(kind_of(one).title for one in code.split("+")) if code else None,
        baseline_s=float(units_of(tasks, before).values.mean()),
        treatment_s=float(units_of(tasks, after).values.mean()),
        difference_s=float(located.value),
        low_s=_finite(float(located.low)),
        high_s=_finite(float(located.high)),
        pairs=len(places),
        tasks=len(set(tasks)),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
