"""From a tuning, finished or not, to its document. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from harness.experiment.document import metric_row
from harness.stats import Verdict, sentence
from harness.stats.compare import effect_of, favours
from harness.tune.choosing import decided_by_dispatch
from harness.tune.costs import is_ratio
from harness.tune.design import aliases, pair_aliases, screening_rows
from harness.tune.document import ConfirmRow, EffectRow, LeverRow, RaceRow, StageRow, TuneDocument
from harness.tune.effects import Effect
from harness.tune.space import MOST_LISTED
from harness.tune.tuning import Tuning

__all__ = ["document_of"]

_MOST_GROUPS = 12


def document_of(tuning: Tuning, tuning_id: str, file: str | None) -> TuneDocument:
    """The document; `file` is where the chosen setting was written."""
    plan, space = tuning.plan, tuning.plan.space
    size = tuning.screening if tuning.effects else None
    names = [lever.name for lever in space.levers]
    design = screening_rows(len(names), fold=size.fold) if size else None
    mixed = aliases(design, names) if design is not None else {}
    groups = pair_aliases(design, names) if design is not None else ()
    return TuneDocument(
        tuning=tuning_id,
        title=plan.title,
        status="complete" if tuning.finished else "partial",
        verdict=_verdict(tuning),
        chosen=plan.name if tuning.chosen else None,
        file=file,
        target=plan.target,
        setting=space.setting_name,
        fidelity=plan.fidelity,
        primary=plan.primary,
        guards=plan.guards,
        margin=plan.margin,
        seed=plan.seed,
        combinations=space.combinations,
        settings=len(space.points()) if space.combinations <= MOST_LISTED else None,
        simulated=len(tuning.tokens) + len(tuning.refused),
        refused={space.label(point): why for point, why in tuning.refused.items()},
        budget_s=plan.budget_s,
        spent_s=tuning.spent_s,
        dispatches=tuning.dispatches,
        tasks=tuple(task.name for task in plan.tasks),
        held_out=tuple(task.name for task in plan.held_out),
        levers=tuple(_levers(tuning)),
        screening=_screening(tuning),
        effects=tuple(_effect(tuning, effect, mixed.get(effect.lever, ())) for effect in tuning.effects),
        pairs_mixed=groups[:_MOST_GROUPS],
        race=tuple(_race(tuning)),
        confirmed=_confirmed(tuning),
        stages=tuple(
            StageRow(stage.name, stage.fidelity, len(stage.points), len(stage.tasks), stage.blocks)
            for stage in tuning.stages
        ),
        notes=tuple(tuning.notes),
    )


def _verdict(tuning: Tuning) -> str:
    space = tuning.plan.space
    if tuning.chosen is not None and tuning.confirmed is not None:
        return f"a better setting: {space.label(tuning.chosen)}. {_said(tuning.confirmed)}"
    if not tuning.finished:
        return "not finished: what there is stands below, and --resume goes on"
    if tuning.confirmed is not None:
        return f"no better setting than {space.setting_name} was shown. {_said(tuning.confirmed)}"
    return f"no better setting than {space.setting_name}: nothing that was raced costs less"


def _said(verdict: Verdict) -> str:
    return f"On held-out tasks, {sentence(verdict)}"


def _levers(tuning: Tuning) -> Iterator[LeverRow]:
    space = tuning.plan.space
    by_dispatch = () if tuning.plan.fidelity == "rehearse" else decided_by_dispatch(space)
    chosen = space.values(tuning.chosen) if tuning.chosen else {}
    current = space.values(space.current)
    for lever in space.levers:
        by: Literal["rehearse", "dispatch"] = "dispatch" if lever.name in by_dispatch else "rehearse"
        yield LeverRow(lever.name, lever.levels, current[lever.name], by, chosen.get(lever.name))


def _screening(tuning: Tuning) -> str | None:
    size = tuning.screening
    if size is None:
        return None
    levers = len(tuning.plan.space.levers)
    design = (
        f"Plackett–Burman for {levers} levers, {len(tuning.screened) or size.runs} runs × {size.tasks} tasks, rehearsed"
    )
    if size.fold:
        return f"{design}; with its fold-over, so that main effects are free of what pairs of levers do"
    return f"{design}; without a fold-over: main effects are mixed with what pairs of levers do"


def _effect(tuning: Tuning, effect: Effect, mixed: tuple[str, ...]) -> EffectRow:
    ratio = is_ratio(tuning.plan.declared.primary)
    sign = 1.0 if tuning.plan.declared.primary.better == "lower" else -1.0
    bounds = [_scaled(None if bound is None else sign * bound, ratio) for bound in (effect.low, effect.high)]
    low, high = bounds if sign > 0 else reversed(bounds)
    value = _scaled(None if effect.value is None else sign * effect.value, ratio)
    return EffectRow(
        lever=effect.lever,
        low_level=effect.low_level,
        high_level=effect.high_level,
        scale="ratio" if ratio else "difference",
        value=value,
        low=low,
        high=high,
        p=effect.p,
        better=effect.better,
        mixed_with=mixed,
        text=_effect_text(effect, value, low, high, mixed, ratio=ratio),
    )


def _effect_text(
    effect: Effect, value: float | None, low: float | None, high: float | None, mixed: tuple[str, ...], *, ratio: bool
) -> str:
    change = f"{effect.low_level} → {effect.high_level}"
    if value is None:
        return f"{effect.lever}, {change}: cannot be told from the other levers here"
    span = "" if low is None or high is None else f" [{low:.3g} … {high:.3g}]"
    size = f"× {value:.3g}{span}" if ratio else f"{value:+.3g}{span}"
    better = f"{effect.better} is better" if effect.better else "no difference is shown"
    words = f"{effect.lever}, {change}: {size}; {better}"
    return f"{words}; mixed with {', '.join(mixed)}" if mixed else words


def _race(tuning: Tuning) -> Iterator[RaceRow]:
    metric = tuning.plan.declared.primary
    ratio, sign = is_ratio(metric), 1.0 if metric.better == "lower" else -1.0
    for number, (_, table) in enumerate(tuning.rungs, start=1):
        for one in table:
            yield RaceRow(
                number,
                one.arm,
                "ratio" if ratio else "difference",
                _scaled(None if one.cost is None else sign * one.cost, ratio),
                _scaled(None if one.believed is None else sign * one.believed, ratio),
                one.pairs,
                one.out,
            )


def _confirmed(tuning: Tuning) -> ConfirmRow | None:
    verdict = tuning.confirmed
    if verdict is None:
        return None
    metric = verdict.primary.metric
    raced = tuning.raced
    share, text = _shrinkage(raced, verdict)
    return ConfirmRow(
        setting=verdict.treatment,
        word=verdict.word,
        sentence=sentence(verdict),
        held_out=metric_row(verdict.primary.main, metric, exploratory=False),
        raced=metric_row(raced.primary.main, metric, exploratory=True) if raced is not None else None,
        guards=tuple(f"{one.guard.metric.name} {one.state}" for one in verdict.guards),
        shrinkage=share,
        shrinkage_text=text,
    )


def _shrinkage(raced: Verdict | None, held_out: Verdict) -> tuple[float | None, str]:
    if raced is None:
        return None, "not told: there was no race"
    before, after = raced.primary.main, held_out.primary.main
    first, second = effect_of(before), effect_of(after)
    if first is None or second is None or before.scale != after.scale:
        return None, "not told: the two are not on one scale"
    if not favours(raced.primary.metric, before, first):
        return None, "not told: there was no gain in the race"
    share = 1 - second / first
    if not math.isfinite(share):
        return None, "not told: there was no gain in the race"
    shown = [f"× {math.exp(one):.3g}" if before.scale == "ratio" else f"{one:+.3g}" for one in (first, second)]
    kept = f"{abs(share):.0%} of the gain was {'not found again' if share > 0 else 'found on top'}".replace("%", " %")
    return share, f"{shown[0]} in the race, {shown[1]} on held-out tasks: {kept}"


def _scaled(value: float | None, ratio: bool) -> float | None:
    return None if value is None else math.exp(value) if ratio else value
