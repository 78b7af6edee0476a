"""Seconds by cause, or tokens where nothing tells a price: a bar for each with its interval. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from profiler.explanation import CauseRow
from profiler.report.figures import count, seconds
from profiler.report.html.drawing import WIDTH, Choice, Drawing, altair, drawn, rows

__all__ = ["causes_chart"]

_STEP: Final = 66


def causes_chart(causes: Sequence[CauseRow], colours: dict[str, tuple[str, str]]) -> Drawing | None:
    """The chart, the costliest cause first; `None` where nothing was lost. `colours` are those of the cache map."""
    lost = [row for row in causes if row.tokens or row.lost_s]
    if not lost:
        return None
    priced = all(row.lost_s is not None for row in lost)
    values = [_row(row, colours, priced=priced) for row in lost]
    shades = {value["code"]: colours.get(value["code"], ("", "@unknown"))[1] for value in values}
    unit = "seconds" if priced else "tokens"
    about = f"What was evaluated again although a cache had held it, in {unit}"
    about += "; the line is the 95 % interval." if priced else ": nothing here tells what a token costs."
    return Drawing(
        name="causes",
        title=f"{unit.capitalize()} by cause",
        about=about,
        said="; ".join(value["said"] for value in values),
        spec=_spec(len(values), shades, unit),
        choices=(Choice("", {"causes": values}),),
    )


def _row(row: CauseRow, colours: dict[str, tuple[str, str]], *, priced: bool) -> dict[str, Any]:
    requests = f"{row.requests} request{'s' if row.requests != 1 else ''}"
    price = f"{seconds(row.lost_s)}, " if row.lost_s is not None else ""
    return {
        "code": row.code,
        "value": row.lost_s if priced else row.tokens,
        "low": max(0.0, row.low_s) if priced and row.low_s is not None else None,
        "high": row.high_s if priced else None,
        "said": f"{row.code} {row.title}",
        "figures": f"{price}{count(row.tokens)} tokens, {requests}",
        "side": row.side,
    }


def _spec(number: int, shades: dict[str, str], unit: str) -> dict[str, Any]:
    alt = altair()
    down = alt.Y("code:N", sort=None, title=None).axis(None)
    across = alt.X("value:Q", title=unit).axis(tickCount=6, format="~s" if unit == "tokens" else ",~f").scale(zero=True)
    colour = alt.Color("code:N", legend=None).scale(domain=list(shades), range=list(shades.values()))
    base = rows("causes")
    tips = [alt.Tooltip("said:N", title="cause"), alt.Tooltip("figures:N"), alt.Tooltip("side:N")]
    bars = base.mark_bar(height=12, yOffset=0, cornerRadiusEnd=2).encode(across, down, color=colour, tooltip=tips)
    lines = base.transform_filter("isValid(datum.high)").mark_rule(strokeWidth=1.5, color="@text")
    lines = lines.encode(alt.X("low:Q"), alt.X2("high:Q"), down)
    line = {"align": "left", "baseline": "middle", "limit": alt.expr("width")}
    words = base.mark_text(**line, dy=-17, fontSize=13, color="@text").encode(alt.XValue(0), down, text="said:N")
    figures = base.mark_text(**line, dy=17, fontSize=12, color="@faint").encode(alt.XValue(0), down, text="figures:N")
    return drawn(alt.layer(bars, lines, words, figures).properties(width=WIDTH, height=number * _STEP))
