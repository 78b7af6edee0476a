"""The chart of a comparison of quants: memory by decode rate, and KLD beside it; as HTML, PNG or SVG. Writes no file.

The page holds all that it needs and loads nothing; it follows the reader's light or dark scheme.
"""

from __future__ import annotations

import textwrap
from typing import Any, Final

from profiler.quant_document import QuantDocument
from profiler.report.causes import visible
from profiler.report.charts import Theme
from profiler.report.html.drawing import Choice, Drawing, altair, drawn, picture, picture_spec
from profiler.report.quant_page import page
from profiler.report.quant_points import KINDS, Field, Row, damage_rows, field_of

__all__ = ["chart_html", "chart_png", "chart_spec", "chart_svg", "quant_drawing"]

WIDTH: Final = 560
HEIGHT: Final = 400
_KLD_WIDTH: Final = 330
_KLD_STEP: Final = 30
_TITLE_CHARACTERS: Final = (60, 66, 122)
"""What fits above no panel, one, and both."""
_LIMITS: Final = ((0.01, "near-lossless"), (0.05, "check"), (0.15, "visible"))


_KIND_COLOURS: Final = ("@kind1", "@kind2", "@kind3", "@kind4", "@kind5")
"""In the order of `quant_points.KINDS`."""


def chart_html(document: QuantDocument) -> str:
    """A page that needs no network and nothing beside it.

    Raises:
        ChartsMissing: the extra `charts` is not installed.
    """
    return page(document, quant_drawing(document))


def chart_png(document: QuantDocument, theme: Theme = "light") -> bytes:
    """A picture, two pixels for each of the chart's. Raises ChartsMissing."""
    return picture(quant_drawing(document), "png", theme)


def chart_svg(document: QuantDocument, theme: Theme = "light") -> str:
    """A drawing. Raises ChartsMissing."""
    return picture(quant_drawing(document), "svg", theme).decode()


def chart_spec(document: QuantDocument, theme: Theme) -> dict[str, Any]:
    """The Vega-Lite specification in the colours of a scheme, checked by altair. Raises ChartsMissing."""
    return picture_spec(quant_drawing(document), theme)


def quant_drawing(document: QuantDocument) -> Drawing:
    """The chart, of which the page and the pictures are made. Raises ChartsMissing."""
    alt = altair()
    field, damage = field_of(document, WIDTH, HEIGHT), damage_rows(document)
    panels = [_memory_by_rate(alt, document, field, damage)] if field.rows else []
    panels += [_damage(alt, field, damage)] if damage else []
    if not panels:
        panels = [
            alt.Chart(alt.Data(values=[{"text": "nothing to draw"}])).mark_text(color="@faint").encode(text="text:N")
        ]
    chart = (
        alt.hconcat(*panels, spacing=40)
        .resolve_scale(color="shared")
        .properties(title=_title(document, field, len(panels)))
    )
    return Drawing(
        name="quants",
        title="Memory, speed and damage",
        about=_where(document),
        said=f"Memory by decode rate of {len(document.candidates)} candidates, and their KLD",
        spec=drawn(chart),
        choices=(Choice("", {}),),
        notes=tuple(_not_drawn(field)),
    )


def _title(document: QuantDocument, field: Field, panels: int) -> dict[str, Any]:
    head = {"recommended": "Recommended", "predicted": "Predicted", "cannot tell": "Cannot tell", "none": "None"}
    verdict = textwrap.wrap(
        f"{head[document.verdict.answer]}: {visible(document.verdict.reason)}", _TITLE_CHARACTERS[panels]
    )
    notes = [_where(document), *_not_drawn(field)]
    lines = [line for note in notes for line in textwrap.wrap(note, round(1.3 * _TITLE_CHARACTERS[panels]))]
    return {
        "text": verdict, "subtitle": lines, "anchor": "start",
        "color": "@text", "subtitleColor": "@faint", "fontSize": 16, "subtitleFontSize": 12, "subtitlePadding": 6,
        "offset": 16,
    }  # fmt: skip


def _where(document: QuantDocument) -> str:
    where = f" on {visible(document.machine)}" if document.machine else ""
    slots = "1 slot" if document.slots == 1 else f"{document.slots} slots"
    return f"context {document.context_tokens:,} tokens, {slots}{where}"


def _not_drawn(field: Field) -> list[str]:
    return [f"not drawn, without memory or rate: {', '.join(field.not_drawn)}"] if field.not_drawn else []


def _memory_by_rate(alt: Any, document: QuantDocument, field: Field, damage: tuple[Row, ...]) -> Any:
    across = alt.X("memory:Q", title=f"memory in all ({field.unit}, host and GPU)").scale(
        domain=list(field.memory), nice=False
    )
    up = alt.Y("rate:Q", title=f"decode (tokens/s at {field.depth})").scale(domain=list(field.rate), nice=False)
    base = alt.Chart(alt.Data(values=list(field.rows)))
    colour = _colour(alt, [*field.rows, *damage])
    tips = [alt.Tooltip(f"{key}:N") for key in ("name", "kind", "state", "why")]
    tips += [alt.Tooltip(f"{key}:Q", format=".4~g") for key in ("memory", "rate", "low", "high")]
    shape = alt.Shape("state:N", title=None).scale(
        domain=["measured", "predicted", "excluded"], range=["circle", "diamond", "cross"]
    )
    used = [one for one in ("measured", "predicted", "excluded") if any(row["state"] == one for row in field.rows)]
    shape = shape.legend(values=used, symbolFillColor="transparent", symbolStrokeColor="@text")
    front = alt.Chart(alt.Data(values=list(field.front))).mark_line(strokeDash=[2, 4], color="@faint", strokeWidth=1.5)
    layers = [
        *_limits(alt, document, field),
        front.encode(across, up, alt.Order("memory:Q")),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(across, alt.Y("low:Q"), alt.Y2("high:Q"), color=colour)
        .transform_filter("isValid(datum.low)"),
        base.mark_rule(color="@faint", strokeWidth=1).encode(across, up, alt.X2("label_x:Q"), alt.Y2("label_y:Q"))
        .transform_filter("datum.far"),
        base.mark_point(size=420, filled=False, strokeWidth=2.5, color="@text").encode(across, up)
        .transform_filter("datum.chosen"),
        base.mark_point(size=110, filled=True, opacity=1).encode(across, up, color=colour, shape=shape, tooltip=tips),
    ]  # fmt: skip
    layers += _labels(alt, base)
    return alt.layer(*layers).properties(
        width=WIDTH,
        height=HEIGHT,
        title=_panel("smaller is left, faster is up; ring: the answer; dotted: what nothing beats"),
    )


def _labels(alt: Any, base: Any) -> list[Any]:
    """Names, each over a halo of the paper's colour: a bar or a line may pass behind it."""
    layers: list[Any] = []
    for align, chosen in [(align, chosen) for align in ("left", "center", "right") for chosen in (False, True)]:
        style = {"align": align, "baseline": "middle", "fontSize": 12, "fontWeight": "bold" if chosen else "normal"}
        halo = base.mark_text(**style, color="@paper", stroke="@paper", strokeWidth=4, strokeJoin="round")
        for text in (halo, base.mark_text(**style, color="@text")):
            where = text.encode(x=alt.X("label_x:Q"), y=alt.Y("label_y:Q"), text=alt.Text("label:N"))
            which = f"datum.align == '{align}' && datum.chosen == {str(chosen).lower()}"
            layers.append(where.transform_filter(which))
    return layers


def _limits(alt: Any, document: QuantDocument, field: Field) -> list[Any]:
    """What the user wanted at most and at least, where it lies in the panel."""
    divisor = 1 << 30 if field.unit == "GiB" else 1 << 20
    layers: list[Any] = []
    line = {"strokeDash": [6, 3], "color": "@faint"}
    if document.memory_limit_bytes is not None and document.memory_limit_bytes / divisor <= field.memory[1]:
        at = alt.Chart(alt.Data(values=[{"memory": document.memory_limit_bytes / divisor, "label": "at most"}]))
        layers += [at.mark_rule(**line).encode(alt.X("memory:Q"))]
        layers += [
            at.mark_text(align="right", dx=-4, color="@faint").encode(alt.X("memory:Q"), alt.YValue(8), text="label:N")
        ]
    if document.least_decode_per_s is not None and document.least_decode_per_s <= field.rate[1]:
        at = alt.Chart(alt.Data(values=[{"rate": document.least_decode_per_s, "label": "at least"}]))
        layers += [at.mark_rule(**line).encode(alt.Y("rate:Q"))]
        layers += [
            at.mark_text(align="right", dy=-7, color="@faint").encode(
                alt.XValue(WIDTH - 4), alt.Y("rate:Q"), text="label:N"
            )
        ]
    return layers


def _damage(alt: Any, field: Field, rows: tuple[Row, ...]) -> Any:
    values = [row[key] for row in rows for key in ("kld", "low", "high", "floor") if row[key] is not None]
    low, high = min(*values, 0.001) / 1.6, max(*values, 0.2) * 1.6
    data = alt.Chart(alt.Data(values=list(rows)))
    by_name = alt.Y("name:N", title=None, sort=[row["name"] for row in rows]).axis(
        labelLimit=220, ticks=False, domain=False
    )
    axis = alt.Axis(format="~e", values=[10.0**n for n in range(-8, 2) if low <= 10.0**n <= high], grid=False)
    across = alt.X("kld:Q", title="KLD from the reference (nats a token, log)", axis=axis).scale(
        type="log", domain=[low, high]
    )
    colour = _colour(alt, [*field.rows, *rows])
    height = max(_KLD_STEP * len(rows), HEIGHT)
    tie = alt.Chart(alt.Data(values=[{"from": low, "to": _LIMITS[0][0]}])).mark_rect(color="@tie")
    marks = alt.Chart(alt.Data(values=[{"at": at} for at, _ in _LIMITS])).mark_rule(strokeDash=[4, 4], color="@faint")
    label = alt.Chart(alt.Data(values=[{"at": low * 1.15, "text": "a tie: not ranked"}]))
    layers = [
        tie.encode(
            alt.X("from:Q").scale(type="log", domain=[low, high], nice=False),
            alt.X2("to:Q"),
            alt.YValue(0),
            alt.Y2Value(height),
        ),
        marks.encode(alt.X("at:Q")),
        label.mark_text(align="left", color="@faint", fontSize=11, dy=-8).encode(
            alt.X("at:Q"), alt.YValue(0), text="text:N"
        ),
        data.mark_rule(strokeWidth=2)
        .encode(alt.X("low:Q"), alt.X2("high:Q"), by_name, color=colour)
        .transform_filter("isValid(datum.low)"),
        data.mark_tick(thickness=2, color="@text", size=12)
        .encode(alt.X("floor:Q"), by_name)
        .transform_filter("isValid(datum.floor)"),
        data.mark_point(size=300, filled=False, strokeWidth=2, color="@text")
        .encode(across, by_name)
        .transform_filter("datum.chosen"),
        data.mark_point(size=90, filled=True, opacity=1).encode(
            across,
            by_name,
            color=colour,
            tooltip=[alt.Tooltip("name:N"), alt.Tooltip("said:N", title="KLD"), alt.Tooltip("kind:N")],
        ),
    ]
    return alt.layer(*layers).properties(
        width=_KLD_WIDTH, height=height, title=_panel("less damage is left; tick: the engine's own noise")
    )


def _colour(alt: Any, rows: list[Row]) -> Any:
    """Kinds that are drawn, each in its own colour whichever others there are."""
    used = [
        (kind, colour)
        for kind, colour in zip(KINDS, _KIND_COLOURS, strict=True)
        if any(r["kind"] == kind for r in rows)
    ]
    kinds, colours = zip(*used, strict=True)
    return alt.Color("kind:N", title=None).scale(domain=list(kinds), range=list(colours))


def _panel(text: str) -> dict[str, Any]:
    return {"text": text, "anchor": "start", "color": "@faint", "fontSize": 12, "fontWeight": "normal", "offset": 18}
