"""One line for each reason to doubt times, with how many dispatches it concerns and where it was worst."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.experiment.blocks import cells_of
from harness.experiment.doubts import doubt_rows
from harness.experiment.store import CellDoubt, Experiment, StoredExperiment
from profiler.records import GuardSample
from tests.harness.experiment.plans import S, done, plan, record


def test_a_reason_is_told_once_with_its_worst_figure() -> None:
    made = plan(blocks=1)
    results = [done(cell, record()) for cell in cells_of(made)]
    began_ns = results[0].dispatch.started.started_ns
    for number, (share, change) in enumerate([(0.3, -0.2), (0.8, -0.5), (0.5, None)]):
        busy = GuardSample(began_ns + S, S, share, None, None, None, 0)
        doubts = () if change is None else (CellDoubt(number + 1, f"slower by {change}", 3, change),)
        results[number] = msgspec.structs.replace(results[number], guards=(busy,), doubts=doubts)
    results[3] = msgspec.structs.replace(results[0], begun=msgspec.structs.replace(results[0].begun, warm_up=True))
    stored = StoredExperiment(Path("runs/x"), Experiment("x", "ab", 0, made), (), tuple(results), {})
    foreign, drifted = doubt_rows(stored)
    assert (foreign.code, foreign.dispatches) == ("foreign_cpu", 3)
    assert foreign.worst.startswith("other processes used 80% of all cores")
    assert (drifted.code, drifted.dispatches, drifted.worst) == ("drift", 2, "slower by -0.5")
