"""Settings that optuna proposes over mixed levels, from what was measured: where a space cannot be ranked whole.

Optuna is asked and told and runs nothing itself. It is an extra; without it `Missing` says how it is had, and the
caller draws from the screened grid instead.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

from harness.tune.space import Point, Space

__all__ = ["Missing", "propose"]

_ASKED = 4
"""Asked so many times as often as points are wanted: several proposals are one setting, or cannot be run."""


class Missing(Exception):
    """Optuna is not installed. The text says how it is had."""


def propose(space: Space, costs: Mapping[Point, float], number: int, seed: int) -> tuple[Point, ...]:
    """At most so many points that can be run and were not measured, the earliest proposals first.

    Args:
        space: the space.
        costs: what was measured, by point; less is better.
        number: how many are wanted.
        seed: of the sampler.

    Raises:
        Missing: optuna is not installed.
    """
    try:
        optuna: Any = importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise Missing("optuna is not installed: pip install 'llmdyno[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    levels = {lever.name: optuna.distributions.CategoricalDistribution(lever.levels) for lever in space.levers}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Levers act together, and proposals are taken before any of them is measured.
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=1)
        study = optuna.create_study(direction="minimize", sampler=sampler)
        for point, cost in costs.items():
            study.add_trial(
                optuna.trial.create_trial(params=space.values(point), distributions=levels, value=float(cost))
            )
        found: dict[Point, None] = {}
        for _ in range(_ASKED * number):
            params = study.ask(levels).params
            point = tuple(params[lever.name] for lever in space.levers)
            if space.why_not(point) is None and space.canonical(point) not in costs:
                found.setdefault(space.canonical(point))
            if len(found) == number:
                break
    return tuple(found)
