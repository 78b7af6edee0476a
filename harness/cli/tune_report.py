"""Show a tuning: the verdict, the effects, the race, what it cost. Document in, text out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.tune.allotment import minutes
from harness.tune.document import EffectRow, RaceRow, TuneDocument
from profiler.report.figures import UNKNOWN
from profiler.report.json_document import print_json

__all__ = ["print_tuning", "render_tuning"]


def print_tuning(document: TuneDocument, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the report, or the document as one JSON object."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    Console(file=stream, highlight=False, soft_wrap=False).print(render_tuning(document))


def render_tuning(document: TuneDocument) -> RenderableType:
    """The report as something rich can print."""
    colour = "bold green" if document.chosen else "bold yellow" if document.status == "partial" else "bold"
    parts: list[RenderableType] = [Text(), Text(document.verdict, colour)]
    if document.confirmed is not None:
        parts.append(Text(f"from tuning to held-out tasks: {document.confirmed.shrinkage_text}"))
    if document.file is not None:
        parts.append(Text(f"written to {document.file}"))
    parts += [Text(), _levers(document)]
    if document.effects:
        parts += [Text(), Text(f"main effects on {document.primary}", "bold"), _effects(document)]
        parts.append(Text(document.screening or "", "dim"))
        parts += [Text(f"cannot be told from each other: {', '.join(group)}", "dim") for group in document.pairs_mixed]
    if document.race:
        parts += [Text(), Text("the race, against the current setting", "bold"), _race(document)]
    parts += [Text(f"! {note}", "yellow") for note in document.notes]
    if document.refused:
        parts.append(Text(f"! {len(document.refused)} settings were left out: {next(iter(document.refused.values()))}"))
    parts += [Text(line, "dim") for line in _where(document)]
    return Group(*parts)


def _levers(document: TuneDocument) -> Table:
    table = _table("lever", "levels", "current", "chosen", "decided by")
    for lever in document.levers:
        changed = lever.chosen not in (None, lever.current)
        chosen = Text(lever.chosen or "", "bold green" if changed else "")
        table.add_row(lever.name, ", ".join(lever.levels), lever.current, chosen, lever.decided_by)
    return table


def _effects(document: TuneDocument) -> Table:
    table = _table("lever", "from", "to", "effect", "95 %", "better", "mixed with")
    for row in document.effects:
        mixed = ", ".join(row.mixed_with)
        table.add_row(row.lever, row.low_level, row.high_level, *_interval(row), row.better or "not shown", mixed)
    return table


def _interval(row: EffectRow) -> tuple[str, str]:
    if row.value is None:
        return UNKNOWN, ""
    value = f"× {row.value:.3g}" if row.scale == "ratio" else f"{row.value:+.3g}"
    return value, f"{row.low:.3g} … {row.high:.3g}" if row.low is not None and row.high is not None else UNKNOWN


def _race(document: TuneDocument) -> Table:
    table = _table("rung", "setting", "measured", "ranked by", "n", "out")
    for row in document.race:
        table.add_row(
            str(row.rung),
            row.setting,
            _figure(row, row.measured),
            _figure(row, row.believed),
            str(row.dispatches),
            row.out or "",
        )
    return table


def _figure(row: RaceRow, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"× {value:.3g}" if row.scale == "ratio" else f"{value:+.3g}"


def _table(*heads: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _where(document: TuneDocument) -> Iterator[str]:
    of = f"{document.settings} settings" if document.settings is not None else f"{document.combinations} combinations"
    yield (
        f"{of}, {document.simulated} simulated; {document.dispatches} dispatches in {minutes(document.spent_s)} of "
        f"{minutes(document.budget_s)}; raced and confirmed by {document.fidelity} on {document.target}"
    )
    yield f"dyno tune --resume {document.tuning} shows it again; its experiments lie below it"
