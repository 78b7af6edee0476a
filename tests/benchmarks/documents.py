"""Documents of experiments with just what the benchmarks look at: two tasks, one block, two arms."""

from __future__ import annotations

from collections.abc import Mapping

from profiler.ab_document import AbDocument, ArmRow, ComparisonRow, MetricRow, PartRow, PointRow, Word

TASKS = ("debug/todo-1", "testgap/rotation-1")


def part(name: str, baseline_s: float, treatment_s: float, code: str | None = None) -> PartRow:
    """A part whose interval is a tenth of a second wide."""
    longer = treatment_s - baseline_s
    return PartRow(name, code, code, baseline_s, treatment_s, longer, longer - 0.05, longer + 0.05, 2, 2)


def metric(
    name: str,
    value: float | None,
    *,
    low: float | None = None,
    high: float | None = None,
    detectable: float | None = None,
) -> MetricRow:
    """A ratio, told by t over two tasks."""
    return MetricRow(
        metric=name,
        scale="ratio",
        method="t",
        value=value,
        low=low,
        high=high,
        confidence=0.95,
        p=None,
        pairs=2,
        tasks=2,
        exploratory=True,
        better="lower",
        text=f"× {value}",
        detectable=detectable,
    )


def document(
    arms: tuple[str, str],
    *,
    word: Word = "worse",
    primary: MetricRow | None = None,
    metrics: tuple[MetricRow, ...] = (),
    parts: tuple[PartRow, ...] = (),
    turns: Mapping[str, float] | None = None,
    doubts: tuple[str, ...] = (),
) -> AbDocument:
    """A finished experiment in which everything passed."""
    whole = part("whole", sum(one.baseline_s for one in parts), sum(one.treatment_s for one in parts))
    comparison = ComparisonRow(
        baseline=arms[0],
        treatment=arms[1],
        word=word,
        sentence="",
        primary=primary or metric("time", 2.0, low=1.5, high=3.0),
        margin=0.05,
        beside=(),
        guards=(),
        metrics=metrics,
        parts=(whole, *parts),
        order=(),
        modes=(),
        power=None,
        more_blocks=None,
        more_tasks=None,
        reasons=(),
    )
    points = [
        PointRow(
            order=2 * number + side,
            block=1,
            arm=arm,
            task=task,
            attempt=1,
            run="001",
            dispatch_id=f"{number}",
            success=True,
            exit_status="submitted",
            score=1.0,
            time_s=1.0,
            measures={"turns": (turns or {}).get(arm, 17)},
            excluded=False,
            doubts=doubts,
        )
        for number, task in enumerate(TASKS)
        for side, arm in enumerate(arms)
    ]
    rows = [
        ArmRow(
            name=arm,
            setting=arm,
            target="tiny",
            agent="oracle",
            differs={},
            outcomes=2,
            passed=2,
            rate_low=None,
            rate_high=None,
            pass_any=1.0,
            pass_all=1.0,
            faults=0,
            median_s=1.0,
        )
        for arm in arms
    ]
    return AbDocument(
        experiment="e",
        kind="ab",
        title="",
        status="complete",
        fidelity="rehearse",
        cache="warm-within",
        baseline=arms[0],
        tasks=TASKS,
        blocks=1,
        seed=1,
        planned=4,
        done=4,
        primary="time_to_success_s",
        detectable=None,
        arms=tuple(rows),
        comparisons=(comparison,),
        points=tuple(points),
    )
