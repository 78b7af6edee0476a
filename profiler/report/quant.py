"""Show a comparison of quants: the verdict with its reason, a table, what is left out and why, what may mislead.

Document in, text out. Every figure that was only predicted is called so; no percentage stands without its n.
"""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from profiler.quant_document import QuantDocument, QuantRow
from profiler.report.causes import visible
from profiler.report.json_document import print_json
from profiler.report.memory import size
from profiler.report.quant_cells import GROUPS, Column, legend

__all__ = ["print_quant", "render_quant"]

SHOWN_DOUBTS = 8
_ANSWERS = {
    "recommended": ("RECOMMENDED", "bold green"),
    "predicted": ("PREDICTED", "bold yellow"),
    "cannot tell": ("CANNOT TELL", "bold yellow"),
    "none": ("NONE", "bold red"),
}


def print_quant(
    document: QuantDocument, *, json_output: bool, explain: bool = False, out: TextIO | None = None
) -> None:
    """Print the report, or the document as one JSON object; `explain` adds the arithmetic of each prediction."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    console = Console(file=stream, highlight=False, soft_wrap=False)
    console.print(render_quant(document, explain=explain))


def render_quant(document: QuantDocument, *, explain: bool = False) -> RenderableType:
    """The report as something rich can print."""
    parts: list[RenderableType] = [Text(), *_verdict(document)]
    parts += _tables(document)
    parts += [Text(line, "dim") for line in legend(document)]
    parts += _left_out(document)
    if explain:
        parts += _arithmetic(document)
    parts += [Text(f"* {visible(doubt)}", "yellow") for doubt in _doubts(document)]
    parts += [Text(f"! {visible(note)}", "yellow") for note in document.notes]
    if not document.complete:
        parts.append(Text("! interrupted: only what was done is shown; --resume goes on", "yellow"))
    parts.append(Text(_where(document, explain=explain), "dim"))
    return Group(*parts)


def _verdict(document: QuantDocument) -> list[RenderableType]:
    verdict = document.verdict
    word, colour = _ANSWERS[verdict.answer]
    lines: list[RenderableType] = [Text.assemble((word, colour), f"  {visible(verdict.reason)}")]
    lines += [Text(f"  {visible(detail)}") for detail in verdict.details]
    if verdict.runner_up is not None:
        cost = visible(verdict.runner_up_cost or "")
        lines.append(Text.assemble(("next best  ", "bold"), f"{visible(verdict.runner_up)}: {cost}"))
    if verdict.run is not None:
        what = "to decide" if verdict.answer == "cannot tell" else "to go on"
        lines.append(Text.assemble((f"{what}  ", "bold"), Text(visible(verdict.run), overflow="fold")))
    return lines


def _tables(document: QuantDocument) -> list[RenderableType]:
    """A table for each question, so that each fits into 80 columns."""
    shown = [(title, [one for one in columns if _known(one, document)]) for title, columns in GROUPS]
    shown = [(title, columns) for title, columns in shown if columns]
    if not document.candidates:
        return []
    return [part for title, columns in shown for part in (Text(), _table(document, title, columns))]


def _known(column: Column, document: QuantDocument) -> bool:
    return any(column.cell(row) is not None for row in document.candidates)


def _table(document: QuantDocument, title: str, columns: list[Column]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column(title, overflow="fold", min_width=8)
    for column in columns:
        table.add_column(column.head(document), justify=column.justify, overflow="fold", no_wrap=column.narrow)
    for row in document.candidates:
        cells = [column.cell(row) or "?" for column in columns]
        table.add_row(_name(row, document), *map(visible, cells), style=_style(row, document))
    return table


def _name(row: QuantRow, document: QuantDocument) -> Text:
    mark = "▶ " if row.name == document.verdict.chosen else "  "
    tie = " ~" if row.quality is not None and row.quality.tie else ""
    return Text(f"{mark}{visible(row.name)}{tie}", overflow="fold")


def _style(row: QuantRow, document: QuantDocument) -> str | None:
    if row.name == document.verdict.chosen:
        return "bold"
    return "dim" if row.excluded is not None or row.beaten_by is not None else None


def _left_out(document: QuantDocument) -> list[RenderableType]:
    lines: list[RenderableType] = []
    out = [row for row in document.candidates if row.excluded is not None]
    if out:
        lines += [Text(), Text("cannot be had", "bold")]
        lines += [Text(f"  {visible(f'{row.name}: {row.excluded}: {row.excluded_reason}')}") for row in out]
    beaten = [row for row in document.candidates if row.beaten_by is not None]
    if beaten:
        lines += [Text(), Text("beaten: another is worse in nothing and better in something", "bold")]
        lines += [Text(visible(f"  {row.name}: by {row.beaten_by}")) for row in beaten]
    return lines


def _arithmetic(document: QuantDocument) -> list[RenderableType]:
    """How each prediction was made, part by part."""
    lines: list[RenderableType] = [Text(), Text("how the predictions were made", "bold")]
    for row in document.candidates:
        memory = row.memory
        fits = f": {memory.fits_text}" if memory.fits_text else ""
        lines.append(Text(visible(f"{row.name}{fits}")))
        for part in memory.parts:
            kind = "may grow to " if part.at_most else ""
            kind += "can be dropped, " if part.reclaimable else ""
            text = f"  {part.what} {kind}{size(part.bytes)} on the {part.place} ({part.basis}): {part.arithmetic}"
            lines.append(Text(visible(text)))
        lines += [Text(visible(f"  not known: {missing}"), "yellow") for missing in memory.missing]
        if memory.predicted_bytes is not None and memory.predicted_must_have_bytes is not None:
            lines.append(
                Text(
                    f"  must have: {size(memory.predicted_must_have_bytes)} ({memory.predicted_must_have_bytes:,} B); "
                    f"in all, with what each token reads of the file: {size(memory.predicted_bytes)}"
                )
            )
        if row.speed.arithmetic is not None:
            lines.append(Text(visible(f"  decode ({row.speed.basis}): {row.speed.arithmetic}")))
    return lines


def _doubts(document: QuantDocument) -> list[str]:
    own = [f"{row.name}: {text}" for row in document.candidates for text in (*row.doubts, *row.model_notes)]
    found = list(dict.fromkeys([*document.verdict.doubts, *own]))
    more = len(found) - SHOWN_DOUBTS
    return [*found[:SHOWN_DOUBTS], *([f"and {more} more, in --json"] if more > 0 else [])]


def _where(document: QuantDocument, *, explain: bool) -> str:
    wanted = [f"context {document.context_tokens:,} tokens", f"{document.slots} slot{'s' * (document.slots > 1)}"]
    if document.memory_limit_bytes is not None:
        wanted.append(f"at most {size(document.memory_limit_bytes)}")
    if document.least_decode_per_s is not None:
        wanted.append(f"at least {document.least_decode_per_s:g} tokens/s")
    lines = ["wanted: " + ", ".join(wanted)]
    if document.machine is not None:
        lines.append(f"machine: {visible(document.machine)}")
    details = "all figures: --json" if explain else "all figures: --json; how predictions were made: --explain"
    lines.append(f"measured: {visible(document.directory)}; {details}" if document.directory else details)
    return "\n".join(lines)
