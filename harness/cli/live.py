"""A dispatch as it goes: a line a turn, with its tools and what its request reused and lost. On standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.tasks.base import Task
from profiler.dispatch_document import TurnRow
from profiler.dispatch_records import DispatchStarted
from profiler.report.dispatch import TURN_HEADS, WORD_HEADS, turn_cells

__all__ = ["LiveDispatch", "live_dispatch"]

_KEPT = 15


class LiveDispatch:
    """Shows turns as they end. On a terminal the last turns stand in a table; else each is a line."""

    def __init__(self, live: Live | None, memory_bytes: Callable[[], int | None]) -> None:
        self._live = live
        self._memory_bytes = memory_bytes
        self._title = Text()
        self._rows: list[TurnRow] = []

    def started(self, started: DispatchStarted, task: Task) -> None:
        """Show what begins."""
        self._rows.clear()
        self._title = Text(f"{started.task} · {started.setting} · {started.agent}: {task.title}")
        if self._live is None:
            print(f"dispatch {self._title}", file=sys.stderr, flush=True)
        else:
            self._live.update(self._table(), refresh=True)

    def turn(self, row: TurnRow) -> None:
        """Show a turn that has ended."""
        self._rows.append(row)
        if self._live is None:
            cells = dict(zip(TURN_HEADS, turn_cells(row), strict=True))
            lost = f", lost to {cells['lost to']}" if cells["lost to"] else ""
            cache = f" {cells['cache']} {cells['cached']}/{cells['prompt']}{lost}" if cells["cache"] else ""
            print(f"turn {cells['turn']}{cache}: {cells['tools']} {cells['took']}", file=sys.stderr, flush=True)
        else:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        memory = self._memory_bytes()
        about = f"memory {memory / 2**20:,.0f} MiB" if memory is not None else None
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", title=self._title, title_justify="left")
        table.caption, table.caption_justify = about, "left"
        for head in TURN_HEADS:
            table.add_column(head, justify="left" if head in WORD_HEADS else "right")
        for row in self._rows[-_KEPT:]:
            table.add_row(*turn_cells(row))
        return table


@contextmanager
def live_dispatch(memory_bytes: Callable[[], int | None]) -> Generator[LiveDispatch]:
    """A live view on standard error; it is gone when the report comes."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield LiveDispatch(None, memory_bytes)
        return
    # Drawn when a turn ends alone: a drawing thread would take time from the one that measures.
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield LiveDispatch(live, memory_bytes)
