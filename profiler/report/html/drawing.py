"""A chart of a page as a value: its specification, its rows, and the colours of both schemes. Draws no pixels.

A specification names its colours (`@text`). The page puts CSS variables in their place, so that a chart follows the
reader's scheme and the printer's without being drawn again; a picture gets the colours themselves.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal, NamedTuple

import msgspec

from profiler.report.charts import INK, Ink, Theme, configured, load_library

__all__ = [
    "COLOURS",
    "PLAIN_ZERO",
    "WIDTH",
    "Choice",
    "Drawing",
    "altair",
    "colours_of",
    "drawn",
    "picture",
    "picture_spec",
    "rows",
]

WIDTH: Final = 960
"""Pixels that a chart is as wide as in a picture; on a page it is as wide as its place."""

PLAIN_ZERO: Final = "datum.value === 0 ? '0' : datum.label"
"""For axes whose other labels have a prefix: `0`, and not `0k`."""

Row = dict[str, Any]

COLOURS: Final[dict[Theme, dict[str, str]]] = {
    "light": {
        "reused": "#a9d0ea", "new": "#1f6fb2", "again": "#d1490b", "decode": "#4f9a6d", "tool": "#9a8f80",
        "wait": "#d5d8dd", "unknown": "#c9ccd1", "good": "#1f7a4d", "bad": "#b3261e", "unsure": "#8a5a00",
        "p1": "#d1490b", "p2": "#e6a117", "p3": "#8f3b12", "p4": "#f0997a", "p5": "#cdb8a6",
        "e1": "#7b3fa0", "e2": "#c565a5", "e3": "#43307a", "e4": "#b59ad6", "e5": "#b9b4c4",
        "better3": "#2b7bba", "better2": "#7fb3d8", "better1": "#c9dfef", "same": "#eceef0",
        "worse1": "#f7d7c4", "worse2": "#ec9c71", "worse3": "#d1490b", "onstrong": "#ffffff",
        "soft": "#f5f6f8", "tie": "#e3f1fb",
        "kind1": "#0072b2", "kind2": "#c98500", "kind3": "#d1490b", "kind4": "#8b1a4a", "kind5": "#7a7a7a",
    },
    "dark": {
        "reused": "#41698a", "new": "#5aa9e6", "again": "#ff7f50", "decode": "#6cbf8f", "tool": "#a39a8b",
        "wait": "#43484f", "unknown": "#4d525a", "good": "#6fcf97", "bad": "#ff8a80", "unsure": "#f0b429",
        "p1": "#ff7f50", "p2": "#f0b429", "p3": "#b5623a", "p4": "#f3b49b", "p5": "#7a6c60",
        "e1": "#b383d6", "e2": "#e884b4", "e3": "#7d68c0", "e4": "#d3c1ea", "e5": "#6d6878",
        "better3": "#4a9fe0", "better2": "#2f6d9e", "better1": "#223f57", "same": "#2a2e34",
        "worse1": "#4f3326", "worse2": "#9c5230", "worse3": "#ff7f50", "onstrong": "#101216",
        "soft": "#1e2126", "tie": "#17303f",
        "kind1": "#56b4e9", "kind2": "#f0b429", "kind3": "#ff7f50", "kind4": "#e884b4", "kind5": "#a4a7ad",
    },
}  # fmt: skip
"""Told apart by the colour-blind too: a prompt’s losses are warm, an engine’s violet, what was reused is blue."""


class Choice(NamedTuple):
    """One of several sets of rows that a chart can show."""

    label: str
    data: dict[str, list[Row]]


class Drawing(msgspec.Struct, frozen=True):
    """A chart. `about` says how to read it, `said` what it shows in words for who cannot see it.

    `choices` are at least one set of rows; `notes` say what was left out. A chart narrower than `least_width` pixels
    could not be read: it scrolls in its place.
    """

    name: str
    title: str
    about: str
    said: str
    spec: dict[str, Any]
    choices: tuple[Choice, ...]
    notes: tuple[str, ...] = ()
    least_width: int = 300
    picks: bool = False
    """Whether its marks stand for requests that can be picked."""


def altair() -> Any:
    """The library that makes and checks specifications. Raises ChartsMissing."""
    return load_library("altair")


def rows(name: str) -> Any:
    """A chart of the rows of that name, which the page brings. Raises ChartsMissing."""
    alt = altair()
    return alt.Chart(alt.NamedData(name))


def drawn(chart: Any) -> dict[str, Any]:
    """The specification of a chart, checked, in named colours."""
    spec: dict[str, Any] = configured(chart, Ink("@paper", "@text", "@faint", "@grid")).to_dict()
    spec["padding"] = 4
    return spec


def colours_of(theme: Theme) -> dict[str, str]:
    """Every colour that a specification may name."""
    return {**INK[theme]._asdict(), **COLOURS[theme]}


def picture_spec(drawing: Drawing, theme: Theme, choice: int = 0) -> dict[str, Any]:
    """The whole specification of a picture: rows and colours put in, and as wide as a chart can be."""
    colours = colours_of(theme)

    def put(name: re.Match[str]) -> str:
        return json.dumps(colours.get(name[1], f"@{name[1]}"))

    spec: dict[str, Any] = json.loads(re.sub(r'"@(\w+)"', put, json.dumps(drawing.spec)))
    return {**spec, "padding": 18, "datasets": drawing.choices[choice].data}


def picture(drawing: Drawing, form: Literal["png", "svg"], theme: Theme = "light", choice: int = 0) -> bytes:
    """A chart as a file: two pixels for each of its own, or a drawing. Raises ChartsMissing."""
    library, spec = load_library("vl_convert"), picture_spec(drawing, theme, choice)
    return (
        bytes(library.vegalite_to_png(spec, scale=2)) if form == "png" else str(library.vegalite_to_svg(spec)).encode()
    )
