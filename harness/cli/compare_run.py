"""Two sets of stored runs from their names to the report. The work behind `dyno compare`."""

from __future__ import annotations

from pathlib import Path

from harness.history.benchstat import benchstat_lines
from harness.history.choosing import chosen_runs
from harness.history.comparing import Named, compared, observed
from harness.history.stored import read_work
from harness.history.units import unit_kind
from profiler.report.compare import print_compare

__all__ = ["run_compare"]


def run_compare(
    runs: Path, a: tuple[str, ...], b: tuple[str, ...], *, although: tuple[str, ...], json_output: bool, benchstat: bool
) -> None:
    """Compare and print.

    Raises:
        UnknownRun: a run that is named is none.
        PlanError: the sides cannot be compared; says which fact differs.
        StoreError: a run cannot be read.
    """
    first, second = _read(runs, a), _read(runs, b)
    document = compared(first, second, although)
    if benchstat:
        sides = observed(first, second)
        print("\n".join(benchstat_lines(*sides, unit_kind(one.work for one in (*first, *second)))))
    else:
        print_compare(document, json_output=json_output)


def _read(runs: Path, words: tuple[str, ...]) -> list[Named]:
    """In order of time, so that the first run of a side is its oldest."""
    named = [Named(name, read_work(folder)) for name, folder in chosen_runs(runs, words).items()]
    return sorted(named, key=lambda one: (one.work.run.info.started_unix_ns, one.name))
