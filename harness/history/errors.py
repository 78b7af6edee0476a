"""What can be wrong with a question to the tables. Apart from the rest, so that naming it loads no DuckDB."""

from __future__ import annotations

__all__ = ["QueryError"]


class QueryError(Exception):
    """A question that cannot be answered as it was written; `hint` says what there is to be asked."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
