"""The verdict of an experiment that was looked at after every pair: by the e-value, and by nothing else. Pure.

Intervals and p for a fixed number of dispatches are too sure where the data decided how many there are. The word then
comes from the e-value and its intervals, which hold at every look at once; a guard can still forbid a «better», but its
interval, being one of the others, proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.experiment.plan import Plan
from harness.experiment.stopping import alpha_of, decided_by, sequential_of
from harness.experiment.store import Decision
from harness.stats import Interval, Observation, Sequential, Verdict, Word
from profiler.ab_document import SequentialRow

__all__ = ["EarlyVerdict", "early_verdict"]


class EarlyVerdict(NamedTuple):
    """The word, the sentence, why, and the test as it stands."""

    word: Word
    sentence: str
    reasons: tuple[str, ...]
    row: SequentialRow


def early_verdict(
    plan: Plan, seen: Sequence[Observation], verdict: Verdict, decisions: Sequence[Decision]
) -> EarlyVerdict | None:
    """What is said of a treatment where the plan declares early stopping; `None` where it does not.

    `verdict` is the one for a fixed number of dispatches, of which the guards are taken.
    """
    if not plan.stop_early:
        return None
    found = sequential_of(plan, seen, verdict.treatment)
    # What was written when it was decided goes before: a record that was lost since does not undo it.
    decision = next((one for one in (*decisions, *decided_by(plan, seen)) if one.treatment == verdict.treatment), None)
    against = [each.guard.metric.name for each in verdict.guards if each.state == "broken"]
    word = _word(found.ratio, plan.margin, decision)
    reasons = tuple(f"guard {each.guard.metric.name} {each.state}" for each in verdict.guards if each.state != "held")
    if against and word in ("better", "equivalent"):
        word = "cannot tell"
    row = _row(plan, found, decision)
    return EarlyVerdict(word, _sentence(plan, verdict, word, row, against), reasons, row)


def _word(ratio: Interval, margin: float, decision: Decision | None) -> Word:
    if ratio.low is not None and ratio.high is not None and 1 / (1 + margin) < ratio.low <= ratio.high < 1 + margin:
        return "equivalent"
    if decision is None:
        return "cannot tell"
    return "better" if decision.better else "worse"


def _sentence(plan: Plan, verdict: Verdict, word: Word, row: SequentialRow, against: Sequence[str]) -> str:
    arm, other = verdict.treatment, verdict.baseline
    judged = {
        "better": f"{arm} is better than {other}",
        "worse": f"{arm} is worse than {other}",
        "equivalent": f"{arm} is equivalent to {other} within {plan.margin * 100:.3g} %",
        "cannot tell": f"cannot tell {arm} from {other}",
    }[word]
    ended = "" if row.decided_pairs is None else f"; decided after {row.decided_pairs} of {row.planned_pairs} pairs"
    guards = "".join(f" Against it: the guard {name} is broken." for name in against)
    return f"{judged}: {verdict.declaration.primary.name} {row.text}{ended}.{guards}"


def _row(plan: Plan, found: Sequential, decision: Decision | None) -> SequentialRow:
    alpha = alpha_of(plan)
    pairs = found.won + found.lost + found.tied
    confidence = f"{(1 - alpha) * 100:.4g} %"
    ratio = f"ratio of a typical pair {_span(found.ratio)}"
    wins = f"better in {found.won} of {found.won + found.lost} pairs that tell the arms apart"
    return SequentialRow(
        pairs=pairs,
        planned_pairs=len(plan.tasks) * plan.blocks,
        won=found.won,
        lost=found.lost,
        tied=found.tied,
        e_value=found.e_value,
        decides_at=1 / alpha,
        decided_pairs=decision.pairs if decision else None,
        decided_order=decision.order if decision else None,
        confidence=1 - alpha,
        win_low=found.win_rate.low,
        win_high=found.win_rate.high,
        ratio_low=found.ratio.low,
        ratio_high=found.ratio.high,
        text=f"{wins} (E = {found.e_value:.3g}, decided at {1 / alpha:.3g}); {ratio} ({confidence} at every look, "
        f"{pairs} pairs, {len(plan.tasks)} tasks; signs)",
    )


def _span(ratio: Interval) -> str:
    low, high = (f"{bound:.3g}" if bound is not None else "no bound" for bound in (ratio.low, ratio.high))
    return f"× [{low} … {high}]"
