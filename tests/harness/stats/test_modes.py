from __future__ import annotations

import msgspec
import numpy as np
import pytest

from harness.stats import TIME_TO_SUCCESS, Metric, find_modes, pair_up
from harness.stats.modes import LEAST_FOR_MODES, largest_gap, threshold
from tests.harness.stats.experiments import Drawn, draw, observed


def flagged(drawn: Drawn) -> float:
    """In how many experiments the second arm's times, taken as `find_modes` takes them, are called bimodal."""
    trials, tasks, repeats = drawn.first.shape
    of_task = np.concatenate([drawn.first, drawn.second], axis=-1)
    least = np.sort(of_task, axis=-1)
    best = np.where(drawn.second == least[..., :1], least[..., 1:2], least[..., :1])
    gap, _ = largest_gap((drawn.second - best).reshape(trials, -1))
    return float((gap > threshold(tasks * repeats)).mean())


@pytest.mark.parametrize("n", [LEAST_FOR_MODES, 12, 20, 40])
def test_lognormal_times_are_called_bimodal_in_5_of_100_cases_at_most(n: int) -> None:
    gap, _ = largest_gap(np.random.default_rng(n).normal(size=(3000, n)))
    assert float((gap > threshold(n)).mean()) <= 0.05


@pytest.mark.parametrize(("tasks", "repeats"), [(6, 2), (12, 2), (6, 5)])
def test_so_are_those_of_tasks_that_differ(tasks: int, repeats: int) -> None:
    assert flagged(draw(3, 2000, tasks, repeats, 0.8)) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 10, 12, 16, 20, 30, 40, 60, 100, 200])
def test_lognormal_times_at_every_size(n: int) -> None:
    gap, _ = largest_gap(np.random.default_rng(n).normal(size=(20_000, n)))
    assert float((gap > threshold(n)).mean()) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "repeats"), [(6, 2), (10, 2), (12, 2), (12, 5), (20, 3)])
def test_tasks_that_differ_at_every_size(tasks: int, repeats: int) -> None:
    assert flagged(draw(3, 10_000, tasks, repeats, 0.8)) <= 0.05


def test_a_slow_mode_of_one_third_is_found() -> None:
    assert flagged(draw(3, 1000, 6, 2, slow=(0.33, 0.33))) > 0.4
    assert flagged(draw(3, 1000, 12, 2, slow=(0.33, 0.33))) > 0.7
    assert flagged(draw(3, 1000, 12, 5, slow=(0.0, 0.33))) > 0.95


def test_the_rates_of_both_arms_are_counted() -> None:
    drawn = draw(8, 1, 12, 3, slow=(0.0, 0.4))
    slow = int((drawn.second - drawn.first.mean(axis=-1, keepdims=True) > 0.7).sum())
    modes = find_modes(pair_up(observed(drawn), "A", "B").pairs, TIME_TO_SUCCESS)
    assert modes is not None
    assert modes.arm == "B"
    assert modes.apart == pytest.approx(3.5, rel=0.15)
    assert {rate.arm: (rate.slow, rate.n) for rate in modes.rates} == {"A": (0, 36), "B": (slow, 36)}
    assert modes.p < 0.01


def test_of_a_rate_the_low_group_is_the_slow_one() -> None:
    seen = observed(draw(8, 1, 12, 3, slow=(0.0, 0.4)))
    rates = Metric("decode_tokens_per_s", "ratio", "higher")
    turned = [msgspec.structs.replace(each, measures={rates.name: 1000 / (each.time_s or 1)}) for each in seen]
    there = find_modes(pair_up(seen, "A", "B").pairs, TIME_TO_SUCCESS)
    back = find_modes(pair_up(turned, "A", "B").pairs, rates)
    assert there is not None
    assert back is not None
    assert back.rates == there.rates


def test_too_few_values_show_no_groups() -> None:
    with pytest.raises(ValueError, match="bring 8"):
        largest_gap(np.arange(7.0))
    assert find_modes(pair_up(observed(draw(1, 1, 3, 2, slow=(0.3, 0.3))), "A", "B").pairs, TIME_TO_SUCCESS) is None


def test_equal_values_are_one_group() -> None:
    gap, _ = largest_gap(np.full(12, 3.3))
    assert float(gap) == 0
