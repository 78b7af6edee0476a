"""From a stored run or experiment to its page in a file, and its charts as pictures. The work behind `--html`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backends.base import MissingExtra
from harness.cli.cache_run import document_of
from harness.cli.dispatch_report import documents_of
from harness.cli.explain_run import explained_notes
from harness.experiment.document import document_of as experiment_document
from harness.experiment.pricing import told_of
from harness.experiment.store import read_experiment
from profiler.dispatch_store import read_dispatches
from profiler.explanation import explain
from profiler.findings import find
from profiler.report.ab import verdict_line
from profiler.report.charts import missing_package
from profiler.report.html.drawing import Drawing, picture
from profiler.report.html.experiment_page import experiment_drawings, experiment_page
from profiler.report.html.run_page import RunPage, drawings_of, run_page, verdicts_of
from profiler.run_files import renamed, write_whole
from profiler.store import read_run
from profiler.timeline import timeline_of

__all__ = ["page_of_run", "write_experiment", "write_run"]

_WORST = 6


def write_run(path: Path, html: Path | None, pictures: Path | None) -> None:
    """Write the page of the run in folder `path`, its pictures, or both.

    Raises:
        MissingExtra: what draws is not installed.
        StoreError: the run cannot be read, or a file cannot be written.
    """
    _check()
    page = page_of_run(path)
    for verdict in verdicts_of(page):
        print(f"{verdict.word}  {verdict}")
    _write(run_page(page) if html else "", html, drawings_of(page) if pictures else (), pictures)


def write_experiment(path: Path, html: Path | None, pictures: Path | None) -> None:
    """The same of an experiment. Raises as `write_run`."""
    _check()
    stored = read_experiment(path)
    document = experiment_document(stored, told_of(stored))
    infos = tuple(stored.loads.values())
    for row in document.comparisons:
        print(verdict_line(document, row).plain)
    text = experiment_page(document, infos, str(path)) if html else ""
    _write(text, html, experiment_drawings(document) if pictures else (), pictures)


def page_of_run(path: Path) -> RunPage:
    """All that the page of the run in folder `path` shows. Raises StoreError."""
    stored = read_run(path)
    found, cache = find(path, stored), document_of(path)
    notes = explained_notes(path, stored, stored.requests)
    turns = [turn for dispatch in read_dispatches(path)[0] for turn in dispatch.turns]
    doubts = {record.request_id: row.guards for record, row in zip(stored.requests, cache.requests, strict=True)}
    return RunPage(
        info=stored.info,
        cache=cache,
        dispatches=documents_of(path, stored, found),
        explanation=explain(stored.info, stored.requests, found, worst=-1, notes=notes),
        worst=explain(stored.info, stored.requests, found, worst=_WORST).worst,
        timeline=timeline_of(stored.requests, turns, stored.residency, doubts),
    )


def _check() -> None:
    missing = missing_package()
    if missing is not None:
        raise MissingExtra(f"charts need the package {missing}", hint="pip install 'llmdyno[charts]'")


def _write(text: str, html: Path | None, drawings: Sequence[Drawing], pictures: Path | None) -> None:
    if html is not None:
        with renamed(f"cannot write the page {html}"):
            write_whole(html, text.encode())
        print(f"page: {html} ({len(text) / 2**20:.1f} MiB)")
    if pictures is not None:
        with renamed(f"cannot write pictures to {pictures}"):
            pictures.mkdir(parents=True, exist_ok=True)
            for drawing in drawings:
                write_whole(pictures / f"{drawing.name}.png", picture(drawing, "png"))
                write_whole(pictures / f"{drawing.name}.svg", picture(drawing, "svg"))
        print(f"pictures: {len(drawings)} charts as .png and .svg in {pictures}")
