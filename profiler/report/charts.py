"""What all charts share: the library that draws, the colours of both schemes, how axes look. Draws nothing itself.

Charts are drawn by Vega-Lite (altair), which is an extra: without it `ChartsMissing` names the command that installs
it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal, NamedTuple

__all__ = ["INK", "ChartsMissing", "Ink", "Theme", "configured", "load_library", "missing_package"]

Theme = Literal["light", "dark"]
PACKAGES: Final = ("altair", "jinja2", "vl_convert")


class ChartsMissing(Exception):
    """The libraries that draw are not installed; the text says how to get them."""


class Ink(NamedTuple):
    """The colours of a page and of what frames a chart."""

    paper: str
    text: str
    faint: str
    grid: str


INK: Final[dict[Theme, Ink]] = {
    "light": Ink("#ffffff", "#1b1b1b", "#6b6b6b", "#e6e6e6"),
    "dark": Ink("#16181c", "#ececec", "#a4a7ad", "#2c3036"),
}


def load_library(name: str) -> Any:
    """A library of the extra.

    Raises:
        ChartsMissing: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ChartsMissing(f"charts need the package {name}: pip install 'llmdyno[charts]'") from error


def missing_package() -> str | None:
    """The first package of the extra that is not there, if any; nothing is loaded."""
    return next((package for package in PACKAGES if find_spec(package) is None), None)


def configured(chart: Any, ink: Ink) -> Any:
    """A chart with the paper, the axes and the legend of all charts."""
    chart = chart.configure(background=ink.paper, padding=18, font="sans-serif")
    chart = chart.configure_view(stroke=None)
    chart = chart.configure_axis(
        labelColor=ink.text, titleColor=ink.text, gridColor=ink.grid, domainColor=ink.faint, tickColor=ink.faint,
        labelFontSize=12, titleFontSize=13, titleFontWeight="normal", titlePadding=10, labelFlush=False, tickCount=8,
    )  # fmt: skip
    return chart.configure_legend(
        labelColor=ink.text, titleColor=ink.text, orient="bottom", labelFontSize=12, symbolSize=120,
        symbolStrokeWidth=2, labelLimit=0, columns=5,
    )  # fmt: skip
