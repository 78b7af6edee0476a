"""What a table over all runs is: columns with type, unit and meaning. `harness.history.tables` has all of them."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["DISPATCH", "REQUEST", "RUN", "Column", "Table", "columns"]

Type = Literal["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMP", "VARCHAR[]"]


class Column(NamedTuple):
    """A column: its DuckDB type and, in words, what it holds."""

    name: str
    type: Type
    says: str


class Table(NamedTuple):
    """What is kept of every run, a row for each `of`."""

    name: str
    of: str
    columns: tuple[Column, ...]


def columns(kind: Type, **says: str) -> tuple[Column, ...]:
    """Columns of one type, each by its name with what it holds."""
    return tuple(Column(name, kind, text) for name, text in says.items())


RUN: Final = Column("run", "VARCHAR", "the run: its folder, by its place below the folder of runs")
DISPATCH: Final = Column("dispatch_id", "VARCHAR", "the dispatch in its run")
REQUEST: Final = Column("request_id", "BIGINT", "the request in its run; NULL where no engine was asked")
