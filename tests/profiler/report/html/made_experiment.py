"""An experiment that nobody ran: three arms, six tasks, one arm a third faster and one as fast as the baseline."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.experiment.blocks import cells_of
from harness.experiment.document import document_of
from harness.experiment.pricing import Told
from harness.experiment.store import CellDoubt, Experiment, StoredExperiment
from profiler.ab_document import AbDocument
from tests.harness.experiment.plans import done, plan, record

SECONDS = {"A": 10.0, "B": 6.6, "C": 10.1}


def made_experiment(text: str = "two against one") -> AbDocument:
    """Its document; `text` is its title, and what disturbed its first dispatch."""
    made = msgspec.structs.replace(plan(3, blocks=2), title=text)
    results = [done(cell, record(SECONDS[cell.arm] * (1 + cell.order % 5 / 100))) for cell in cells_of(made)]
    results[0] = msgspec.structs.replace(results[0], doubts=(CellDoubt(1, text, 3),))
    begun = tuple(one.begun for one in results)
    return document_of(
        StoredExperiment(Path("runs/made"), Experiment("made", "ab", 0, made), begun, tuple(results), {}), Told({}, {})
    )
