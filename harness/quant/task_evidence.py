"""What verified tasks say of each candidate: paired over tasks against the least compressed one, by `harness.stats`.

The baseline is chosen by its bits, not by what it did, among the candidates that nothing beats. Nothing is said
where there are too few tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from harness.quant.base import CandidateResult
from harness.quant.figures import KV_BITS
from harness.quant.memory import predicted_memory
from harness.stats import SUCCESS, Declaration, Guard, Metric, Observation, Verdict, compare, describe, judge
from harness.stats.locations import least_ranked

__all__ = [
    "ALPHA",
    "MARGIN",
    "TASK_WORDS",
    "TaskEvidence",
    "TaskState",
    "baseline_of",
    "compare_tasks",
    "slower_than",
]  # fmt: skip

ALPHA: Final = 0.05
MARGIN: Final = 0.1
"""Ten points of success, or a tenth of the score: a smaller fall does not matter here."""
SCORE: Final = Metric("score", "score", "higher")
_SECONDS: Final = Metric("wall_s", "ratio", "lower", accumulates=True)

TaskState = Literal["better", "held", "not shown", "broken", "worse"]
"""Against the baseline: `better` and `worse` are shown; `held`: that more than the margin is lost is ruled out;
`broken`: the estimate lies below the margin and the interval does not rule it out; `not shown`: neither."""

TASK_WORDS: Final[dict[TaskState, str]] = {
    "better": "tasks show it better than",
    "held": f"tasks rule out a loss of more than {MARGIN:g} against",
    "not shown": "tasks do not tell it from",
    "broken": f"tasks suggest a loss of more than {MARGIN:g} against",
    "worse": "tasks show it worse than",
}


class TaskEvidence(msgspec.Struct, frozen=True):
    """A candidate against the baseline. `text` is the figure with its interval and n; `beside` McNemar's test."""

    candidate: str
    baseline: str
    state: TaskState
    metric: str
    pairs: int
    tasks: int
    text: str
    beside: str


def baseline_of(results: Sequence[CandidateResult]) -> CandidateResult | None:
    """The least compressed candidate that did tasks: most bits per weight, then of its KV cache; `None` without any."""
    worked = [result for result in results if result.measured is not None and result.measured.tasks]
    return min(worked, key=_compressed, default=None)


def compare_tasks(results: Sequence[CandidateResult]) -> dict[str, TaskEvidence]:
    """Each candidate that did tasks against the baseline, by name; empty where nothing can be compared.

    Raises:
        ValueError: a candidate has two results of one task and repeat.
    """
    baseline = baseline_of(results)
    if baseline is None:
        return {}
    names = [one.candidate.name for one in results if one.measured and one.measured.tasks and one is not baseline]
    seen = _observations(results)
    first = baseline.candidate.name
    found = {name: _evidence(seen, first, name, len(names)) for name in names}
    return {name: evidence for name, evidence in found.items() if evidence is not None}


def slower_than(leader: CandidateResult, other: CandidateResult, comparisons: int) -> bool:
    """Whether `other` is shown to take longer for a dispatch than `leader`, paired over tasks."""
    name, treatment = leader.candidate.name, other.candidate.name
    confidence = 1 - ALPHA / max(1, comparisons)
    main = compare(_observations((leader, other)), name, treatment, _SECONDS, confidence).main
    return main.interval is not None and main.interval.low is not None and main.interval.low > 1


def _compressed(result: CandidateResult) -> tuple[float, float, int, str]:
    kv = KV_BITS.get(result.candidate.kv.lower(), 0.0)
    return -result.candidate.model.bits_per_weight, -kv, -(predicted_memory(result) or 0), result.candidate.name


def _observations(results: Sequence[CandidateResult]) -> tuple[Observation, ...]:
    return tuple(
        Observation(
            arm=result.candidate.name,
            task=task.task,
            block=task.repeat,
            order=order,
            success=task.success,
            score=task.score,
            measures={"wall_s": task.wall_s},
        )
        for result in results
        for order, task in enumerate(result.measured.tasks if result.measured else ())
    )


def _evidence(seen: tuple[Observation, ...], baseline: str, name: str, comparisons: int) -> TaskEvidence | None:
    for metric in (SUCCESS, SCORE):
        declared = Declaration(metric, MARGIN, (Guard(metric, MARGIN),), alpha=ALPHA, comparisons=comparisons)
        verdict = judge(seen, baseline, name, declared)
        main = verdict.primary.main
        if main.tasks >= least_ranked(1 - ALPHA / comparisons):
            beside = "; ".join(note for one in verdict.primary.beside for note in (describe(one),) if one.p is not None)
            return TaskEvidence(
                name, baseline, _state(verdict), metric.name, main.pairs, main.tasks, describe(main), beside
            )
    return None


def _state(verdict: Verdict) -> TaskState:
    if verdict.word == "better" or verdict.word == "worse":
        return verdict.word
    return "held" if verdict.word == "equivalent" else verdict.guards[0].state
