"""What measuring quality raises, beside the errors of engines."""

from __future__ import annotations


class QualityError(Exception):
    """Two models cannot be compared, or a reference cannot be kept; `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
