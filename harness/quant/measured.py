"""From the steps that are stored to what is known of each candidate. Reads the runs of the loads; measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from harness.quant.base import Candidate, CandidateResult, Flips, Measured
from harness.quant.depths import rates_at
from harness.quant.flips import flips_of
from harness.quant.steps import (
    CacheFound,
    CallsFound,
    Loaded,
    QualityFound,
    RatesFound,
    StepDone,
    TaskDone,
)
from harness.quant.store import StoredComparison
from profiler.guards import drift, judge
from profiler.residency.summary import energy_j, summarise_residency
from profiler.store import StoredRun, read_run

__all__ = ["results_of"]

T = TypeVar("T")


class _Runs:
    """The runs of a comparison's loads, each read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: dict[str, StoredRun | None] = {}

    def of(self, load: str | None) -> StoredRun | None:
        if load is None:
            return None
        if load not in self._read:
            folder = self._path / load
            self._read[load] = read_run(folder) if (folder / "run.json").is_file() else None
        return self._read[load]


def results_of(stored: StoredComparison) -> tuple[CandidateResult, ...]:
    """All that is known of each candidate, in the plan's order.

    Raises:
        StoreError: the run of a load cannot be read.
    """
    plan, runs = stored.comparison.plan, _Runs(stored.path)
    reference = _calls(_of(stored.done, plan.choice.reference))
    return tuple(
        _result(stored, candidate, _of(stored.done, candidate), reference, runs) for candidate in plan.choice.candidates
    )


def _result(
    stored: StoredComparison,
    candidate: Candidate,
    done: Sequence[StepDone],
    reference: CallsFound | None,
    runs: _Runs,
) -> CandidateResult:
    failed = next((one.failed for one in done if one.failed and one.step.kind != "quality"), None)
    return CandidateResult(
        candidate=candidate,
        predicted=stored.comparison.predicted.get(candidate.name),
        measured=_measured(done, runs) if any(one.found for one in done) else None,
        quality=next((one.quality for one in _found(done, QualityFound)), None),
        flips=_flips(reference, _calls(done)) if candidate != stored.comparison.plan.choice.reference else None,
        failed=failed,
    )


def _flips(reference: CallsFound | None, mine: CallsFound | None) -> Flips | None:
    if reference is None or mine is None or reference.positions != mine.positions:
        return None
    return flips_of(reference.recorded, reference.calls, mine.calls)


def _measured(done: Sequence[StepDone], runs: _Runs) -> Measured:
    loads = _found(done, Loaded)
    cache = _found(done, CacheFound)
    return Measured(
        load_s=tuple(one.load_s for one in loads),
        must_have_bytes=_middle(one.must_have_bytes for one in loads),
        file_bytes=_middle(one.file_bytes for one in loads),
        device_bytes=_middle(one.device_bytes for one in loads),
        rates=rates_at(sample for one in _found(done, RatesFound) for sample in one.samples),
        cache=cache[0].cache if cache else None,
        tasks=tuple(one.task for one in _found(done, TaskDone) if one.task is not None),
        energy_j_per_token=_energy(done, runs),
        doubts=_doubts(done, runs),
        filled_tokens=_middle(one.filled_tokens for one in loads),
        **_peaks(done, runs),
    )


def _peaks(done: Sequence[StepDone], runs: _Runs) -> dict[str, int | None]:
    loads = dict.fromkeys(one.load for one in done if one.load is not None)
    seen = [run for load in loads if (run := runs.of(load)) is not None]
    found = [summarise_residency(run.info, (), run.residency) for run in seen]
    return {
        "must_have_peak_bytes": max(
            (r.must_have_peak_bytes for r in found if r and r.must_have_peak_bytes), default=None
        ),
        "file_peak_bytes": max((r.file_peak_bytes for r in found if r and r.file_peak_bytes), default=None),
    }


def _energy(done: Sequence[StepDone], runs: _Runs) -> float | None:
    """Energy of the GPUs over the measurements of rates, for each token that was generated in them, J."""
    spent_j, tokens = 0.0, 0
    for one in done:
        if not isinstance(one.found, RatesFound) or one.window_ns is None or not one.found.generated_tokens:
            continue
        run = runs.of(one.load)
        joules = energy_j(run.residency, one.window_ns) if run is not None else None
        if joules is None:
            return None
        spent_j, tokens = spent_j + joules, tokens + one.found.generated_tokens
    return spent_j / tokens if tokens else None


def _doubts(done: Sequence[StepDone], runs: _Runs) -> tuple[str, ...]:
    """What makes the figures doubtful, each said once: what failed, what the machine did meanwhile, drift."""
    said: list[str] = []
    for one in done:
        if one.failed and one.step.kind == "quality":
            said.append(f"quality was not measured: {one.failed}")
        if isinstance(one.found, TaskDone) and one.found.task is None:
            said.append(f"{one.step.task} does not count: {one.found.note}")
        if isinstance(one.found, RatesFound):
            said += [doubt for sample in one.found.samples for doubt in sample.doubts]
        run = runs.of(one.load)
        if run is not None and one.window_ns is not None and one.step.kind in ("rates", "task"):
            found = judge(run.guards, one.window_ns)
            said += [f"{_what(one)}: {guard.text}" for guard in found if guard.severity == "doubtful"]
    anchors = [one.anchors for one in _found(done, Loaded) if one.anchors]
    middles = [sorted(three, key=lambda one: one.decode_tokens_per_s or 0)[len(three) // 2] for three in anchors]
    said += [guard.text for guard in drift(middles)]
    return _shortened(said)


def _shortened(said: Iterable[str]) -> tuple[str, ...]:
    """Each doubt once; of one kind with other figures the first, with how many more there were."""
    kinds: dict[str, list[str]] = {}
    for text in said:
        kinds.setdefault("".join(c for c in text.partition(": ")[2] or text if not c.isdigit()), []).append(text)
    return tuple(f"{one[0]} (and {len(one) - 1} more)" if len(one) > 1 else one[0] for one in kinds.values())


def _what(one: StepDone) -> str:
    return f"{one.step.task or one.step.kind} in round {one.step.round}"


def _of(done: Iterable[StepDone], candidate: Candidate) -> list[StepDone]:
    return [one for one in done if one.step.candidate == candidate.name]


def _calls(done: Iterable[StepDone]) -> CallsFound | None:
    found = _found(done, CallsFound)
    return found[0] if found else None


def _found(done: Iterable[StepDone], kind: type[T]) -> list[T]:
    return [one.found for one in done if isinstance(one.found, kind)]


def _middle(sizes: Iterable[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return round(statistics.median(known)) if known else None
