"""The chart of a comparison of quants: what it draws, that the page needs nothing else, and that names stay text."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from harness.quant.base import CandidateResult, Wanted
from harness.quant.document import document_of
from profiler.quant_document import QuantDocument
from profiler.report.charts import ChartsMissing, load_library
from profiler.report.quant_chart import chart_html, chart_png, chart_spec, chart_svg
from profiler.report.quant_points import KINDS, damage_rows, field_of, shortened
from tests.harness.quant.made_up import GIB, QUANTS, WANTED, candidate, whole_set

HOSTILE = "</script><script>alert(1)</script>"


def document(*also: CandidateResult, wanted: Wanted = WANTED) -> QuantDocument:
    return document_of([*whole_set(), *also], wanted, machine="made up")


def hostile() -> QuantDocument:
    made = candidate("Q6_K", bits=6.0)
    return document_of(
        [msgspec.structs.replace(made, candidate=msgspec.structs.replace(made.candidate, name=HOSTILE))], WANTED
    )


def texts(spec: Any) -> str:
    return json.dumps(spec)


def test_what_is_drawn_is_what_the_document_says() -> None:
    field = field_of(document(), 560, 400)
    rows = {row["name"]: row for row in field.rows}
    assert field.unit == "GiB"
    assert field.depth == "8,192 tokens"
    assert rows["Q6_K"]["memory"] == pytest.approx(7.51, abs=0.01)
    assert rows["Q6_K"]["low"] < rows["Q6_K"]["rate"] < rows["Q6_K"]["high"]
    assert [row["name"] for row in field.rows if row["chosen"]] == ["Q5_K_M"]
    assert [row["name"] for row in field.front] == ["Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K"]
    assert {row["kind"] for row in field.rows} == set(KINDS[:4])
    assert [row["name"] for row in damage_rows(document())][:2] == ["F16", "Q8_0"]


def test_a_candidate_without_figures_is_named_and_not_drawn() -> None:
    bare = msgspec.structs.replace(candidate("Q8_0"), measured=None, predicted=None)
    named = msgspec.structs.replace(bare, candidate=msgspec.structs.replace(bare.candidate, name="Q8_0 unread"))
    assert field_of(document(named), 560, 400).not_drawn == ("Q8_0 unread",)


def test_a_tiny_model_is_drawn_in_mebibytes() -> None:
    tiny = candidate("Q6_K")
    assert tiny.measured is not None
    small = msgspec.structs.replace(tiny, measured=msgspec.structs.replace(tiny.measured, must_have_bytes=12 << 20))
    field = field_of(document_of([small], WANTED), 560, 400)
    assert (field.unit, field.rows[0]["memory"]) == ("MiB", 12)


def test_a_wide_interval_does_not_flatten_the_chart() -> None:
    made = candidate("Q6_K")
    assert made.measured is not None
    rates = (msgspec.structs.replace(made.measured.rates[1], decode_tokens_per_s=(10.0, 40.0)),)
    wide = msgspec.structs.replace(made, measured=msgspec.structs.replace(made.measured, rates=rates))
    field = field_of(document_of([wide, candidate("Q8_0")], WANTED), 560, 400)
    assert field.rate[1] < 40
    assert max(row["high"] for row in field.rows) == field.rate[1]


def test_a_long_name_keeps_its_end() -> None:
    assert shortened("Q4_K_M") == "Q4_K_M"
    assert shortened("a-very-long-name-of-a-model-file-Q4_K_M") == "a-very-long-n…el-file-Q4_K_M"
    assert "\n" not in shortened("a\nb")


def test_a_missing_library_is_named_with_its_command() -> None:
    with pytest.raises(ChartsMissing, match=re.escape("pip install 'llmdyno[charts]'")):
        load_library("a_library_that_is_not_installed")


def test_the_page_escapes_what_comes_from_a_file() -> None:
    for package in ("altair", "jinja2", "vl_convert"):
        pytest.importorskip(package)
    text = chart_html(hostile())
    # The rows as JSON, the library, and what draws with it.
    assert text.count("<script") == text.count("</script>") == 3
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text
    assert "\\u003c/script\\u003e" in text
    assert HOSTILE not in text


def test_the_charts_have_units_limits_and_the_schemes_colours() -> None:
    pytest.importorskip("altair")
    wanted = Wanted(8192, memory_bytes=12 * GIB, least_decode_per_s=15.0)
    light, dark = (chart_spec(document(wanted=wanted), theme) for theme in ("light", "dark"))
    for title in (
        "memory in all (GiB, host and GPU)",
        "decode (tokens/s at 8,192 tokens)",
        "(nats a token, log)",
    ):
        assert title in texts(light)
    assert '"at most"' in texts(light)
    assert '"at least"' in texts(light)
    assert "a tie: not ranked" in texts(light)
    assert (light["config"]["background"], dark["config"]["background"]) == ("#ffffff", "#16181c")
    assert len(light["hconcat"]) == 2


def test_predictions_are_drawn_alone_and_as_such() -> None:
    pytest.importorskip("altair")
    predicted = [candidate(name, with_measured=False, with_quality=False) for name in QUANTS]
    spec = chart_spec(document_of(predicted, WANTED), "light")
    assert len(spec["hconcat"]) == 1
    assert {row["state"] for row in field_of(document_of(predicted, WANTED), 560, 400).rows} == {"predicted"}


def test_nothing_to_draw_is_no_error() -> None:
    pytest.importorskip("altair")
    assert "nothing to draw" in texts(chart_spec(document_of([], WANTED), "light"))


@pytest.mark.slow
def test_pictures_and_the_page_are_made_without_a_network() -> None:
    pytest.importorskip("vl_convert")
    made = hostile()
    assert chart_png(made).startswith(b"\x89PNG")
    drawing = chart_svg(document())
    assert "Q5_K_M" in drawing
    assert "<script" not in chart_svg(made)
    whole = chart_html(made)
    assert "default-src 'none'" in whole
    assert not re.search(r"""<(script|link|img)[^>]+(src|href)=["']?http""", whole)
    assert HOSTILE not in whole
