"""The anchor before a dispatch of an experiment: whether the machine still is what it was; waits where it is slower.

The reference is the middle of several anchors in a row, once for each target. What is slower than that is waited for,
and marked if it does not settle. What is faster is no reason to wait: it says that the reference was taken on a loaded
machine. The dispatches before it are marked, and it is the reference from then on. Starts no engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from harness.cli.opened_site import OpenedSite
from harness.experiment.plan import Plan
from harness.experiment.store import CellDoubt, CellWriter, StoredExperiment
from profiler.anchor import REFERENCE, measure_anchor, typical
from profiler.guards import Doubt, weighed_drift
from profiler.records import AnchorSample

__all__ = ["Anchors"]

AT_ONCE: Final = 3
"""Anchors that must all have drifted before it is believed: one of a small model takes milliseconds, and is noise."""


class Anchors:
    """Measures the anchors of one experiment, and compares each with the reference of its target."""

    def __init__(self, stored: StoredExperiment, sleep: Callable[[float], None]) -> None:
        """`stored` holds what was measured before: an experiment that is resumed keeps its references."""
        self._plan: Plan = stored.experiment.plan
        self._sleep = sleep
        self._reference = _references(stored)
        self._measured = 0
        self._patient = True

    def look(self, opened: OpenedSite, cells: CellWriter, number: int) -> None:
        """Measure it; where the machine is slower, wait and measure again, a few times. Raises StoreError."""
        key, pauses = opened.info.target, 0
        if key not in self._reference:
            self._reference[key] = typical([self.measure(opened, keep=True) for _ in range(REFERENCE)])
            return
        while (found := self._drifted(opened, key)) is not None:
            doubt, now = found
            if doubt.by > 0:
                cells.doubt(CellDoubt(number, doubt.guard.text, pauses, doubt.by, now, faster=True))
                self._reference[key] = now
                break
            if not self._patient or pauses == self._plan.pauses:
                # What did not settle now is not waited for again and again: only once it has been as before.
                self._patient = False
                cells.doubt(CellDoubt(number, doubt.guard.text, pauses, doubt.by, now))
                return
            pauses += 1
            print(f"dyno: {doubt.guard.text}; waiting {self._plan.pause_s:.0f} s", file=sys.stderr, flush=True)
            self._sleep(self._plan.pause_s)
        self._patient = True

    def measure(self, opened: OpenedSite, *, keep: bool) -> AnchorSample:
        """Measure one, and store it if it is to be kept."""
        engine = opened.engine
        assert engine is not None
        self._measured += 1
        sample = measure_anchor(engine, opened.ledger, f"{opened.path.name}-{self._measured}", opened.site.clock)
        if keep:
            opened.site.writer.anchor(sample)
        return sample

    def _drifted(self, opened: OpenedSite, key: str) -> tuple[Doubt, AnchorSample] | None:
        """What has drifted, slower before faster, and the middle of what was measured, if several in a row say so."""
        reference, samples = self._reference[key], list[AnchorSample]()
        for _ in range(AT_ONCE):
            samples.append(self.measure(opened, keep=True))
            if not weighed_drift((reference, samples[-1])):
                return None
        now = typical(samples)
        found = sorted(weighed_drift((reference, now)), key=lambda doubt: doubt.by)
        if not found:
            return None
        return (found[0] if found[0].by < 0 else found[-1]), now


def _references(stored: StoredExperiment) -> dict[str, AnchorSample]:
    """The reference of each target as an earlier sitting left it."""
    found: dict[str, AnchorSample] = {}
    for name, info in stored.loads.items():
        if first := stored.anchors[name][:REFERENCE]:
            found.setdefault(info.target, typical(first))
    for name, doubt in stored.faster:
        if doubt.anchor is not None:
            found[stored.loads[name].target] = doubt.anchor
    return found
