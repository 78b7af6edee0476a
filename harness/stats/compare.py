"""Two arms on one metric, by the method that its kind asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.stats.base import Comparison, Estimate, Metric, Observation
from harness.stats.differences import compare_difference
from harness.stats.pairing import pair_up
from harness.stats.ratios import compare_ratio, log_ratios
from harness.stats.success import compare_success
from harness.stats.survival import log_rank_p, restricted_mean_difference
from harness.stats.wins import compare_wins

__all__ = ["compare", "effect_of", "favours"]


def compare(
    observations: Iterable[Observation], baseline: str, treatment: str, metric: Metric, confidence: float = 0.95
) -> Comparison:
    """The treatment against the baseline, paired by task and block.

    Raises:
        ValueError: an arm has two outcomes of one task in one block.
    """
    seen = tuple(observations)
    paired = pair_up(seen, baseline, treatment)
    cut_off: Estimate | None = None
    if metric.kind == "success":
        main, beside = compare_success(paired, metric, confidence)
    elif metric.kind in {"score", "difference"}:
        main, beside = compare_difference(paired, metric, confidence)
    else:
        ratios, even, without = log_ratios(paired.pairs, metric)
        notes = (*paired.notes, *without)
        if all(ratio.whole for ratio in ratios):
            main, beside = compare_ratio(ratios, metric, confidence, notes)
        else:
            main, beside = compare_wins(ratios, even, metric, confidence, notes)
            cut_off = beside[0]
    if metric.kind == "time to success":
        beside = (*beside, restricted_mean_difference(paired, confidence), _log_rank(seen, baseline, treatment, main))
    return Comparison(metric=metric, baseline=baseline, treatment=treatment, main=main, cut_off=cut_off, beside=beside)


def effect_of(estimate: Estimate) -> float | None:
    """The estimate as a number that is 0 where there is no difference: of a ratio the logarithm."""
    if estimate.value is None or estimate.scale != "ratio":
        return estimate.value
    return math.log(estimate.value)


def favours(metric: Metric, estimate: Estimate, effect: float) -> bool:
    """Whether an effect other than 0 is one for the better."""
    if estimate.scale == "net wins":
        return effect > 0
    return effect < 0 if metric.better == "lower" else effect > 0


def _log_rank(seen: tuple[Observation, ...], baseline: str, treatment: str, main: Estimate) -> Estimate:
    p = log_rank_p(seen, baseline, treatment)
    note = "takes no notice of the tasks" if p is not None else "no success to compare"
    return Estimate(
        metric=main.metric, scale="ratio", method="log-rank", p=p, pairs=main.pairs, tasks=main.tasks, notes=(note,)
    )
