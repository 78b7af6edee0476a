from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.stats import detectable_ratio, detectable_success, more_needed, power_of_ratio, power_of_success
from harness.stats.base import Estimate
from harness.stats.locations import student
from harness.stats.power import power_of_effect
from harness.stats.power_tables import ratio_table, success_table
from harness.stats.success import mcnemar_p
from tests.harness.stats.experiments import draw

DOCUMENT = Path(__file__).parents[3] / "docs" / "statistics.md"
REGENERATE = "DYNO_REGENERATE" in os.environ  # read before the tests clear the environment
TABLES = {"power of ratios": ratio_table, "power of rates of success": success_table}


@pytest.mark.parametrize(
    ("tasks", "repeats", "power"), [(3, 5, 0.55), (6, 1, 0.83), (6, 2, 0.94), (10, 1, 0.98)]
)  # fmt: skip
def test_power_is_what_was_simulated_before(tasks: int, repeats: int, power: float) -> None:
    assert power_of_ratio(tasks, repeats, 0.75) == pytest.approx(power, abs=0.015)


@pytest.mark.parametrize(("effect", "tasks"), [(0.5, 3), (1.0, 6), (2.0, 6), (2.0, 20), (0.0, 4)])
def test_power_is_that_of_the_noncentral_t(effect: float, tasks: int) -> None:
    limit = stats.t.ppf(0.975, tasks - 1)
    exact = stats.nct.sf(limit, tasks - 1, effect) + stats.nct.cdf(-limit, tasks - 1, effect)
    assert power_of_effect(effect, 1.0, tasks) == pytest.approx(exact, abs=2e-3)


def test_power_is_that_of_drawn_experiments() -> None:
    p = student(draw(21, 3000, 6, 2, 0.8).by_task, 0.95).p
    assert float((p <= 0.05).mean()) == pytest.approx(power_of_ratio(6, 2, 0.8), abs=0.025)


def test_of_rates_too() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random((600, 20)) < 0.3, rng.random((600, 20)) < 0.8
    won, lost = (second & ~first).sum(axis=-1), (first & ~second).sum(axis=-1)
    found = np.mean([mcnemar_p(int(less), int(more)) <= 0.05 for less, more in zip(lost, won, strict=True)])
    assert float(found) == pytest.approx(power_of_success(20, 0.3, 0.8), abs=0.05)


def test_without_a_difference_mcnemar_finds_one_in_5_of_100_cases_at_most() -> None:
    assert max(power_of_success(pairs, rate, rate) for pairs in (6, 12, 40) for rate in (0.1, 0.5, 0.9)) <= 0.05


def test_what_is_detectable_is_detected_with_80_percent() -> None:
    ratio = detectable_ratio(6, 2)
    assert ratio is not None
    assert power_of_ratio(6, 2, ratio) == pytest.approx(0.8, abs=1e-3)
    rate = detectable_success(40, 0.5)
    assert rate is not None
    assert power_of_success(40, 0.5, rate) == pytest.approx(0.8, abs=1e-3)
    assert detectable_success(6, 0.5) is None
    assert detectable_ratio(1, 20) is None


def test_a_plan_has_something_in_it() -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        power_of_ratio(0, 2, 0.75)


def estimate(tasks: int, repeats: int, spread: float, within: float | None) -> Estimate:
    return Estimate(
        metric="m", scale="ratio", method="t", pairs=tasks * repeats, tasks=tasks, spread=spread, within=within
    )


def test_more_blocks_help_where_dispatches_differ() -> None:
    """All the spread is the dispatches' own, 0.2 a pair: 2 repeats leave 0.14 a task, and more leave less."""
    more = more_needed(estimate(6, 2, 0.1414, 0.2), -0.12, 0.0953)
    assert more.blocks is not None
    assert 1 <= more.blocks <= 6
    enough = power_of_effect(0.12, 0.2 / np.sqrt(6 * (2 + more.blocks)), 6)
    assert enough >= 0.8 > power_of_effect(0.12, 0.2 / np.sqrt(6 * (1 + more.blocks)), 6)


def test_more_blocks_do_not_help_where_tasks_differ() -> None:
    more = more_needed(estimate(6, 2, 0.3, 0.02), -0.1, 0.0953)
    assert more.blocks is None
    assert more.tasks is not None


def test_without_repeats_nobody_knows_what_they_would_bring() -> None:
    assert more_needed(estimate(6, 1, 0.2, None), -0.1, 0.0953).blocks is None


def test_the_tables_of_the_document_are_current() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    current = text
    for name, table in TABLES.items():
        before, begin, rest = current.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert begin, f"docs/statistics.md has no place for the {name}"
        assert end, f"docs/statistics.md does not end the {name}"
        current = f"{before}{begin}\n{table()}\n{end}{after}"
    if REGENERATE and current != text:
        DOCUMENT.write_text(current, encoding="utf-8")
        pytest.fail("docs/statistics.md was written anew: look at the difference and run again")
    assert current == text, "run with DYNO_REGENERATE=1"
