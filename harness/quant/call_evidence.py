"""What greedy tool calls say of a candidate: whether more of them became wrong than right, paired by position."""

from __future__ import annotations

from typing import Final

from harness.quant.base import Flips
from harness.stats.success import mcnemar_p

__all__ = ["CALLS_ALPHA", "fewer_calls_right", "flips_text"]

CALLS_ALPHA: Final = 0.01
"""Stricter than one test asks for: every candidate of a comparison is tested against the reference."""


def fewer_calls_right(flips: Flips) -> bool:
    """Whether more calls became wrong than right, by the exact McNemar test."""
    return flips.down > flips.up and mcnemar_p(flips.down, flips.up) < CALLS_ALPHA


def flips_text(flips: Flips) -> str:
    """Changed calls with their n, and whether up and down differ."""
    p = mcnemar_p(flips.down, flips.up)
    return (
        f"{flips.changed} of {flips.positions} tool calls changed, {flips.up} became right and {flips.down} wrong "
        f"(exact McNemar p = {p:.2g})"
    )
