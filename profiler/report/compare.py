"""Show a comparison of stored runs: what it is of, the effects, what to mind. Document in, text out."""

from __future__ import annotations

import sys
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from profiler.compare_document import CompareDocument, CompareRow, SideRow
from profiler.report.figures import UNKNOWN
from profiler.report.json_document import print_json

__all__ = ["print_compare", "render_compare"]

_SHOWN: Final = 6


def print_compare(document: CompareDocument, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the report, or the document as one JSON object."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    Console(file=stream, highlight=False, soft_wrap=False).print(render_compare(document))


def render_compare(document: CompareDocument) -> RenderableType:
    """The report as something rich can print."""
    parts: list[RenderableType] = [_sides(document), Text()]
    for fact in document.although:
        parts.append(Text(f"ALTHOUGH {fact.name} differs: {fact.a} in A, {fact.b} in B", "bold yellow"))
    parts += [Text(f"changed: {name}: {a} → {b}") for name, (a, b) in document.differs.items()]
    parts.append(Text(f"paired by {document.unit}: {_listed(document.both)}", "dim"))
    for side, left in (("A", document.only_a), ("B", document.only_b)):
        if left:
            parts.append(Text(f"only in {side}, left out: {_listed(left)}", "dim"))
    parts += [Text(), _effects(document)]
    tasks = max((row.effect.tasks for row in document.metrics), default=0)
    parts.append(
        Text(
            f"A, B: medians; effects over {tasks} {document.unit}s, each the mean of its pairs; p by Holm",
            "dim",
        )
    )
    untold: dict[str, list[str]] = {}
    for row in document.metrics:
        if not _is_told(row):
            untold.setdefault(row.effect.text, []).append(row.effect.metric)
    parts += [Text(f"{why}: {', '.join(metrics)}", "dim") for why, metrics in untold.items()]
    parts += [Text(f"* {line}", "yellow") for line in _doubts(document)]
    parts += [Text(f"! {note}", "yellow") for note in document.notes]
    parts.append(
        Text("A and B were not measured by turns: what else changed between them is in these figures too", "dim")
    )
    return Group(*parts)


def _sides(document: CompareDocument) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in ("", "runs", "target", "setting", f"{document.unit}s", "passed"):
        table.add_column(head, overflow="fold")
    for side in (document.a, document.b):
        table.add_row(
            Text(side.name, "bold"),
            Text(_listed(side.runs)),
            Text(f"{side.target} ({side.build})" if side.build else side.target),
            Text(side.setting or "–"),
            f"{side.units} ({side.outcomes} in all)",
            f"{side.passed}/{side.verified}" if side.verified else "–",
        )
    return table


def _effects(document: CompareDocument) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    table.add_column("metric", no_wrap=True)
    for head in ("A", "B"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("B against A [95 %]", no_wrap=True)
    for head in ("pairs", "p"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in document.metrics:
        p = row.effect.adjusted_p
        effect = Text(_effect(row), _style(row)) if _is_told(row) else Text("not told", "dim")
        medians = [_value(row.effect.metric, value) for value in (row.a_median, row.b_median)]
        table.add_row(row.effect.metric, *medians, effect, str(row.effect.pairs), UNKNOWN if p is None else f"{p:.2g}")
    return table


def _effect(row: CompareRow) -> str:
    """The value with its interval, in as many digits as it takes to see on which side of «no difference» it lies."""
    none = 1.0 if row.effect.scale == "ratio" else 0.0
    value, low, high = row.effect.value, row.effect.low, row.effect.high
    known = [one for one in (value, low, high) if one is not None and one != none]
    digits = next((n for n in range(3, 7) if all(float(f"{one:.{n}g}") != none for one in known)), 7)

    def said(bound: float | None) -> str:
        if bound is None:
            return "no bound"
        sign = "" if row.effect.scale == "ratio" else "+"
        return f"{bound:{sign}.{digits}g}".replace("-", "−")

    times = "× " if row.effect.scale == "ratio" else "won less lost " if row.effect.scale == "net wins" else ""
    return f"{times}{said(value)} [{said(low)} … {said(high)}]"


def _is_told(row: CompareRow) -> bool:
    return row.effect.low is not None or row.effect.high is not None


def _style(row: CompareRow) -> str:
    """Bold where the interval leaves out «no difference»."""
    none = 1.0 if row.effect.scale == "ratio" else 0.0
    low, high = row.effect.low, row.effect.high
    return "bold" if (low is not None and low > none) or (high is not None and high < none) else ""


def _doubts(document: CompareDocument) -> list[str]:
    return [line for side in (document.a, document.b) for line in _doubts_of(side)]


def _doubts_of(side: SideRow) -> list[str]:
    lines: list[str] = []
    if side.doubtful:
        lines.append(f"{side.doubtful} of {side.requests} requests of {side.name} ran while the machine was busy")
    if side.excluded:
        lines.append(f"{side.excluded} of {side.name} ended by a fault and take no part")
    return lines


def _value(metric: str, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if metric.endswith("_bytes"):
        return f"{value / 2**20:,.0f} MiB"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
