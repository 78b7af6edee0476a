"""Statistics of an experiment: from observations to estimates with interval, n and method, and to a verdict.

`judge` is the whole of it for two arms; `compare` is one metric of it. What each figure means, and which method is used
when, is in docs/statistics.md. Functions of numbers: nothing here reads files or clocks, or knows engines and tasks.
"""

from __future__ import annotations

from harness.stats.attempts import attempts_by_task, pass_all_k, pass_at_k
from harness.stats.base import Comparison, Estimate, Interval, Kind, Metric, Observation, Pair
from harness.stats.compare import compare
from harness.stats.families import holm
from harness.stats.modes import Modes, find_modes
from harness.stats.order_effects import second_by_first, trend
from harness.stats.pairing import Paired, pair_up
from harness.stats.power import detectable_ratio, detectable_success, more_needed, power_of_ratio, power_of_success
from harness.stats.ratios import log_ratios
from harness.stats.sentences import describe, sentence
from harness.stats.sequential import Sequential, in_time, least_wins, look
from harness.stats.success import pairs_to_rule_out, rate_interval, success_rate
from harness.stats.survival import log_rank_p, median_time_s, restricted_mean_difference
from harness.stats.verdict import (
    SUCCESS,
    TIME_TO_SUCCESS,
    Declaration,
    Guard,
    GuardResult,
    GuardState,
    Verdict,
    Word,
    judge,
)

__all__ = [
    "SUCCESS",
    "TIME_TO_SUCCESS",
    "Comparison",
    "Declaration",
    "Estimate",
    "Guard",
    "GuardResult",
    "GuardState",
    "Interval",
    "Kind",
    "Metric",
    "Modes",
    "Observation",
    "Pair",
    "Paired",
    "Sequential",
    "Verdict",
    "Word",
    "attempts_by_task",
    "compare",
    "describe",
    "detectable_ratio",
    "detectable_success",
    "find_modes",
    "holm",
    "in_time",
    "judge",
    "least_wins",
    "log_rank_p",
    "log_ratios",
    "look",
    "median_time_s",
    "more_needed",
    "pair_up",
    "pairs_to_rule_out",
    "pass_all_k",
    "pass_at_k",
    "power_of_ratio",
    "power_of_success",
    "rate_interval",
    "restricted_mean_difference",
    "second_by_first",
    "sentence",
    "success_rate",
    "trend",
]
