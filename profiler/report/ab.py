"""Show an experiment: the verdict, then why, then every point. Document in, text out; formatting happens only here."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from profiler.ab_document import AbDocument, ArmRow, ComparisonRow, MetricRow
from profiler.report.ab_tables import caches_table, every_dispatch, tasks_table
from profiler.report.ab_why import metric_cells, of_parts, part_cells, several, why
from profiler.report.figures import seconds
from profiler.report.json_document import print_json

__all__ = ["metric_cells", "part_cells", "print_ab", "render_ab", "verdict_line"]

_COLOURS = {"better": "bold green", "worse": "bold red", "equivalent": "bold", "cannot tell": "bold yellow"}


def print_ab(document: AbDocument, *, json_output: bool, short: bool = False, out: TextIO | None = None) -> None:
    """Print the report, in `short` without every metric, task and dispatch; or the document as one JSON object."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    Console(file=stream, highlight=False, soft_wrap=False).print(render_ab(document, short=short))


def render_ab(document: AbDocument, *, short: bool = False) -> RenderableType:
    """The report as something rich can print."""
    parts: list[RenderableType] = [Text()]
    for row in document.comparisons:
        parts += [verdict_line(document, row), *_early(row)]
    parts += [Text(), *_arms(document)]
    if any(arm.cache for arm in document.arms):
        parts += [Text(), caches_table(document)]
    for row in document.comparisons:
        said = of_parts(row) if short else why(document, row)
        parts += [Text(), Text(f"why: {row.treatment} against {row.baseline}", "bold"), *said] if said else []
    if document.comparisons and not short:
        heading = f"{document.comparisons[0].primary.metric} on each task, against {document.baseline}"
        parts += [Text(), Text(heading, "bold"), tasks_table(document)]
    if document.points and not short:
        parts += [Text(), *every_dispatch(document)]
    doubts = _doubts(document)
    parts += [Text(f"* {doubt}", "yellow") for doubt in (doubts[:1] if short else doubts)]
    parts += [Text(f"! {note}", "yellow") for note in document.notes]
    parts.append(Text(_rest(document) if short else _where(document), "dim"))
    return Group(*parts)


def verdict_line(document: AbDocument, row: ComparisonRow) -> Text:
    """The verdict on one comparison: a word, then the sentence."""
    sentence = row.sentence
    if document.kind == "aa":
        floor = f"the same arm twice: {row.primary.metric} {row.primary.text}"
        found = _detectable(row.primary)
        sentence = floor + (f"; {found}" if found else "")
        word = "NOISE" if row.word in ("equivalent", "cannot tell") else "NOT ONLY NOISE"
        return Text.assemble((word, "bold yellow" if word == "NOT ONLY NOISE" else "bold"), f"  {sentence}")
    return Text.assemble((row.word.upper(), _COLOURS[row.word]), f"  {sentence}")


def _early(row: ComparisonRow) -> list[RenderableType]:
    """What holds of an experiment that was looked at after every pair, and what does not."""
    if row.sequential is None:
        return []
    error = f"{(1 - row.sequential.confidence) * 100:.3g} %"
    says = f"it was looked at after every pair, and that verdict alone is wrong in no more than {error} of experiments:"
    return [Text(f"{says} other intervals and p below are for a fixed number of dispatches, and too sure here", "dim")]


def _detectable(row: MetricRow) -> str:
    if row.detectable is None:
        return ""
    if row.scale == "ratio":
        return f"from {1 - row.detectable:.0%} less on it shows in 4 of 5 experiments of this size".replace("%", " %")
    return f"from {row.detectable:.2f} on it shows in 4 of 5 experiments of this size"


def _arms(document: AbDocument) -> list[RenderableType]:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in ("arm", "passed", "median", "faults", ""):
        table.add_column(head, overflow="fold")
    lines: list[RenderableType] = [table]
    for arm in document.arms:
        differs = ", ".join(f"{lever} {old} → {new}" for lever, (old, new) in arm.differs.items())
        role = "the baseline" if arm.name == document.baseline else "" if differs else "the same in every lever"
        table.add_row(arm.name, _rate(arm), seconds(arm.median_s), str(arm.faults), role)
        lines += [Text(f"{arm.name} differs in {differs}")] if differs else []
    return lines


def _rate(arm: ArmRow) -> str:
    if arm.rate_low is None or arm.rate_high is None:
        return f"{arm.passed}/{arm.outcomes}"
    return f"{arm.passed}/{arm.outcomes} [{arm.rate_low:.0%} … {arm.rate_high:.0%}]".replace("%", " %")


def _doubts(document: AbDocument) -> list[str]:
    doubtful = [point for point in document.points if point.doubts]
    if not doubtful:
        return []
    lines = [f"{len(doubtful)} of {len(document.points)} dispatches were disturbed: their times are doubtful"]
    for row in document.doubts:
        of = f"{row.dispatches} of them, at worst" if len(doubtful) > 1 and row.dispatches > 1 else "one of them"
        lines.append(f"{of}: {row.worst}")
    return lines


def _where(document: AbDocument) -> str:
    blocks, tasks = several(document.blocks, "block"), several(len(document.tasks), "task")
    what = f"{tasks} × {blocks} × {len(document.arms)} arms"
    lines = [f"{document.fidelity} · cache {document.cache} · {what} · order by seed {document.seed}"]
    lines += document.engines
    if document.not_needed:
        lines.append(f"{document.not_needed} dispatches were not run: their arms were decided before")
    if document.status == "partial":
        of = f"{document.done} of {document.planned}"
        lines.append(f"[{of} dispatches are done: dyno {document.kind} --resume {document.experiment} goes on]")
    else:
        lines.append(f"dyno {document.kind} --resume {document.experiment} shows it again")
    return "\n".join(lines)


def _rest(document: AbDocument) -> str:
    if document.status == "partial":
        return _where(document)
    return f"every metric, task and dispatch: dyno report {document.experiment}"
