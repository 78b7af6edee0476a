"""The tables of power in docs/statistics.md, as they follow from `harness.stats.power`."""

from __future__ import annotations

from typing import Final

from harness.stats.power import (
    EFFECT_SD,
    WITHIN_CV,
    detectable_ratio,
    detectable_success,
    power_of_ratio,
    power_of_success,
)

__all__ = ["ratio_table", "success_table"]

_PLANS: Final = ((3, 2), (3, 5), (6, 1), (6, 2), (6, 4), (8, 2), (10, 1), (10, 2), (12, 2), (20, 2))
_RATIOS: Final = (0.9, 0.8, 0.75, 0.5)
_PAIRS: Final = (6, 12, 20, 24, 40, 80, 160)
_RATES: Final = ((0.5, 0.8), (0.3, 0.8), (0.2, 0.9), (0.6, 0.75), (0.8, 0.9))


def ratio_table(within_cv: float = WITHIN_CV, effect_sd: float = EFFECT_SD) -> str:
    """Power for ratios by plan, and the ratio that is found with 80 %; in Markdown."""
    rows = [
        [
            f"{tasks} × {repeats}",
            *(f"{power_of_ratio(tasks, repeats, ratio, within_cv, effect_sd):.2f}" for ratio in _RATIOS),
            _figure(detectable_ratio(tasks, repeats, within_cv, effect_sd)),
        ]
        for tasks, repeats in _PLANS
    ]
    return _markdown(["tasks × repeats", *(f"× {ratio}" for ratio in _RATIOS), "80 % at ×"], rows)


def success_table() -> str:
    """Power for rates of success by pairs, and the rate that is told from 0.5 with 80 %; in Markdown."""
    rows = [
        [
            f"{pairs}",
            *(f"{power_of_success(pairs, before, after):.2f}" for before, after in _RATES),
            _figure(detectable_success(pairs, 0.5)),
        ]
        for pairs in _PAIRS
    ]
    return _markdown(["pairs", *(f"{before} → {after}" for before, after in _RATES), "0.5 → with 80 %"], rows)


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
