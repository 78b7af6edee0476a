"""From a stored experiment to its document: the verdicts, why, and every point. Pure; `harness.stats` computes."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from harness.experiment.blocks import cells_of
from harness.experiment.by_task import by_task
from harness.experiment.decomposition import decomposed
from harness.experiment.doubts import doubt_rows, doubts_of
from harness.experiment.early_verdict import early_verdict
from harness.experiment.observations import METRICS, metric_of, observation_of, observations_of
from harness.experiment.plan import Arm, Plan
from harness.experiment.pricing import Lost, Told
from harness.experiment.running import is_fault, is_outcome, still_to_do
from harness.experiment.stopping import ALPHA, alpha_of, unneeded
from harness.experiment.store import Done, StoredExperiment
from harness.settings import difference
from harness.stats import (
    SUCCESS,
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
from profiler.ab_document import AbDocument, ArmRow, CacheRow, ComparisonRow, GuardRow, MetricRow, ModeRow, PointRow

__all__ = ["declaration_of", "document_of", "metric_row", "planned_detectable"]


def planned_detectable(plan: Plan) -> float | None:
    """The ratio of times nearest to 1 that the plan finds in 80 % of experiments, at a spread seen in others."""
    return detectable_ratio(len(plan.tasks), plan.blocks, alpha=alpha_of(plan))


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


def document_of(stored: StoredExperiment, told: Told) -> AbDocument:
    """The document of an experiment, finished or not; `told` is what its requests tell (`told_of`)."""
    plan, experiment = stored.experiment.plan, stored.experiment
    observations = observations_of(plan, stored.done)
    cells = cells_of(plan)
    left_over = still_to_do(cells, stored.done)
    skipped = sum(unneeded(plan, stored.decisions, todo.cell) for todo in left_over)
    left = len(left_over) - skipped
    baseline = plan.arms[0]
    declared = declaration_of(plan)
    rows = tuple(_comparison(stored, observations, arm.name, declared, told.lost) for arm in plan.arms[1:])
    return AbDocument(
        experiment=experiment.experiment_id,
        kind=experiment.command,
        title=plan.title,
        status="partial" if left else "stopped" if skipped else "complete",
        fidelity=plan.fidelity,
        cache=plan.cache,
        baseline=baseline.name,
        tasks=tuple(task.name for task in plan.tasks),
        blocks=plan.blocks,
        seed=plan.seed,
        planned=len(cells),
        done=len(cells) - left - skipped,
        primary=plan.primary,
        detectable=planned_detectable(plan),
        arms=tuple(_arm(arm, stored, observations, told.caches.get(arm.name)) for arm in plan.arms),
        comparisons=rows,
        points=tuple(_point(stored, one) for one in stored.done if not one.begun.warm_up),
        engines=tuple(dict.fromkeys(_engine(info.target, info.facts.build) for info in stored.loads.values())),
        notes=(*stored.notes, *_interrupted(stored), *_failures(stored.done)),
        not_needed=skipped,
        doubts=doubt_rows(stored),
    )


def _comparison(
    stored: StoredExperiment, seen: tuple[Observation, ...], treatment: str, declared: Declaration, lost: Lost
) -> ComparisonRow:
    plan = stored.experiment.plan
    verdict = judge(seen, plan.arms[0].name, treatment, declared)
    early = early_verdict(plan, seen, verdict, stored.decisions)
    if early is not None:
        # Of a number of pairs that was fixed before, and so of no use here.
        verdict = msgspec.structs.replace(verdict, power=None, more_blocks=None, more_tasks=None, adjusted_p={})
    return ComparisonRow(
        baseline=verdict.baseline,
        treatment=treatment,
        word=early.word if early else verdict.word,
        sentence=early.sentence if early else sentence(_told_of_guards(plan, verdict)),
        primary=_metric(verdict.primary, verdict, exploratory=early is not None),
        margin=declared.margin,
        beside=tuple(metric_row(one, verdict.primary.metric, exploratory=True) for one in verdict.primary.beside),
        guards=tuple(_guard(result, verdict) for result in verdict.guards),
        metrics=tuple(_metric(one, verdict, exploratory=True) for one in verdict.exploratory),
        # A simulation has no time to take apart.
        parts=() if plan.fidelity == "simulate" else decomposed(stored.done, verdict.baseline, treatment, lost),
        order=tuple(metric_row(one, verdict.primary.metric, exploratory=True) for one in verdict.order),
        modes=_modes(verdict.modes),
        power=verdict.power,
        more_blocks=verdict.more_blocks,
        more_tasks=verdict.more_tasks,
        reasons=early.reasons if early else verdict.reasons,
        tasks=by_task(seen, verdict.baseline, treatment, declared.primary, [task.name for task in plan.tasks]),
        sequential=early.row if early else None,
    )


def _told_of_guards(plan: Plan, verdict: Verdict) -> Verdict:
    """In a rehearsal success is scripted: that too few pairs show it is no news, only that it fell would be."""
    if plan.fidelity != "rehearse":
        return verdict
    told = tuple(one for one in verdict.guards if one.guard.metric != SUCCESS or one.state == "broken")
    return msgspec.structs.replace(verdict, guards=told)


def _metric(comparison: Comparison, verdict: Verdict, *, exploratory: bool) -> MetricRow:
    adjusted = None if exploratory else verdict.adjusted_p.get(comparison.metric.name)
    return metric_row(comparison.main, comparison.metric, exploratory=exploratory, adjusted_p=adjusted)


def metric_row(estimate: Estimate, metric: Metric, *, exploratory: bool, adjusted_p: float | None = None) -> MetricRow:
    """An estimate as documents show it."""
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
    return GuardRow(
        _metric(result.comparison, verdict, exploratory=False), result.guard.margin, result.state, result.pairs_needed
    )


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


def _arm(arm: Arm, stored: StoredExperiment, seen: Iterable[Observation], cache: CacheRow | None) -> ArmRow:
    plan, done = stored.experiment.plan, stored.done
    baseline = plan.arms[0]
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
        agent=arm.agent or ("built-in" if plan.fidelity == "dispatch" else "oracle"),
        differs=differs,
        outcomes=len(mine),
        passed=passed,
        rate_low=interval.low if interval else None,
        rate_high=interval.high if interval else None,
        pass_any=_mean([pass_at_k(n, hits, plan.blocks) for n, hits in tries]),
        pass_all=_mean([pass_all_k(n, hits, plan.blocks) for n, hits in tries]),
        faults=len(faults),
        median_s=statistics.median(times) if times else None,
        cache=cache,
    )


def _point(stored: StoredExperiment, done: Done) -> PointRow:
    begun, record = done.begun, done.ended
    seen = observation_of(stored.experiment.plan, done)
    return PointRow(
        order=begun.order,
        block=begun.block,
        arm=begun.arm,
        task=begun.task,
        attempt=begun.attempt,
        run=done.load,
        dispatch_id=done.dispatch.started.dispatch_id,
        exit_status=record.exit_status,
        success=seen.success,
        score=seen.score,
        time_s=seen.time_s,
        measures=seen.measures,
        excluded=not is_outcome(record),
        doubts=tuple(doubt.guard.text for doubt in doubts_of(stored, done)),
    )


def _interrupted(stored: StoredExperiment) -> tuple[str, ...]:
    """Dispatches that have begun and not ended; while a process is at it, the last of them still runs."""
    unended = sum(not begun.warm_up for begun in stored.begun) - sum(not one.begun.warm_up for one in stored.done)
    last = stored.begun[-1] if stored.begun else None
    ended = stored.done[-1].begun if stored.done else None
    running = unended > 0 and stored.working and last is not None and not last.warm_up and last != ended
    killed = unended - running
    notes = [f"{killed} × dispatch that was killed before its end, and is done again"] if killed else []
    return (*notes, "a process is at work on it just now: this is not all of it") if stored.working else tuple(notes)


def _failures(done: Iterable[Done]) -> tuple[str, ...]:
    """What outcomes say of themselves that hardly is the model's doing, such as a program that could not run."""
    said = Counter(
        f"{one.begun.arm}: {one.ended.error.message}"
        for one in done
        if one.ended.error is not None and is_outcome(one.ended) and not one.begun.warm_up
    )
    return tuple(f"{n} × {text}" for text, n in said.most_common())


def _engine(target: str, build: str | None) -> str:
    return f"{target} ({build})" if build else target


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
