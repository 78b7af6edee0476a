"""Figures as a reader sees them: units, rounding, and a mark for what is not known."""

from __future__ import annotations

UNKNOWN = "?"


def seconds(value: float | None) -> str:
    """A duration in s, or in ms below one second."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0 s"
    return f"{value:.1f} s" if value >= 1 else f"{value * 1e3:.0f} ms" if value >= 0.001 else "<1 ms"


def milliseconds(value_ns: float | None) -> str:
    """A duration in ms from ns."""
    return UNKNOWN if value_ns is None else f"{value_ns / 1e6:.0f} ms"


def share(value: float | None) -> str:
    """A share in percent, never rounded up to 100."""
    if value is None:
        return UNKNOWN
    return "100 %" if value == 1 else f"{min(value, 0.999):.1%}".replace("%", " %")


def count(value: int | None) -> str:
    """A count of tokens."""
    return UNKNOWN if value is None else f"{value:,}"


def rate(value: float | None) -> str:
    """A rate in tokens a second."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
