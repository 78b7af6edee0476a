"""From a stored experiment to its document: the verdicts, why, and every point. Pure; `harness.stats` computes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from harness.experiment.blocks import cells_of
from harness.experiment.decomposition import decomposed
from harness.experiment.observations import METRICS, metric_of, observation_of, observations_of
from harness.experiment.plan import Arm, Plan
from harness.experiment.pricing import Lost
from harness.experiment.running import is_fault, is_outcome, still_to_do
from harness.experiment.store import Done, StoredExperiment
from harness.settings import difference
from harness.stats import (
    Comparison,
    Declaration,
    Estimate,
    Guard,
    GuardResult,
    Metric,
    Modes,
    Observation,
    Verdict,
    attempts_by_task,
    describe,
    detectable_ratio,
    judge,
    pass_all_k,
    pass_at_k,
    rate_interval,
    sentence,
)
from harness.stats.power import detectable_effect
from profiler import guards as machine_guards
from profiler.ab_document import AbDocument, ArmRow, ComparisonRow, GuardRow, MetricRow, ModeRow, PointRow

__all__ = ["declaration_of", "document_of", "planned_detectable"]

ALPHA = 0.05


def planned_detectable(plan: Plan) -> float | None:
    """The ratio of times nearest to 1 that the plan finds in 80 % of experiments, at a spread seen in others."""
    return detectable_ratio(len(plan.tasks), plan.blocks, alpha=ALPHA / max(1, len(plan.arms) - 1))


def declaration_of(plan: Plan) -> Declaration:
    """What the plan declares, for the statistics. Raises PlanError for a metric that there is not."""
    primary = metric_of(plan.primary)
    guards = tuple(Guard(metric_of(name), plan.guard_margin) for name in plan.guards if name != plan.primary)
    mentioned = {plan.primary, *plan.guards}
    return Declaration(
        primary=primary,
        margin=plan.margin,
        guards=guards,
        exploratory=tuple(metric for name, metric in METRICS.items() if name not in mentioned),
        alpha=ALPHA,
        comparisons=max(1, len(plan.arms) - 1),
    )


def document_of(stored: StoredExperiment, lost: Lost) -> AbDocument:
    """The document of an experiment, finished or not; `lost` is what its causes took (`harness.experiment.pricing`)."""
    plan, experiment = stored.experiment.plan, stored.experiment
    observations = observations_of(plan, stored.done)
    cells = cells_of(plan)
    left = len(still_to_do(cells, stored.done))
    baseline = plan.arms[0]
    declared = declaration_of(plan)
    rows = tuple(_comparison(plan, stored.done, observations, arm.name, declared, lost) for arm in plan.arms[1:])
    return AbDocument(
        experiment=experiment.experiment_id,
        kind=experiment.command,
        title=plan.title,
        status="partial" if left else "complete",
        fidelity=plan.fidelity,
        cache=plan.cache,
        baseline=baseline.name,
        tasks=tuple(task.name for task in plan.tasks),
        blocks=plan.blocks,
        seed=plan.seed,
        planned=len(cells),
        done=len(cells) - left,
        primary=plan.primary,
        detectable=planned_detectable(plan),
        arms=tuple(_arm(arm, baseline, plan, stored.done, observations) for arm in plan.arms),
        comparisons=rows,
        points=tuple(_point(plan, one) for one in stored.done if not one.begun.warm_up),
        engines=tuple(dict.fromkeys(_engine(info.target, info.facts.build) for info in stored.loads.values())),
        notes=(*stored.notes, *_interrupted(stored)),
    )


def _comparison(
    plan: Plan,
    done: Sequence[Done],
    seen: tuple[Observation, ...],
    treatment: str,
    declared: Declaration,
    lost: Lost,
) -> ComparisonRow:
    verdict = judge(seen, plan.arms[0].name, treatment, declared)
    return ComparisonRow(
        baseline=verdict.baseline,
        treatment=treatment,
        word=verdict.word,
        sentence=sentence(verdict),
        primary=_metric(verdict.primary, verdict, exploratory=False),
        margin=declared.margin,
        beside=tuple(_row(one, verdict.primary.metric, exploratory=True) for one in verdict.primary.beside),
        guards=tuple(_guard(result, verdict) for result in verdict.guards),
        metrics=tuple(_metric(one, verdict, exploratory=True) for one in verdict.exploratory),
        parts=decomposed(done, verdict.baseline, treatment, lost),
        order=tuple(_row(one, verdict.primary.metric, exploratory=True) for one in verdict.order),
        modes=_modes(verdict.modes),
        power=verdict.power,
        more_blocks=verdict.more_blocks,
        more_tasks=verdict.more_tasks,
        reasons=verdict.reasons,
    )


def _metric(comparison: Comparison, verdict: Verdict, *, exploratory: bool) -> MetricRow:
    adjusted = None if exploratory else verdict.adjusted_p.get(comparison.metric.name)
    return _row(comparison.main, comparison.metric, exploratory=exploratory, adjusted_p=adjusted)


def _row(estimate: Estimate, metric: Metric, *, exploratory: bool, adjusted_p: float | None = None) -> MetricRow:
    interval = estimate.interval
    return MetricRow(
        metric=metric.name,
        scale=estimate.scale,
        method=estimate.method,
        value=_finite(estimate.value),
        low=_finite(interval.low) if interval else None,
        high=_finite(interval.high) if interval else None,
        confidence=interval.confidence if interval else None,
        p=_finite(estimate.p),
        pairs=estimate.pairs,
        tasks=estimate.tasks,
        exploratory=exploratory,
        better=metric.better,
        adjusted_p=_finite(adjusted_p),
        detectable=_detectable(estimate),
        text=describe(estimate),
        notes=estimate.notes,
    )


def _detectable(estimate: Estimate) -> float | None:
    if not estimate.spread or estimate.tasks < 2:
        return None
    smallest = detectable_effect(estimate.spread / math.sqrt(estimate.tasks), estimate.tasks, ALPHA)
    return smallest if smallest is None or estimate.scale != "ratio" else math.exp(-smallest)


def _guard(result: GuardResult, verdict: Verdict) -> GuardRow:
    return GuardRow(_metric(result.comparison, verdict, exploratory=False), result.guard.margin, result.state)


def _modes(modes: Modes | None) -> tuple[ModeRow, ...]:
    return tuple(
        ModeRow(
            rate.arm,
            rate.slow,
            rate.n,
            rate.interval.low if rate.interval else None,
            rate.interval.high if rate.interval else None,
        )
        for rate in (modes.rates if modes else ())
    )


def _arm(arm: Arm, baseline: Arm, plan: Plan, done: Sequence[Done], seen: Iterable[Observation]) -> ArmRow:
    mine = [one for one in seen if one.arm == arm.name and not one.excluded]
    faults = [one for one in done if one.begun.arm == arm.name and not one.begun.warm_up and is_fault(one.ended)]
    judged = [one for one in mine if one.success is not None]
    passed = sum(bool(one.success) for one in judged)
    interval = rate_interval(passed, len(judged))
    times = [one.time_s for one in mine if one.time_s is not None]
    tries = attempts_by_task(mine, arm.name).values()
    differs = {
        name: (str(left), str(right)) for name, (left, right) in difference(baseline.setting, arm.setting).items()
    }
    return ArmRow(
        name=arm.name,
        setting=arm.setting_name,
        target=arm.target,
        agent=arm.agent or ("oracle" if plan.fidelity == "rehearse" else "built-in"),
        differs=differs,
        outcomes=len(mine),
        passed=passed,
        rate_low=interval.low if interval else None,
        rate_high=interval.high if interval else None,
        pass_any=_mean([pass_at_k(n, hits, plan.blocks) for n, hits in tries]),
        pass_all=_mean([pass_all_k(n, hits, plan.blocks) for n, hits in tries]),
        faults=len(faults),
        median_s=statistics.median(times) if times else None,
    )


def _point(plan: Plan, done: Done) -> PointRow:
    begun, record = done.begun, done.ended
    seen = observation_of(plan, done)
    started = done.dispatch.started
    window = (started.started_ns, started.started_ns + record.totals.wall_ns)
    doubts = [guard.text for guard in machine_guards.judge(done.guards, window) if guard.severity == "doubtful"]
    return PointRow(
        order=begun.order,
        block=begun.block,
        arm=begun.arm,
        task=begun.task,
        attempt=begun.attempt,
        run=done.load,
        dispatch_id=started.dispatch_id,
        exit_status=record.exit_status,
        success=seen.success,
        score=seen.score,
        time_s=record.totals.wall_ns / 1e9,
        measures=seen.measures,
        excluded=not is_outcome(record),
        doubts=(*doubts, *(doubt.text for doubt in done.doubts)),
    )


def _interrupted(stored: StoredExperiment) -> tuple[str, ...]:
    killed = sum(not begun.warm_up for begun in stored.begun) - sum(not one.begun.warm_up for one in stored.done)
    return (f"{killed} × dispatch that was killed before its end, and is done again",) if killed else ()


def _engine(target: str, build: str | None) -> str:
    return f"{target} ({build})" if build else target


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
