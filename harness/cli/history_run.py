"""Questions to all stored runs. The work behind `dyno sql` and `dyno history`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from harness.history.database import History, views_in
from harness.history.kept import fresh, keep
from harness.history.stored import name_of, run_folders
from harness.history.tables import VIEWS, columns_of
from harness.history.trends import QUESTION, history_of
from profiler.history_document import SCHEMA, ColumnRow, SqlDocument
from profiler.report.history import print_columns, print_history, print_sql
from profiler.run_files import StoreError

__all__ = ["ask", "keep_all", "show_columns", "show_history"]

_MANY: Final = 50
"""Runs without kept tables from which on it is said that they could be kept."""


def ask(question: str, runs: Path, *, json_output: bool, csv_output: bool) -> None:
    """Answer one question.

    Raises:
        QueryError: it cannot be answered as it was written.
        StoreError: the folder of runs cannot be read.
    """
    with History(runs, views=views_in(question)) as history:
        answer = history.ask(question)
        _say(history)
    columns = tuple(ColumnRow(name, kind) for name, kind in zip(answer.names, answer.types, strict=True))
    rows = tuple(tuple(_plain(value) for value in row) for row in answer.rows)
    document = SqlDocument(SCHEMA, columns, rows, tuple(history.notes))
    print_sql(document, json_output=json_output, csv_output=csv_output)


def show_columns() -> None:
    """Print the views and their columns."""
    print_columns((view.name, view.of, tuple(columns_of(view))) for view in VIEWS.values())


def show_history(
    runs: Path,
    *,
    model: str | None,
    target: str | None,
    metrics: tuple[str, ...],
    although: tuple[str, ...],
    last: int,
    json_output: bool,
) -> None:
    """Print the runs in order of time.

    Raises:
        QueryError: there is no such metric.
        PlanError: there is no such fact.
        StoreError: the folder of runs cannot be read.
    """
    with History(runs, views=("runs",)) as history:
        rows = history.ask(QUESTION).rows
        _say(history)
    document = history_of(
        rows,
        model=model,
        target=target,
        metrics=metrics,
        although=although,
        last=last,
        unkept=history.unkept,
        notes=history.notes,
    )
    print_history(document, json_output=json_output)


def keep_all(runs: Path) -> None:
    """Keep the tables of every run that has none that can be used. A run that cannot be read is named and left out.

    Raises:
        StoreError: the folder of runs cannot be read.
    """
    made, before = 0, 0
    for folder in run_folders(runs.absolute()):
        if fresh(folder, name_of(folder)) is not None:
            before += 1
            continue
        try:
            keep(folder)
            made += 1
        except StoreError as error:
            print(f"dyno: {error}", file=sys.stderr)
    print(f"{made} runs indexed, {before} were already", file=sys.stderr)


def _say(history: History) -> None:
    for note in history.notes:
        print(f"dyno: left out: {note}", file=sys.stderr)
    if history.unkept >= _MANY:
        print(f"{history.unkept} runs were read line by line: dyno history --index makes it faster", file=sys.stderr)


def _plain(value: Any) -> Any:
    """A value of DuckDB as JSON has it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, int):
        return value if abs(value) < 2**63 else float(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast("Sequence[object]", value)]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in cast("Mapping[object, object]", value).items()}
    return value if value is None or isinstance(value, str) else str(value)
