"""Show an experiment: the verdict, then why, then every point. Document in, text out; formatting happens only here."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from profiler.ab_document import AbDocument, ArmRow, ComparisonRow, GuardRow, MetricRow, PartRow, PointRow
from profiler.report.ab_tables import caches_table, tasks_table
from profiler.report.figures import UNKNOWN, seconds
from profiler.report.json_document import print_json

__all__ = ["PART_NAMES", "metric_cells", "print_ab", "render_ab", "verdict_line"]

_COLOURS = {"better": "bold green", "worse": "bold red", "equivalent": "bold", "cannot tell": "bold yellow"}
PART_NAMES = {
    "whole": "whole dispatch",
    "engine": "engine (prefill and decode together)",
    "prefill": "prefill of new text",
    "decode": "decode",
    "tools": "tools",
    "rest": "the harness itself",
}
SHOWN_DOUBTS = 3


def print_ab(document: AbDocument, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the report, or the document as one JSON object."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    Console(file=stream, highlight=False, soft_wrap=False).print(render_ab(document))


def render_ab(document: AbDocument) -> RenderableType:
    """The report as something rich can print."""
    parts: list[RenderableType] = [Text()]
    for row in document.comparisons:
        parts += [verdict_line(document, row), *_early(row)]
    parts += [Text(), _arms(document)]
    if any(arm.cache for arm in document.arms):
        parts += [Text(), caches_table(document)]
    for row in document.comparisons:
        parts += [Text(), Text(f"why: {row.treatment} against {row.baseline}", "bold"), *_why(document, row)]
    if document.comparisons:
        parts += [
            Text(),
            Text(f"{document.primary} on each task, against {document.baseline}", "bold"),
            tasks_table(document),
        ]
    if document.points:
        parts += [Text(), Text("every dispatch, in the order in which they ran", "bold"), _points(document)]
    parts += [Text(f"* {doubt}", "yellow") for doubt in _doubts(document)]
    parts += [Text(f"! {note}", "yellow") for note in document.notes]
    parts.append(Text(_where(document), "dim"))
    return Group(*parts)


def verdict_line(document: AbDocument, row: ComparisonRow) -> Text:
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


def _arms(document: AbDocument) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in ("arm", "passed", "median", "faults", "differs in"):
        table.add_column(head, overflow="fold")
    for arm in document.arms:
        differs = ", ".join(f"{lever} {old} → {new}" for lever, (old, new) in arm.differs.items())
        same = "the baseline" if arm.name == document.baseline else "the same in every lever"
        table.add_row(arm.name, _rate(arm), seconds(arm.median_s), str(arm.faults), differs or same)
    return table


def _rate(arm: ArmRow) -> str:
    if arm.rate_low is None or arm.rate_high is None:
        return f"{arm.passed}/{arm.outcomes}"
    return f"{arm.passed}/{arm.outcomes} [{arm.rate_low:.0%} … {arm.rate_high:.0%}]".replace("%", " %")


def _why(document: AbDocument, row: ComparisonRow) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if row.parts:
        lines.append(_parts(row.parts))
        pairs, tasks = row.parts[0].pairs, row.parts[0].tasks
        lines.append(Text(f"seconds a dispatch, mean over {tasks} tasks ({pairs} pairs); intervals of 95 %", "dim"))
    lines.append(_metrics(row, floor=document.kind == "aa"))
    lines += [Text(f"guard: {_guard(guard)}", "dim") for guard in row.guards if document.kind == "ab"]
    lines += [Text(f"order: {one.method}: {one.text}", "dim") for one in row.order]
    if row.modes:
        slow = "; ".join(f"{mode.arm} {mode.slow} of {mode.dispatches}" for mode in row.modes)
        lines.append(Text(f"the times fall into two groups; in the slow one: {slow}", "yellow"))
    untold = sum(metric.low is None and metric.high is None for metric in row.metrics)
    if untold:
        lines.append(Text(f"{untold} more metrics have no interval here: --json says why of each", "dim"))
    if row.power is not None and document.kind == "ab":
        chance = f"{row.power:.0%}".replace("%", " %")
        lines.append(
            Text(f"the chance to find an effect as large as the margin of {row.margin:g} was {chance} here", "dim")
        )
    return lines


def _parts(parts: tuple[PartRow, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("where the time went", overflow="fold")
    for head in (
        "baseline", "treatment", "difference", "interval",
    ):  # fmt: skip
        table.add_column(head, justify="right", no_wrap=True)
    for part in parts:
        name = f"prefill lost to {part.code} {part.title}" if part.code else PART_NAMES.get(part.part, part.part)
        interval = (
            f"{_signed(part.low_s)} … {_signed(part.high_s)}"
            if part.low_s is not None and part.high_s is not None
            else UNKNOWN
        )
        cells = [seconds(part.baseline_s), seconds(part.treatment_s), _signed(part.difference_s), interval]
        table.add_row(name, *cells, style="bold" if part.part == "whole" else None)
    return table


def _signed(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"−{seconds(-value)}" if value < 0 else f"+{seconds(value)}" if value > 0 else seconds(0)


def _metrics(row: ComparisonRow, *, floor: bool) -> Table:
    """The metrics; of an arm against itself, what each would show at all instead of what it was declared for."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in ("metric", "treatment", "interval", "p", "pairs", "tasks", ""):
        table.add_column(head, justify="left" if head in ("metric", "") else "right", no_wrap=head != "")
    table.add_row(*metric_cells(row.primary), _found(row.primary) if floor else _primary(row), style="bold")
    for guard in row.guards:
        table.add_row(*metric_cells(guard.metric), _found(guard.metric) if floor else "guard")
    for metric in row.metrics:
        if metric.low is not None or metric.high is not None:
            table.add_row(*metric_cells(metric), _found(metric) if floor else "exploratory", style="dim")
    return table


def _primary(row: ComparisonRow) -> str:
    return "primary" if row.sequential is None else "does not decide"


def _guard(guard: GuardRow) -> str:
    allowed = f"{guard.metric.metric} may get worse by {guard.margin:g}: {guard.state}"
    if guard.state != "not shown":
        return allowed
    needed = f"about {guard.pairs_needed} pairs would" if guard.pairs_needed else "no plan of a sensible size would"
    return f"{allowed} with {guard.metric.pairs} pairs, {needed}"


def _found(row: MetricRow) -> str:
    """The smallest change that shows in four of five experiments of this size."""
    if row.detectable is None:
        return ""
    return f"shows from {_figure(row, row.detectable)} on"


def metric_cells(row: MetricRow) -> list[str]:
    """No figure without its interval."""
    if row.confidence is None or row.value is None:
        return [row.metric, "not told", "", _p(row.p), str(row.pairs), str(row.tasks)]
    low, high = _figure(row, row.low), _figure(row, row.high)
    interval = f"{low or 'no bound'} … {high or 'no bound'} ({row.confidence:.4g})"
    return [row.metric, _figure(row, row.value), interval, _p(row.p), str(row.pairs), str(row.tasks)]


def _figure(row: MetricRow, value: float | None) -> str:
    if value is None:
        return ""
    return f"× {value:.3g}" if row.scale == "ratio" else f"{value:+.3g}".replace("-", "−")


def _p(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _points(document: AbDocument) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in ("", "block", "arm", "task", "ended", "score", "took", "prefill", "turns"):
        words = head in ("arm", "task", "ended")
        table.add_column(head, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    for point in document.points:
        table.add_row(*_point(point))
    return table


def _point(point: PointRow) -> list[str]:
    turns = point.measures.get("turns")
    ended = f"{point.exit_status}: does not count" if point.excluded else point.exit_status
    return [
        str(point.order + 1),
        str(point.block),
        point.arm,
        point.task,
        ended,
        UNKNOWN if point.score is None else f"{point.score:.2f}",
        seconds(point.time_s) + ("*" if point.doubts else ""),
        seconds(point.measures.get("prefill_s")),
        UNKNOWN if turns is None else f"{turns:.0f}",
    ]


def _doubts(document: AbDocument) -> list[str]:
    doubtful = [point for point in document.points if point.doubts]
    if not doubtful:
        return []
    texts = list(dict.fromkeys(doubt for point in doubtful for doubt in point.doubts))
    lines = [f"{len(doubtful)} of {len(document.points)} dispatches were disturbed: their times are doubtful"]
    more = len(texts) - SHOWN_DOUBTS
    return [*lines, *texts[:SHOWN_DOUBTS], *([f"and {more} more, in --json"] if more > 0 else [])]


def _where(document: AbDocument) -> str:
    blocks = f"{document.blocks} block{'s' if document.blocks > 1 else ''}"
    what = f"{len(document.tasks)} tasks × {blocks} × {len(document.arms)} arms"
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
