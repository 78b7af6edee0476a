"""Bytes as words, for the arithmetic that a prediction shows. Decides nothing."""

from __future__ import annotations

from typing import Final

__all__ = ["amount"]

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


def amount(size_bytes: int) -> str:
    """`1.5 GiB`, `224 MiB`, `2.0 MiB`, `12 KiB`."""
    if size_bytes >= _GIB:
        return f"{size_bytes / _GIB:.1f} GiB"
    if size_bytes >= _MIB:
        return f"{size_bytes / _MIB:.{0 if size_bytes >= 10 * _MIB else 1}f} MiB"
    return f"{size_bytes / _KIB:.0f} KiB"
