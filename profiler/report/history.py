"""Show runs in order of time, and answers to questions. Document in, text out; formatting happens only here."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from profiler.history_document import FigureRow, HistoryDocument, HistoryRow, SqlDocument
from profiler.report.figures import UNKNOWN, rate, seconds, share
from profiler.report.json_document import print_json

__all__ = ["print_columns", "print_history", "print_sql", "write_csv"]

SHOWN_ROWS = 200
_FEW = 5
"""Earlier runs below which nothing is said to lie beyond all of them."""


def print_history(document: HistoryDocument, *, json_output: bool, out: TextIO | None = None) -> None:
    """Print the table of runs, or the document as one JSON object."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    console = Console(file=stream, highlight=False, soft_wrap=False)
    if not document.runs:
        console.print(Text("no run is like that", "yellow"))
    else:
        console.print(_runs(document))
        for line in _legend(document):
            console.print(line)


def print_sql(document: SqlDocument, *, json_output: bool, csv_output: bool, out: TextIO | None = None) -> None:
    """Print an answer as a table, as one JSON object, or as comma-separated values."""
    stream = out or sys.stdout
    if json_output:
        print_json(document, stream)
        return
    names = [column.name for column in document.columns]
    if csv_output:
        write_csv(stream, names, document.rows)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for column in document.columns:
        numeric = column.type.startswith(("BIGINT", "INT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL", "UBIGINT"))
        table.add_column(Text(column.name), justify="right" if numeric else "left", overflow="fold")
    for row in document.rows[:SHOWN_ROWS]:
        table.add_row(*(_cell(value) for value in row))
    console = Console(file=stream, highlight=False, soft_wrap=False)
    console.print(table)
    left = len(document.rows) - SHOWN_ROWS
    more = f", of which the first {SHOWN_ROWS} are shown: --csv or --json prints all" if left > 0 else ""
    console.print(Text(f"{len(document.rows)} row{'s' if len(document.rows) != 1 else ''}{more}", "dim"))


def write_csv(out: TextIO, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Comma-separated values with a line of names; NULL is an empty field, a list its parts with `; ` between."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_field(value) for value in row] for row in rows)


def print_columns(views: Iterable[tuple[str, str, Iterable[tuple[str, str, str]]]], out: TextIO | None = None) -> None:
    """Print what there is to be asked: name and rows of each view, and name, type and meaning of its columns."""
    console = Console(file=out or sys.stdout, highlight=False, soft_wrap=False)
    for name, of, columns in views:
        console.print(Text.assemble((name, "bold"), f"  a row for each {of}"))
        table = Table(box=None, padding=(0, 2, 0, 2), show_header=False, show_edge=False)
        for column, kind, says in columns:
            table.add_row(column, Text(kind, "dim"), Text(says))
        console.print(table)


def _runs(document: HistoryDocument) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    table.add_column("run", no_wrap=True)
    for head in ("model", "did"):
        table.add_column(head, overflow="fold", min_width=6)
    known = {figure.metric for row in document.runs for figure in row.figures if figure.value is not None}
    for figure in document.runs[0].figures:
        if figure.metric in known:
            table.add_column(_HEADS.get(figure.metric, figure.metric), justify="right", overflow="fold", min_width=6)
    for row in document.runs:
        figures = [_figure(figure) for figure in row.figures if figure.metric in known]
        table.add_row(Text(row.run), Text(_model(row)), _did(row), *figures)
    return table


def _model(row: HistoryRow) -> str:
    named = row.model or row.target
    return f"{named} {row.quant}" if row.quant and row.quant not in named else named


def _did(row: HistoryRow) -> Text:
    what = f"{row.passed}/{row.verified} passed" if row.verified else f"{row.requests} sent"
    failed = f", {row.errors} failed" if row.errors else ""
    status = "" if row.status == "complete" else f", {row.status or 'not closed'}"
    return Text(what + failed + status, "" if row.status == "complete" else "yellow")


def _figure(figure: FigureRow) -> Text:
    value = _value(figure.metric, figure.value)
    if figure.ratio is None:
        return Text(value)
    beyond = figure.beyond and figure.n >= _FEW
    return Text.assemble(value, (f"\n×{figure.ratio:.3g} of {figure.n}", "bold yellow" if beyond else "dim"))


def _value(metric: str, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if metric.endswith("_share"):
        return share(value)
    if metric.endswith("_bytes"):
        return f"{value / 2**20:,.0f}"
    if metric.endswith("_tokens_per_s"):
        return rate(value)
    return seconds(value) if metric.endswith("_s") else f"{value:,.0f}"


_HEADS = {
    "cached_share": "cached",
    "lost_s": "lost",
    "lost_tokens": "lost tokens",
    "prefill_tokens_per_s": "prefill\ntok/s",
    "decode_tokens_per_s": "decode\ntok/s",
    "ttft_s": "TTFT",
    "time_to_success_s": "time to success",
    "passed_share": "passed",
    "peak_memory_bytes": "memory\nMiB",
}


def _legend(document: HistoryDocument) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if any(figure.n for row in document.runs for figure in row.figures):
        same = "same work, setting, engine, model and machine"
        but = f", though {', '.join(document.although)} may differ" if document.although else ""
        lines.append(Text(f"×0.98 of 6: by the median of 6 earlier complete runs with the {same}{but}", "dim"))
        lines.append(Text("bold: beyond all of them, which befalls 2 in n + 1 runs by chance alone", "dim"))
    hidden = document.runs_in_all - len(document.runs)
    if hidden:
        lines.append(Text(f"{hidden} earlier runs are not shown: --last {document.runs_in_all}", "dim"))
    return lines


def _cell(value: Any) -> Text:
    if value is None:
        return Text("NULL", "dim")
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    return Text(str(_field(value)))


def _field(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return "; ".join(map(str, cast("Sequence[object]", value)))
    return value
