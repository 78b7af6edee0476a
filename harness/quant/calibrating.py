"""Calibrate this machine: measure decode and prefill of some models that lie here, and fit a rate for each quant type.

Chooses the models, opens an engine on each in turn and measures (`depths`); the fit is `profiler.speed.calibration`.
Writes nothing. Guards are the caller's: doctor says whether the machine is quiet.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Final

import msgspec

from backends import open_engine
from backends.base import Engine, EngineError, Target
from harness.quant.base import RateAt, Wanted
from harness.quant.depths import DepthPlan, DepthSample, measure_depths, rates_at
from harness.quant.engines import engine_of, options_of
from profiler.model_file.base import ModelFile
from profiler.speed.base import SpeedPoint
from profiler.speed.calibration import SIZES_APART, Observation, fit_rates, observe
from profiler.speed.rates import TypeRate, main_type

__all__ = ["CALIBRATION", "CalibratedModel", "calibrate", "chosen", "target_of", "worth_calibrating"]

CALIBRATION: Final = DepthPlan(depths_tokens=(0, 1024), prefill_tokens=256, decode_tokens=48)
"""Modest: some 3,000 tokens of prefill a model, so a minute for one of 4 GB on a processor of a few cores."""
REPEATS: Final = 2
CONTEXT_TOKENS: Final = 2048
KV: Final = "f16"
MOST_MODELS: Final = 8
SHARE_OF_AVAILABLE: Final = 2
"""A model may take one part in so many of the memory that is free: what is swapped or read again is not measured."""
WORTH_BYTES: Final = 256 << 20
"""A rate from smaller models alone speaks for no model that people choose a quant of (`EXTRAPOLATED_TIMES`)."""


class CalibratedModel(msgspec.Struct, frozen=True):
    """What one model showed: its rates by depth, the engine with its settings in words, or why there are none."""

    model: ModelFile
    engine: str | None = None
    settings: str | None = None
    rates: tuple[RateAt, ...] = ()
    failed: str | None = None


def chosen(models: Iterable[ModelFile], available_bytes: int) -> tuple[ModelFile, ...]:
    """Of each quant type, dense or of experts, the largest that fits, and the smallest if it is half as large or less.

    Two sizes tell what a token costs beside its bytes. At most eight models, the largest first.
    """
    fitting = [
        model
        for model in models
        if model.active_bytes and main_type(model) and model.tensor_bytes <= available_bytes / SHARE_OF_AVAILABLE
    ]
    groups: dict[tuple[str | None, bool], list[ModelFile]] = {}
    for model in sorted(fitting, key=lambda model: -(model.active_bytes or 0)):
        groups.setdefault((main_type(model), bool(model.experts)), []).append(model)
    picked: list[ModelFile] = []
    for group in groups.values():
        largest, smallest = group[0], group[-1]
        picked.append(largest)
        if (largest.active_bytes or 0) >= SIZES_APART * (smallest.active_bytes or 0):
            picked.append(smallest)
    return tuple(sorted(picked, key=lambda model: -model.tensor_bytes)[:MOST_MODELS])


def worth_calibrating(rates: Iterable[TypeRate]) -> bool:
    """Whether any rate was measured with a model as large as those that people choose a quant of."""
    return any(rate.most_active_bytes >= WORTH_BYTES for rate in rates)


def target_of(model: ModelFile) -> Target:
    """The engine that agents would use for this model here, with little context.

    Raises:
        MissingExtra: none is installed that can run it.
    """
    engine = engine_of(model)
    options = options_of(engine, model, KV, Wanted(CONTEXT_TOKENS), {})
    return Target(engine=engine, model=str(model.path), options=options)


def calibrate(
    models: Sequence[ModelFile],
    *,
    measured_on: str,
    on_model: Callable[[int, int, ModelFile], None] | None = None,
    open_one: Callable[[Target], Engine] = open_engine,
    plan: DepthPlan = CALIBRATION,
) -> tuple[tuple[TypeRate, ...], tuple[CalibratedModel, ...]]:
    """The rates of this machine, and what they were fitted to; a model that fails is told and left out.

    `on_model` is called before each with its number from 1, the number of all, and the model.
    """
    shown: list[CalibratedModel] = []
    for number, model in enumerate(models, 1):
        if on_model is not None:
            on_model(number, len(models), model)
        shown.append(_measured(model, open_one, plan))
    rates: list[TypeRate] = []
    for engine, settings in dict.fromkeys((one.engine, one.settings) for one in shown if one.rates):
        seen = [
            observation
            for one in shown
            if (one.engine, one.settings) == (engine, settings)
            for observation in _observations(one)
        ]
        rates += fit_rates(seen, engine=engine, settings=settings, measured_on=measured_on)
    return tuple(rates), tuple(shown)


def _measured(model: ModelFile, open_one: Callable[[Target], Engine], plan: DepthPlan) -> CalibratedModel:
    try:
        target = target_of(model)
        with closing(open_one(target)) as engine:
            # Thrown away: it reads the file's pages from the disk.
            measure_depths(engine, msgspec.structs.replace(plan, depths_tokens=(0,)), "calibration warm-up")
            samples: list[DepthSample] = []
            for repeat in range(REPEATS):
                samples += measure_depths(engine, plan, f"calibration {repeat}")
            build, threads = engine.facts().build, target.options.get("threads")
    except EngineError as error:
        return CalibratedModel(model, failed=str(error))
    settings = ", ".join(part for part in (threads and f"threads={threads}", build) if part)
    return CalibratedModel(model, target.engine, settings or None, rates_at(samples))


def _observations(one: CalibratedModel) -> tuple[Observation, ...]:
    points = [
        SpeedPoint(
            rate.depth_tokens,
            statistics.median(rate.decode_tokens_per_s) if rate.decode_tokens_per_s else None,
            statistics.median(rate.prefill_tokens_per_s) if rate.prefill_tokens_per_s else None,
        )
        for rate in one.rates
    ]
    return observe(one.model, KV, points)
