"""From what is known of each candidate to one recommendation, or to what would have to be run. Pure.

What the user cannot have goes first (`need`), then what another one beats (`dominance`). The rest is ordered by what it
does: KLD sets aside the damaged ones, verified tasks decide, speed and memory break ties (`tiers`). So neither the
order of the candidates nor a further one that is beaten changes the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from harness.quant import next_step
from harness.quant.base import CandidateResult, Wanted
from harness.quant.call_evidence import flips_text
from harness.quant.damage import NEAR_LOSSLESS, THRESHOLDS_TEXT, band_of
from harness.quant.dominance import dominators
from harness.quant.figures import Figures, figures_of
from harness.quant.need import Excluded, excluded_by_need
from harness.quant.reasons import cost_of, details_of, doubts_of, headline, listed
from harness.quant.recommendation import Answer, Judged, Recommendation
from harness.quant.task_evidence import TaskEvidence, baseline_of, compare_tasks
from harness.quant.tiers import Tier, is_measured, ordered, tiers_of, unstable_against

__all__ = ["recommend"]

_REFERENCE_BITS = 8.0
"""Bits per weight from which a file is a reference for the others (Q8_0 has 8.5)."""


class _Field(NamedTuple):
    """The candidates that can be had, and those of them that nothing beats, with all that was found of them."""

    eligible: tuple[CandidateResult, ...]
    front: tuple[CandidateResult, ...]
    figures: dict[str, Figures]
    beaten: dict[str, str]
    evidence: dict[str, TaskEvidence]
    tiers: dict[str, Tier]
    order: tuple[str, ...]

    def named(self, name: str) -> CandidateResult:
        return next(one for one in self.eligible if one.candidate.name == name)


def recommend(results: Sequence[CandidateResult], wanted: Wanted, *, rehearsed: bool = False) -> Recommendation:
    """The recommendation. `rehearsed`: the tasks were played from a script, so that their outcome says nothing.

    Raises:
        ValueError: two candidates have one name, or one has two results of one task and repeat.
    """
    candidates = sorted(results, key=lambda one: one.candidate.name)
    names = [one.candidate.name for one in candidates]
    if len(set(names)) < len(names):
        raise ValueError(f"two candidates have one name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    if rehearsed:
        candidates = [_without_outcomes(one) for one in candidates]
    excluded = tuple(out for one in candidates if (out := excluded_by_need(one, wanted)) is not None)
    left_out = {out.name for out in excluded}
    eligible = tuple(one for one in candidates if one.candidate.name not in left_out)
    if not eligible:
        return _none(candidates, excluded, wanted)
    return _answer(_field(eligible, wanted), excluded, wanted)


def _field(eligible: tuple[CandidateResult, ...], wanted: Wanted) -> _Field:
    figures = {one.candidate.name: figures_of(one, wanted) for one in eligible}
    beaten = dominators(figures)
    front = tuple(one for one in eligible if one.candidate.name not in beaten)
    own = {one.candidate.name: figures[one.candidate.name] for one in front}
    evidence = compare_tasks(front)
    baseline = baseline_of(front)
    tiers = tiers_of(front, own, evidence, baseline.candidate.name if baseline else None)
    return _Field(eligible, front, figures, beaten, evidence, tiers, ordered(front, own, tiers))


def _answer(field: _Field, excluded: tuple[Excluded, ...], wanted: Wanted) -> Recommendation:
    chosen = field.named(field.order[0])
    name, tier = field.order[0], field.tiers[field.order[0]]
    ties = _ties(chosen, field)
    answer, run, before = _decided(chosen, field, wanted)
    runner_up = field.named(field.order[1]) if len(field.order) > 1 else None
    unmeasured = [one.candidate.name for one in field.eligible if not is_measured(one)]
    doubts = list(doubts_of(chosen, tier, wanted, len(field.front) - 1 + len(field.beaten)))
    if answer == "recommended" and run is not None:
        doubts.append(f"no tasks were compared: whether a smaller one than {name} does as well is not known")
    if answer != "predicted" and unmeasured:
        doubts.append(f"not measured yet: {listed(unmeasured)}")
    if any(one.quality is not None for one in field.eligible):
        doubts.append(THRESHOLDS_TEXT)
    return Recommendation(
        answer=answer,
        chosen=None if answer == "none" else name,
        reason=f"{before}{name}: {headline(chosen, ties, field.figures)}",
        details=details_of(chosen, ties, field.figures, field.evidence.get(name), field.tiers),
        runner_up=runner_up.candidate.name if runner_up else None,
        runner_up_cost=cost_of(runner_up, chosen, field.figures) if runner_up else None,
        run=run,
        judged=tuple(_judged(one, field) for one in field.eligible),
        excluded=excluded,
        doubts=tuple(doubts),
    )


def _decided(chosen: CandidateResult, field: _Field, wanted: Wanted) -> tuple[Answer, str | None, str]:
    """The answer, what to run next, and the words before the reason."""
    tier, front = field.tiers[chosen.candidate.name], field.front
    if not is_measured(chosen):
        return "predicted", next_step.command_line(field.eligible, wanted), "nothing was measured: "
    if tier.damaged:
        return "none", None, "every candidate that can be had is damaged, the least is "
    if len(front) == 1:
        only = "" if field.beaten else "the only one that can be had: "
        return "recommended", None, only
    if chosen.quality is None and (tier.unproven or not _vouched(chosen, field)):
        # Where a good reference was there, it was not for want of one that no quality was measured: tasks can tell.
        has_reference = max(one.candidate.model.bits_per_weight for one in field.eligible) >= _REFERENCE_BITS
        run = (next_step.with_tasks if has_reference else next_step.with_reference)(front, wanted)
        return "cannot tell", run, "no quality was measured. In the lead is "
    if tier.unproven:
        return "cannot tell", next_step.with_tasks(front, wanted), "tasks would have to tell. In the lead is "
    if tier.tasks == 2:
        repeats = {task.repeat for one in front if one.measured for task in one.measured.tasks}
        run = next_step.with_more_rounds(front, wanted, 2 * max(1, len(repeats)))
        return "cannot tell", run, "tasks suggest a loss that they do not show. In the lead is "
    worse = [one for one in front if band_of(one.quality) in {"check", "visible"}]
    if worse and not field.evidence:
        return "recommended", next_step.with_tasks([chosen, *worse], wanted), ""
    return "recommended", None, ""


def _vouched(chosen: CandidateResult, field: _Field) -> bool:
    """Whether tasks speak for a candidate without a KLD: better, held, or what the others are held against."""
    own = field.evidence.get(chosen.candidate.name)
    if own is not None:
        return own.state in {"better", "held"}
    return any(one.baseline == chosen.candidate.name for one in field.evidence.values())


def _ties(chosen: CandidateResult, field: _Field) -> list[str]:
    """The others that KLD does not tell from the chosen one, the least compressed first."""
    if band_of(chosen.quality) not in NEAR_LOSSLESS:
        return []
    others = [one for one in field.eligible if one is not chosen and band_of(one.quality) in NEAR_LOSSLESS]
    others.sort(key=lambda one: (-one.candidate.model.bits_per_weight, one.candidate.name))
    return [one.candidate.name for one in others]


def _judged(one: CandidateResult, field: _Field) -> Judged:
    name = one.candidate.name
    near_lossless = [each for each in field.eligible if band_of(each.quality) in NEAR_LOSSLESS]
    notes = [flips_text(one.flips)] if one.flips is not None else []
    return Judged(
        name=name,
        place=field.order.index(name) + 1 if name in field.order else None,
        band=band_of(one.quality),
        tie=one in near_lossless and len(near_lossless) > 1,
        figures=field.figures[name],
        beaten_by=field.beaten.get(name),
        tasks=field.evidence.get(name),
        unstable_against=unstable_against(name, field.figures),
        notes=tuple(notes),
    )


def _none(candidates: Sequence[CandidateResult], excluded: tuple[Excluded, ...], wanted: Wanted) -> Recommendation:
    """None can be had: which reason is the commonest, and what to ask for instead."""
    reasons = [out.why for out in excluded]
    counts = ", ".join(f"{reasons.count(why)} {why}" for why in dict.fromkeys(reasons))
    unfit = [one for one, out in zip(candidates, excluded, strict=True) if out.why == "does not fit"]
    reason = f"none of {len(candidates)} can be had: {counts}" if candidates else "there is no candidate"
    return Recommendation(
        answer="none",
        chosen=None,
        reason=reason,
        runner_up=None,
        runner_up_cost=None,
        run=next_step.with_less_need(unfit, wanted) if unfit else None,
        judged=(),
        excluded=excluded,
    )


def _without_outcomes(result: CandidateResult) -> CandidateResult:
    if result.measured is None:
        return result
    tasks = tuple(msgspec.structs.replace(task, success=None, score=None) for task in result.measured.tasks)
    return msgspec.structs.replace(result, measured=msgspec.structs.replace(result.measured, tasks=tasks))
