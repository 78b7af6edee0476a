"""The tables over all runs, and the views that are asked by name. Data only; docs/history.md is made from it.

A column is named as in the records (`profiler.records`, `profiler.dispatch_records`) where it is one of theirs, and its
unit is in its name. What is not known is NULL, never 0.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from harness.history.columns import Column, Table
from harness.history.dispatch_tables import CALLS, DISPATCHES, LOSSES, TURNS
from harness.history.run_tables import ANCHORS, GUARDS, REQUESTS, RESIDENCY, RUNS

__all__ = ["TABLES", "TABLES_VERSION", "VIEWS", "View", "columns_of"]

TABLES_VERSION: Final = 1
"""Changes with any column, so that what another dyno kept beside a run is not used."""


class View(NamedTuple):
    """What is asked by name: some columns of a table, a row for each `of`."""

    name: str
    of: str
    table: str
    columns: tuple[str, ...]


TABLES: Final = {
    table.name: table for table in (RUNS, REQUESTS, DISPATCHES, TURNS, CALLS, LOSSES, RESIDENCY, GUARDS, ANCHORS)
}

_OF_VERDICTS: Final = (
    "run", "request_id", "session", "conversation", "turn", "repeat", "cache_class", "continuation", "confidence",
    "note", "prompt_tokens", "cached_tokens", "cached_source", "cached_low_tokens", "cached_high_tokens", "lcp_tokens",
    "prev_tokens", "reusable_tokens", "lost_prompt_side_tokens", "lost_engine_side_tokens", "lost_tokens",
    "lost_prompt_side_ns", "lost_engine_side_ns", "lost_ns",
)  # fmt: skip
_JUDGED: Final = {*_OF_VERDICTS[6:]} - {"cache_class", "prompt_tokens", "cached_tokens", "lost_tokens", "lost_ns"}


def _view(table: Table) -> View:
    left_out = _JUDGED if table is REQUESTS else set[str]()
    names = tuple(column.name for column in table.columns if column.name not in left_out)
    return View(table.name, table.of, table.name, names)


VIEWS: Final = {
    view.name: view
    for view in (
        *(_view(table) for table in TABLES.values()),
        View("verdicts", "request: what the cache did for it", "requests", _OF_VERDICTS),
    )
}
"""What there is to be asked, by name; `requests` has the columns of the verdict that are asked most."""


def columns_of(view: View) -> tuple[Column, ...]:
    """The columns of a view, in order."""
    by_name = {column.name: column for column in TABLES[view.table].columns}
    return tuple(by_name[name] for name in view.columns)
