"""All runs below a folder, to be asked in SQL: views over what is kept of them, and over the JSON Lines of the rest.

Nothing can be written through it, and no other file be read: one SELECT at a time, and DuckDB itself is told to open
nothing but the Parquet files of the views and to take no further settings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import duckdb

from harness.history.errors import QueryError
from harness.history.kept import create_table, fresh, insert, literal
from harness.history.run_rows import ROWS, Row, run_row
from harness.history.stored import KEPT, name_of, read_work, run_folders
from harness.history.tables import TABLES, VIEWS
from profiler.run_files import StoreError

__all__ = ["Answer", "History", "views_in"]

_PATTERN: Final = frozenset("*?[]{}")
"""What DuckDB takes for a pattern in the name of a file: runs in such a folder are read from their JSON Lines."""

_SETTINGS: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


class Answer(NamedTuple):
    """Rows with the names and the DuckDB types of their columns."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class History:
    """The runs below `root`, as they are when it is opened; a context manager.

    `notes` says which runs could not be read, `unkept` how many were read from their JSON Lines.
    """

    def __init__(
        self,
        root: Path,
        *,
        views: Collection[str] = tuple(VIEWS),
        only: Iterable[Path] | None = None,
        lock: bool = True,
    ) -> None:
        """Fill these views, and leave the others empty, with the runs below `root`, or in the folders `only`.

        Raises:
            StoreError: the folder cannot be read.
        """
        self.notes: list[str] = []
        self.unkept = 0
        self._connection = duckdb.connect(":memory:", config=_SETTINGS)
        self._files: dict[str, list[str]] = {table: [] for table in TABLES}
        self._connection.execute("CREATE SCHEMA held")
        for table in TABLES:
            create_table(self._connection, table, f"held.{table}")
        folders = run_folders(root.absolute()) if only is None else [folder.absolute() for folder in only]
        self._read(folders, {VIEWS[view].table for view in views})
        for view in VIEWS.values():
            columns = ", ".join(f'"{column}"' for column in view.columns)
            self._connection.execute(f'CREATE VIEW "{view.name}" AS SELECT {columns} FROM ({self._source(view.table)})')
        if lock:
            self._lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(self, sql: str, most: int | None = None) -> Answer:
        """Answer one SELECT, with the first `most` rows.

        Raises:
            QueryError: it is no single SELECT, or names what there is not; says what there is.
        """
        try:
            found = self._connection.extract_statements(sql)
            if len(found) != 1 or found[0].type != duckdb.StatementType.SELECT:
                what = f"these are {len(found)}" if len(found) != 1 else f"this is {found[0].type.name}"
                raise QueryError(f"one SELECT is answered, {what}", hint="runs are only read; dyno sql shows the views")
            cursor = self._connection.execute(found[0])
            described: list[tuple[Any, ...]] = cursor.description or []
            rows = cursor.fetchall() if most is None else cursor.fetchmany(most)
        except duckdb.Error as error:
            raise QueryError(_sentence(error), hint=_hint(sql)) from error
        return Answer(tuple(str(d[0]) for d in described), tuple(str(d[1]) for d in described), rows)

    def write_parquet(self, view: str, file: Path) -> None:
        """Write a view to a file; only where it was opened without the lock.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            self._connection.execute(f'COPY (FROM "{view}") TO {literal(str(file))} (FORMAT parquet, COMPRESSION zstd)')
        except duckdb.Error as error:
            raise StoreError(f"cannot write {file}: {_sentence(error)}", hint="name another folder") from error

    def _read(self, folders: Iterable[Path], tables: Collection[str]) -> None:
        """What is kept of every run, and the rows of the others. The rows of `runs` are in every index."""
        rows: list[Row] = []
        for folder in folders:
            name = name_of(folder)
            index = None if _PATTERN & set(str(folder)) or not _is_text(str(folder)) else fresh(folder, name)
            if index is not None:
                rows.append(index.run)
                for table in index.files:
                    self._files[table].append(f"{folder}/{KEPT}/{table}.parquet")
                continue
            try:
                work = read_work(folder)
            except StoreError as error:
                self.notes.append(f"{name}: {error}")
                continue
            self.unkept += 1
            rows.append(run_row(name, work))
            for table in tables:
                if table in ROWS:
                    insert(self._connection, table, f"held.{table}", ROWS[table](name, work))
        insert(self._connection, "runs", "held.runs", rows)
        self._files = {table: files if table in tables else [] for table, files in self._files.items()}

    def _source(self, table: str) -> str:
        files = ", ".join(map(literal, self._files[table]))
        kept = f" UNION ALL FROM read_parquet([{files}], hive_partitioning = false)" if files else ""
        return f"FROM held.{table}{kept}"

    def _lock(self) -> None:
        paths = ", ".join(literal(file) for files in self._files.values() for file in files)
        self._connection.execute(f"SET allowed_paths = [{paths}]")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")


def views_in(sql: str) -> tuple[str, ...]:
    """The views that a question may mean: more than it does cost time and do no harm."""
    words = sql.casefold()
    if "query" in words:  # of DuckDB's query('…') and query_table('…'), whose texts may be put together
        return tuple(VIEWS)
    return tuple(name for name in VIEWS if name in words)


def _is_text(path: str) -> bool:
    return path.isprintable() and path.encode("utf-8", "replace").decode() == path


def _sentence(error: duckdb.Error) -> str:
    """DuckDB's error without the picture of the place, in one line."""
    lines = [line.strip() for line in str(error).split("\n\n")[0].splitlines()]
    return " ".join(line for line in lines if line)


def _hint(sql: str) -> str:
    """The columns of the views that were named, or the names of all views."""
    named = [VIEWS[name] for name in views_in(sql)]
    if not named:
        return f"views: {', '.join(VIEWS)}; dyno sql shows their columns"
    return "; ".join(f"{view.name} has {', '.join(view.columns)}" for view in named[:2])
