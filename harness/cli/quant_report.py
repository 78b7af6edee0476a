"""What `dyno quant` prints: the report of a comparison, finished or not, or of predictions alone. Measures nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from backends.base import MissingExtra
from harness.experiment.plan import PlanError
from harness.quant.base import CandidateResult, Wanted
from harness.quant.candidates import Choice
from harness.quant.document import document_of
from harness.quant.measured import results_of
from harness.quant.plan import steps_of
from harness.quant.planning import QuantAsked
from harness.quant.prediction import Predictions
from harness.quant.running import still_to_do
from harness.quant.store import StoredComparison
from profiler.quant_document import QuantDocument
from profiler.report.charts import missing_package
from profiler.report.quant import print_quant
from profiler.report.quant_chart import chart_html, chart_png, chart_svg
from profiler.run_files import renamed, write_whole

__all__ = ["check_chart", "draw_comparison", "print_comparison", "print_predictions"]


def print_comparison(asked: QuantAsked, stored: StoredComparison) -> None:
    """The report of what is stored. Raises StoreError."""
    _print(asked, _document_of(stored))


def draw_comparison(stored: StoredComparison, file: Path) -> None:
    """Write the chart of what is stored. Raises PlanError, MissingExtra, StoreError."""
    check_chart(file)
    _draw(file, _document_of(stored))


def _document_of(stored: StoredComparison) -> QuantDocument:
    comparison = stored.comparison
    plan = comparison.plan
    left = still_to_do(steps_of(plan), stored.done)
    return document_of(
        results_of(stored),
        plan.wanted,
        machine=comparison.machine,
        rehearsed=plan.fidelity == "rehearse",
        complete=not left,
        directory=str(stored.path),
        notes=(*comparison.notes, *stored.notes),
    )


def print_predictions(asked: QuantAsked, choice: Choice, wanted: Wanted, predicted: Predictions) -> None:
    """The report of predictions alone."""
    shown = (*choice.candidates, *predicted.unmade)
    results = [CandidateResult(one, predicted=predicted.by_name[one.name]) for one in shown]
    _print(asked, document_of(results, wanted, machine=predicted.machine, notes=predicted.notes))


def check_chart(file: Path | None) -> None:
    """Whether a chart can be written, before anything is measured for it.

    Raises:
        PlanError: no form of that name.
        MissingExtra: what draws it is not installed.
    """
    if file is None:
        return
    if file.suffix not in _FORMS:
        raise PlanError(f"{file} is no chart that dyno can write", hint=f"end its name in {', '.join(_FORMS)}")
    if not file.parent.is_dir():
        raise PlanError(f"no folder {file.parent} for the chart", hint="make it, or name another place")
    missing = missing_package()
    if missing is not None:
        raise MissingExtra(f"charts need the package {missing}", hint="pip install 'llmdyno[charts]'")


_FORMS: Final[dict[str, Callable[[QuantDocument], bytes]]] = {
    ".png": chart_png,
    ".svg": lambda document: chart_svg(document).encode(),
    ".html": lambda document: chart_html(document).encode(),
}


def _print(asked: QuantAsked, document: QuantDocument) -> None:
    print_quant(document, json_output=asked.json_output, explain=asked.explain)
    if asked.chart is not None:
        _draw(asked.chart, document)


def _draw(file: Path, document: QuantDocument) -> None:
    with renamed(f"cannot write the chart {file}"):
        write_whole(file, _FORMS[file.suffix](document))
    print(f"chart: {file}", file=sys.stderr)
