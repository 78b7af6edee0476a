"""Main effects are those that were put in, and their intervals hold them as often as they say."""

from __future__ import annotations

import math
import random

import pytest

from harness.tune.design import screening_rows
from harness.tune.effects import effects_of
from harness.tune.space import Lever, Point

LEVERS = tuple(Lever(name, ("-", "+")) for name in "ABCDEFG")
TRUE = {"A": 0.4, "B": -0.2, "C": 0.1}


def runs(*, fold: bool) -> tuple[Point, ...]:
    return tuple(tuple("+" if sign > 0 else "-" for sign in row) for row in screening_rows(7, fold=fold))


def cost(point: Point, chance: random.Random, noise: float) -> float:
    sign = {lever.name: 1 if level == "+" else -1 for lever, level in zip(LEVERS, point, strict=True)}
    together = 0.3 * sign["A"] * sign["B"]
    return sum(effect / 2 * sign[name] for name, effect in TRUE.items()) + together + chance.gauss(0, noise)


@pytest.mark.parametrize("tasks", [1, 2])
def test_without_noise_the_effects_are_exact_though_two_levers_act_together(tasks: int) -> None:
    points = runs(fold=True)
    costs = {(point, f"t{t}"): cost(point, random.Random(0), 0) + t for point in points for t in range(tasks)}
    for effect in effects_of(LEVERS, points, costs):
        assert effect.value == pytest.approx(TRUE.get(effect.lever, 0.0), abs=1e-9)


def test_without_a_fold_over_a_pair_passes_for_a_main_effect() -> None:
    points = runs(fold=False)
    costs = {(point, "t"): cost(point, random.Random(0), 0) for point in points}
    wrong = [e for e in effects_of(LEVERS, points, costs) if abs((e.value or 0) - TRUE.get(e.lever, 0)) > 0.5]
    assert len(wrong) == 1


def test_intervals_hold_what_is_true() -> None:
    points, chance = runs(fold=True), random.Random(5)
    held = wanted = 0
    for _ in range(60):
        costs = {(point, task): cost(point, chance, 0.1) for point in points for task in ("t1", "t2")}
        for effect in effects_of(LEVERS, points, costs):
            assert effect.low is not None
            assert effect.high is not None
            held += effect.low <= TRUE.get(effect.lever, 0.0) <= effect.high
            wanted += 1
    assert 0.92 <= held / wanted <= 0.98


def test_the_better_level_is_named_only_where_the_interval_shows_it() -> None:
    points, chance = runs(fold=True), random.Random(2)
    costs = {(point, task): cost(point, chance, 0.01) for point in points for task in ("t1", "t2")}
    better = {effect.lever: effect.better for effect in effects_of(LEVERS, points, costs)}
    assert (better["A"], better["B"], better["C"]) == ("-", "+", "-")


def test_a_lever_that_never_changed_cannot_be_told() -> None:
    points = tuple(point for point in runs(fold=True) if point[0] == "+")
    effect = effects_of(LEVERS, points, {(point, "t"): math.pi for point in points})[0]
    assert (effect.value, effect.low, effect.better) == (None, None, None)
