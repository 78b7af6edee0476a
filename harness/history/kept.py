"""The tables of one run, kept as Parquet beside its JSON Lines, which stay the truth: `runs/<id>/tables/`.

    requests.parquet …   a file for each table of which the run has rows
    index.json           Index, written last: the row of the run, and the sizes of the files that all was made from

The folder is made whole and moved into place. It is used only while it says what the JSON Lines do: written by this
version of the tables, for a run of this name, from files of the sizes that they have now, none of them newer. It may be
removed at any time. A run that is still at work outgrows it, and is read from its JSON Lines again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec

from harness.history.run_rows import ROWS, Row, run_row
from harness.history.stored import KEPT, SOURCES, name_of, read_work, source_sizes
from harness.history.tables import TABLES, TABLES_VERSION
from profiler.run_files import StoreError, renamed, write_whole

__all__ = ["Index", "create_table", "fresh", "insert", "keep", "literal"]

_INDEX: Final = "index.json"
_AT_ONCE: Final = 4096


class Index(msgspec.Struct, frozen=True):
    """What the tables of a run were made from. `files` are the tables that there is a file of."""

    tables_version: int
    sources: dict[str, int]
    files: tuple[str, ...]
    run: dict[str, Any]


def fresh(folder: Path, name: str) -> Index | None:
    """What is kept of a run, if it may be used; else `None`."""
    try:
        place = f"{folder}/{KEPT}/{_INDEX}"
        written_ns = os.stat(place).st_mtime_ns  # noqa: PTH116 (ten of them a run, for thousands of runs)
        with open(place, "rb") as file:  # noqa: PTH123 (likewise)
            index = msgspec.json.decode(file.read(), type=Index)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    if index.tables_version != TABLES_VERSION or index.run.get("run") != name:
        return None
    for source in SOURCES:
        try:
            state = os.stat(f"{folder}/{source}")  # noqa: PTH116 (likewise)
        except OSError:
            if source in index.sources:
                return None
            continue
        if index.sources.get(source) != state.st_size or state.st_mtime_ns > written_ns:
            return None
    return index


def keep(folder: Path) -> None:
    """Make the tables of the run in `folder` and keep them in it, in place of older ones.

    Raises:
        StoreError: the run cannot be read, or its folder cannot be written.
    """
    name, sizes = name_of(folder), source_sizes(folder)
    work = read_work(folder)
    partial, place = folder / f"{KEPT}.partial-{os.getpid()}", folder / KEPT
    with renamed(f"cannot keep the tables of {folder}"):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            files = tuple(table for table, rows in ROWS.items() if _write(partial, table, rows(name, work)))
            index = Index(TABLES_VERSION, sizes, files, run_row(name, work))
            write_whole(partial / _INDEX, msgspec.json.encode(index))
            shutil.rmtree(place, ignore_errors=True)
            partial.rename(place)
        except duckdb.Error as error:
            raise StoreError(f"cannot keep the tables of {folder}: {_line(error)}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def create_table(connection: duckdb.DuckDBPyConnection, table: str, name: str) -> None:
    """An empty table in the columns of `table`, as `name`, which is quoted where it needs to be."""
    columns = ", ".join(f'"{column.name}" {column.type}' for column in TABLES[table].columns)
    connection.execute(f"CREATE TABLE {name} ({columns})")


def insert(connection: duckdb.DuckDBPyConnection, table: str, name: str, rows: Iterable[Row]) -> int:
    """Append rows of `table` to the one named `name`; how many."""
    columns = TABLES[table].columns
    form = {column.name: ["VARCHAR"] if column.type == "VARCHAR[]" else column.type for column in columns}
    listed = ", ".join(f'"{column.name}"' for column in columns)
    statement = (
        f"INSERT INTO {name} ({listed}) SELECT {', '.join(f'r.{c.name}' for c in columns)} "
        f"FROM (SELECT unnest(from_json(?::JSON, {literal(msgspec.json.encode([form]).decode())})) AS r)"
    )
    source, count = iter(rows), 0
    while piece := list(islice(source, _AT_ONCE)):
        connection.execute(statement, [msgspec.json.encode(piece).decode()])
        count += len(piece)
    return count


def literal(text: str) -> str:
    """A text as it stands in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _write(folder: Path, table: str, rows: Iterable[Row]) -> bool:
    source = iter(rows)
    first = next(source, None)
    if first is None:
        return False
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        create_table(connection, table, "rows")
        insert(connection, table, "rows", (row for some in ((first,), source) for row in some))
        target = literal(str(folder / f"{table}.parquet"))
        connection.execute(f"COPY rows TO {target} (FORMAT parquet, COMPRESSION zstd)")
    return True


def _line(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0]
