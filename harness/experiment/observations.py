"""Stored dispatches as observations: what the statistics take. Pure.

Each measure is a sum or a rate of `Totals`, with its unit in its name; unknown is `None`. A rate is of sums, not a mean
of rates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.experiment.blocks import Cell
from harness.experiment.plan import Plan, PlanError
from harness.experiment.running import is_fault, is_outcome
from harness.experiment.store import CellBegun, Done
from harness.stats import SUCCESS, TIME_TO_SUCCESS, Metric, Observation
from profiler.dispatch_records import DispatchRecord, Totals

__all__ = [
    "METRICS", "SIMULATED", "STOPPED", "measures_of", "metric_of", "observation_of", "observations_of", "observed",
    "success_of",
]  # fmt: skip

METRICS: Final = {
    "time_to_success_s": TIME_TO_SUCCESS,
    "success": SUCCESS,
    "score": Metric("score", "score", "higher"),
    "wall_s": Metric("wall_s", "ratio", "lower", accumulates=True),
    "prefill_s": Metric("prefill_s", "ratio", "lower", accumulates=True),
    "decode_s": Metric("decode_s", "ratio", "lower", accumulates=True),
    "tool_s": Metric("tool_s", "ratio", "lower", accumulates=True),
    "ttft_s": Metric("ttft_s", "ratio", "lower", accumulates=True),
    "evaluated_tokens": Metric("evaluated_tokens", "ratio", "lower", accumulates=True),
    "generated_tokens": Metric("generated_tokens", "ratio", "lower", accumulates=True),
    "lost_tokens": Metric("lost_tokens", "difference", "lower"),
    "cached_share": Metric("cached_share", "difference", "higher"),
    "decode_tokens_per_s": Metric("decode_tokens_per_s", "ratio", "higher"),
    "turns": Metric("turns", "ratio", "lower", accumulates=True),
    "calls": Metric("calls", "ratio", "lower", accumulates=True),
    "session_bytes": Metric("session_bytes", "ratio", "lower", accumulates=True),
    "peak_memory_bytes": Metric("peak_memory_bytes", "ratio", "lower"),
}
"""What can be declared as a primary or a guard metric, by name."""

SIMULATED: Final = (
    "evaluated_tokens", "lost_tokens", "generated_tokens", "cached_share", "turns", "calls", "session_bytes",
)  # fmt: skip
"""What a simulation tells of a dispatch, beside its outcome; the first one decides unless another is declared."""

STOPPED = ("limit_turns", "limit_tokens", "limit_wall")


def metric_of(name: str) -> Metric:
    """The metric of a name. Raises PlanError."""
    if name not in METRICS:
        raise PlanError(f"there is no metric {name!r}", hint=f"metrics: {', '.join(METRICS)}")
    return METRICS[name]


def observations_of(plan: Plan, done: Iterable[Done]) -> tuple[Observation, ...]:
    """One observation for each dispatch that had an outcome, and one, excluded, for each that ended in a fault.

    Warm-ups and what the user interrupted are none. Should a cell have two outcomes, the first stands.
    """
    found: list[Observation] = []
    seen: set[tuple[int, str, str]] = set()
    for one in done:
        key = (one.begun.block, one.begun.arm, one.begun.task)
        if one.begun.warm_up or not (is_outcome(one.ended) or is_fault(one.ended)):
            continue
        if is_outcome(one.ended):
            if key in seen:
                continue
            seen.add(key)
        found.append(observation_of(plan, one))
    return tuple(found)


def observation_of(plan: Plan, done: Done) -> Observation:
    """What the statistics are told of a stored dispatch."""
    return observed(plan, done.begun, done.ended)


def observed(plan: Plan, place: CellBegun | Cell, record: DispatchRecord) -> Observation:
    """What the statistics are told of one dispatch."""
    totals = record.totals
    wall_s = totals.wall_ns / 1e9
    limits = (plan.arm(place.arm).setting.limits.wall_s, _task_limit_s(plan, place.task))
    return Observation(
        arm=place.arm,
        task=place.task,
        block=place.block,
        order=place.order,
        success=success_of(record),
        score=record.outcome.score,
        time_s=None if plan.fidelity == "simulate" else wall_s,
        limit_s=min(limit for limit in limits if limit is not None),
        censored=record.exit_status in STOPPED,
        measures=_untimed(measures_of(totals)) if plan.fidelity == "simulate" else measures_of(totals),
        excluded=is_fault(record),
    )


def success_of(record: DispatchRecord) -> bool | None:
    """What the verifier said; `None`: nothing."""
    known = record.outcome.valid and record.outcome.verified != "not_run"
    return record.outcome.verified == "pass" if known else None


def _task_limit_s(plan: Plan, name: str) -> float | None:
    return next((task.limit_s for task in plan.tasks if task.name == name), None)


def _untimed(measures: dict[str, float | None]) -> dict[str, float | None]:
    """A simulation takes no time and no memory: that is unknown, and not 0."""
    return {name: value if name in SIMULATED else None for name, value in measures.items()}


def measures_of(totals: Totals) -> dict[str, float | None]:
    """The measures of these totals, by name."""
    decode_s, generated = _seconds(totals.decode_ns), totals.generated_tokens
    # The first token of each request is part of its prefill.
    after_first = None if generated is None else generated - totals.requests
    return {
        "wall_s": totals.wall_ns / 1e9,
        "prefill_s": _seconds(totals.prefill_ns),
        "decode_s": decode_s,
        "tool_s": totals.tool_ns / 1e9,
        "ttft_s": _seconds(totals.ttft_ns),
        "evaluated_tokens": totals.evaluated_tokens,
        "generated_tokens": generated,
        "lost_tokens": totals.lost_tokens,
        "cached_share": totals.cached_tokens / totals.prompt_tokens
        if totals.cached_tokens is not None and totals.prompt_tokens
        else None,
        "decode_tokens_per_s": after_first / decode_s if decode_s and after_first is not None else None,
        "turns": totals.turns,
        "calls": totals.calls,
        "session_bytes": totals.session_bytes,
        "peak_memory_bytes": totals.peak_memory_bytes,
    }


def _seconds(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else duration_ns / 1e9
