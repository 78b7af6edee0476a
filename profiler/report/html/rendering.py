"""A page from its template, its charts and its scripts: everything in one file, which loads nothing. Writes no file.

What models and agents wrote is hostile text. Templates escape it; rows stand in the page as JSON that can neither end
its element nor be run. The Content-Security-Policy lets run the two scripts of this package alone, by their hashes, and
nothing leave the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from rich.text import Text

from profiler.report import figures
from profiler.report.causes import parted, visible
from profiler.report.charts import load_library
from profiler.report.html.drawing import Drawing, colours_of
from profiler.report.memory import size

__all__ = ["Verdict", "json_for_a_page", "limited", "rendered", "verdict_of"]

_POLICY = "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_TONES = {"green": "good", "red": "bad", "yellow": "unsure"}


class Verdict(str):
    """The sentence of a verdict, with the `word` that it begins with and its `tone`."""

    __slots__ = ("tone", "word")

    word: str
    tone: str


def verdict_of(line: Text) -> Verdict:
    """A line of the terminal's report, whose first piece is the verdict in a word."""
    first = line.spans[0]
    verdict = Verdict(" ".join(line.plain[first.end :].split()))
    verdict.word = line.plain[: first.end]
    verdict.tone = next((tone for colour, tone in _TONES.items() if colour in str(first.style)), "plain")
    return verdict


def rendered(template: str, drawings: Sequence[Drawing | None], **values: Any) -> str:
    """The page of a template, with `values` for it and the charts that there are.

    Raises:
        ChartsMissing: the extra `charts` is not installed.
    """
    there = {drawing.name: drawing for drawing in drawings if drawing is not None}
    bundle, script = _bundle(), _of_a_page(_file("page.js"))
    data = {
        "colours": {theme: colours_of(theme) for theme in ("light", "dark")},
        "charts": [
            {
                "name": one.name,
                "spec": one.spec,
                "choices": [choice.data for choice in one.choices],
                "least": one.least_width,
                "picks": one.picks,
            }
            for one in there.values()
        ],
    }
    return str(
        _environment().get_template(f"{template}.html.jinja").render(
            **values,
            charts=there,
            policy=_POLICY.format(scripts=f"{_hash(bundle)} {_hash(script)}"),
            schemes={theme: colours_of(theme) for theme in ("light", "dark")},
            bundle=bundle,
            script=script,
            data=json_for_a_page(data),
        )
    )  # fmt: skip


def limited(lines: Sequence[str], most: int) -> list[str]:
    """The first of some lines, and how many more there are."""
    left = len(lines) - most
    return [*lines[:most], *([f"and {left} more: --json lists all"] if left > 0 else [])]


def json_for_a_page(value: Any) -> str:
    """JSON as the content of a script element: it can neither end that nor open a comment in it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate is no text that a file could hold.
    return text.encode("utf-8", "backslashreplace").decode()


@cache
def _bundle() -> str:
    return _of_a_page(str(load_library("vl_convert").javascript_bundle()))


def _of_a_page(script: str) -> str:
    """A script of our own as the content of an element: no end of one in its strings."""
    return script.replace("\r", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _file(name: str) -> str:
    return files("profiler.report.html").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Any:
    jinja2 = load_library("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": figures.seconds, "milliseconds": figures.milliseconds, "share": figures.share,
        "count": figures.count, "rate": figures.rate, "size": size, "shown": _shown, "line": visible,
        "first_word": _first_word, "after_first_word": _after_first_word,
    }  # fmt: skip
    environment.globals["style"] = _file("page.css")
    return environment


def _shown(text: str) -> str:
    """A text with its lines, every other control character made visible."""
    return "\n".join(map(visible, text.split("\n")))


def _first_word(text: str) -> str:
    return parted(text)[0]


def _after_first_word(text: str) -> str:
    return parted(text)[1]
