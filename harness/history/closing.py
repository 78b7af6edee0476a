"""What is done for the tables when a run closes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.history.stored import source_sizes
from profiler.run_files import StoreError

__all__ = ["LARGE_BYTES", "keep_if_large"]

LARGE_BYTES: Final = 128 * 1024
"""Of JSON Lines. Below it they are read faster than DuckDB starts, and nothing is kept at the close of a run."""


def keep_if_large(folder: Path) -> None:
    """Keep the tables of a run that was just closed, if that makes it faster to read. What fails is left for later."""
    try:
        if sum(source_sizes(folder).values()) >= LARGE_BYTES:
            from harness.history.kept import keep  # noqa: PLC0415 (DuckDB is loaded only for runs that need it)

            keep(folder)
    except StoreError:
        return
