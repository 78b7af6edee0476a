"""What a chart of quants draws, as plain rows: one for each candidate, in the chart's units. Pure.

Names are cut and made printable here; what a candidate lacks is `None`, and a candidate without memory or rate is named
beside the chart instead of being drawn.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from profiler.quant_document import QuantDocument, QuantRow
from profiler.report.causes import visible
from profiler.report.chart_labels import Place, place_labels

__all__ = ["KINDS", "Field", "Row", "damage_rows", "field_of", "shortened"]

Row = dict[str, Any]
KINDS: Final = ("near-lossless: a tie", "check it on tasks", "visible damage", "damaged", "KLD not known")
_KIND_OF: Final = {
    "indistinguishable": KINDS[0],
    "silent": KINDS[0],
    "check": KINDS[1],
    "visible": KINDS[2],
    "damaged": KINDS[3],
}
LONGEST_NAME: Final = 28
_LEAST_KLD: Final = 1e-8
"""A log axis has no zero: what is less, or below zero by rounding, is drawn here."""


class Field(NamedTuple):
    """The candidates in memory and rate, with the ranges of both axes and the label of each."""

    rows: tuple[Row, ...]
    unit: str
    memory: tuple[float, float]
    rate: tuple[float, float]
    front: tuple[Row, ...]
    depth: str
    not_drawn: tuple[str, ...]


def shortened(name: str) -> str:
    """A name on one line, cut in the middle: quants differ at the end."""
    text = visible(name)
    half = LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME else f"{text[: half - 1]}…{text[-half:]}"


def field_of(document: QuantDocument, width: int, height: int) -> Field:
    """The rows of the chart of memory and rate, labels placed for a panel of `width` by `height` pixels."""
    drawn = [row for row in document.candidates if _memory(row) is not None and _rate(row) is not None]
    sizes = [value for row in drawn if (value := _memory(row)) is not None]
    unit, divisor = ("GiB", 1 << 30) if sizes and max(sizes) >= 1 << 30 else ("MiB", 1 << 20)
    rows = [_row(row, document, divisor) for row in drawn]
    limit = document.memory_limit_bytes
    memory = _range([row["memory"] for row in rows], limit / divisor if limit else None)
    rate = _range(_shown_rates(rows), document.least_decode_per_s)
    for row in rows:
        row |= {key: min(row[key], rate[1]) for key in ("low", "high") if row[key] is not None}
    _label(rows, memory, rate, width, height)
    depths = sorted({row["depth"] for row in rows if row["depth"] is not None})
    front = [row for row in rows if row["front"]]
    return Field(
        rows=tuple(rows),
        unit=unit,
        memory=memory,
        rate=rate,
        front=tuple(sorted(front, key=lambda row: (row["memory"], row["rate"]))),
        depth=f"{depths[0]:,} tokens" if len(depths) == 1 else "the deepest measured",
        not_drawn=tuple(visible(row.name) for row in document.candidates if row not in drawn),
    )


def damage_rows(document: QuantDocument) -> tuple[Row, ...]:
    """KLD of each candidate that has one, with interval and floor, the least first."""
    scored = [(row, row.quality) for row in document.candidates if row.quality is not None]
    rows = [
        {
            "name": shortened(row.name),
            "kind": _KIND_OF.get(quality.band, KINDS[4]),
            "chosen": row.name == document.verdict.chosen,
            "kld": max(_LEAST_KLD, quality.kld),
            "low": None if quality.kld_low is None else max(_LEAST_KLD, quality.kld_low),
            "high": None if quality.kld_high is None else max(_LEAST_KLD, quality.kld_high),
            "floor": None if quality.kld_floor is None else max(_LEAST_KLD, quality.kld_floor),
            "said": f"{quality.kld:.3g} nats a token over {quality.chunks} chunks",
        }
        for row, quality in scored
    ]
    return tuple(sorted(rows, key=lambda row: (row["kld"], row["name"])))


def _row(row: QuantRow, document: QuantDocument, divisor: int) -> Row:
    measured = bool(row.memory.full_context_measured) and row.speed.decode_tokens_per_s is not None
    memory = _memory(row) or 0
    state = "excluded" if row.excluded else "measured" if measured else "predicted"
    depth = row.speed.depth_tokens
    return {
        "name": shortened(row.name),
        "kind": _KIND_OF.get(row.quality.band, KINDS[4]) if row.quality else KINDS[4],
        "state": state,
        "chosen": row.name == document.verdict.chosen,
        "front": row.place is not None,
        "memory": memory / divisor,
        "rate": _rate(row),
        "low": row.speed.decode_low,
        "high": row.speed.decode_high,
        "depth": depth if depth is not None else row.speed.predicted_depth_tokens,
        "why": visible(row.excluded_reason or (f"beaten by {row.beaten_by}" if row.beaten_by else "")),
    }


def _memory(row: QuantRow) -> int | None:
    return row.memory.full_context_bytes


def _rate(row: QuantRow) -> float | None:
    measured = row.speed.decode_tokens_per_s
    return row.speed.predicted_decode_tokens_per_s if measured is None else measured


def _range(values: list[float], limit: float | None) -> tuple[float, float]:
    """From 0 to a little above the largest; a limit is drawn too unless it would flatten everything."""
    most = max(values, default=1.0)
    if limit is not None and limit <= 2 * most:
        most = max(most, limit)
    return 0.0, most * 1.15 or 1.0


def _shown_rates(rows: list[Row]) -> list[float]:
    """Rates, and ends of intervals that do not flatten them: a longer bar is cut at the edge of the panel."""
    rates = [row["rate"] for row in rows]
    most = 1.5 * max(rates, default=0.0)
    return [*rates, *(row["high"] for row in rows if row["high"] is not None and row["high"] <= most)]


def _label(rows: list[Row], memory: tuple[float, float], rate: tuple[float, float], width: int, height: int) -> None:
    """Add each row's label, the chosen one's first: it gets the best place."""
    order = sorted(range(len(rows)), key=lambda number: (not rows[number]["chosen"], rows[number]["memory"]))
    across, down = width / memory[1], height / rate[1]
    places = [
        Place(
            rows[n]["memory"] * across,
            height - rows[n]["rate"] * down,
            rows[n]["name"],
            15.0 if rows[n]["chosen"] else 11.0,
        )
        for n in order
    ]
    for number, place, label in zip(order, places, place_labels(places, width, height), strict=True):
        rows[number] |= {
            "label": place.text,
            "label_x": label.x / across,
            "label_y": (height - label.y) / down,
            "align": label.align,
            "far": label.far,
        }
