"""Observations in the text format of Go benchmarks, which `benchstat` reads. Pure.

    benchstat -col arm FILE

A line holds all measures of one session or dispatch. benchstat takes the lines of a name for samples of one thing, does
not pair them, and has tests of its own: its figures are not those of `dyno compare`. Not verified against benchstat
itself, which needs Go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.history.units import METRICS, Side, Unit
from harness.stats import Observation

__all__ = ["benchstat_lines"]


def benchstat_lines(a: Side, b: Side, unit: Unit) -> Iterator[str]:
    """The lines of both sides, with what of each unit is better."""
    for metric in METRICS.values():
        if metric.kind in {"ratio", "difference"}:
            yield f"Unit {metric.name} better={metric.better}"
    yield "Unit time_to_success_s better=lower"
    for arm, side in (("A", a), ("B", b)):
        yield ""
        yield f"arm: {arm}"
        for seen in side.observations:
            values = _values(seen)
            if values and not seen.excluded:
                figures = " ".join(f"{value:.9g} {name}" for name, value in values.items())
                # The last part of a name is read as the number of threads if it is one: so there is always one.
                yield f"Benchmark{unit.capitalize()}/{_word(seen.task)}-1 1 {figures}"


def _values(seen: Observation) -> dict[str, float]:
    values = {name: value for name, value in seen.measures.items() if value is not None}
    if seen.success and seen.time_s is not None:
        values["time_to_success_s"] = seen.time_s
    return values


def _word(name: str) -> str:
    return re.sub(r"[^\w.:+-]", "_", name.replace("/", ":"))
