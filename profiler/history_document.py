"""What `dyno history --json` and `dyno sql --json` print. Their JSON Schemas are docs/history.schema.json and
docs/sql.schema.json, made from these types. Unknown is `None`.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["ColumnRow", "FigureRow", "HistoryDocument", "HistoryRow", "SqlDocument"]

SCHEMA = 1


class FigureRow(msgspec.Struct, frozen=True):
    """A key figure of a run, beside those of `n` earlier runs that it can be compared with.

    `ratio` is the value by their `median`, `low` and `high` are the least and the most of them, and `beyond` says that
    the value is neither between nor at them: of figures that only vary, that happens to 2 in n + 1.
    """

    metric: str
    value: float | None
    n: int
    median: float | None
    low: float | None
    high: float | None
    ratio: float | None
    beyond: bool | None


class HistoryRow(msgspec.Struct, frozen=True):
    """One run. `status` is `None` for one that was killed or is still at work."""

    run: str
    started_at: str | None
    status: str | None
    target: str
    engine: str
    build: str | None
    model: str | None
    quant: str | None
    fidelity: str | None
    setting: str | None
    requests: int
    errors: int
    dispatches: int
    verified: int
    passed: int
    figures: tuple[FigureRow, ...]


class HistoryDocument(msgspec.Struct, frozen=True):
    """Runs in order of time. `runs_in_all` are those that were asked for, of which the last are shown.

    `although` are the facts that were let differ among comparable runs. `unkept` runs were read from their JSON Lines,
    `notes` says which could not be read.
    """

    schema: int
    runs: tuple[HistoryRow, ...]
    runs_in_all: int
    although: tuple[str, ...]
    unkept: int
    notes: tuple[str, ...]


class ColumnRow(msgspec.Struct, frozen=True):
    """A column of an answer and its DuckDB type."""

    name: str
    type: str


class SqlDocument(msgspec.Struct, frozen=True):
    """The answer to a question: columns, and rows with a value for each, in their order. Times are UTC, as text."""

    schema: int
    columns: tuple[ColumnRow, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...]
