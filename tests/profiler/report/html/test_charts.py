"""What the charts of a run draw, as rows: nothing is counted twice, nothing is left out unsaid."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from profiler.report.html.cache_map import MOST_BARS, MOST_LOSSES, cache_map, cause_colours, shown_losses
from profiler.report.html.causes_chart import causes_chart
from profiler.report.html.drawing import COLOURS, Drawing, colours_of, picture, picture_spec
from profiler.report.html.residency_chart import MOST_POINTS, residency_chart
from profiler.report.html.run_page import drawings_of
from profiler.report.html.timeline_chart import MOST_OF_ONE, MOST_PARTS, timeline_chart
from profiler.timeline import Timeline
from tests.profiler.report.html.made_run import made_page

pytest.importorskip("altair")


def rows(drawing: Drawing | None, name: str, choice: int = 0) -> list[dict[str, Any]]:
    assert drawing is not None
    return drawing.choices[choice].data[name]


def test_a_bar_is_as_high_as_its_prompt_and_holds_what_was_lost() -> None:
    page = made_page(24)
    drawing = cache_map(page.timeline.requests, page.explanation.worst)
    parts = rows(drawing, "parts")
    found = {row.request_id: row.tokens for row in page.explanation.worst}
    for mark in page.timeline.requests:
        mine = [row for row in parts if row["n"] == mark.request_id]
        assert sum(row["tokens"] for row in mine) == mark.prompt_tokens
        lost = sum(row["tokens"] for row in mine if row["part"][0] in "PE")
        assert lost == found.get(mark.request_id, 0)
        assert [row["low"] for row in mine[1:]] == [row["high"] for row in mine[:-1]]
    assert {row["part"] for row in parts} == {
        "reused", "P1 volatile value (prompt)", "E2 slot stolen (engine)", "new text",
    }  # fmt: skip


def test_what_is_not_told_is_drawn_as_such() -> None:
    page = made_page(12)
    marks = [msgspec.structs.replace(mark, cached_tokens=None) for mark in page.timeline.requests]
    assert {row["part"] for row in rows(cache_map(marks, ()), "parts")} == {"not told what was reused"}
    assert {row["kind"] for row in rows(timeline_chart(Timeline(tuple(marks))), "prompts")} == {"waiting, or not told"}


def test_a_long_run_is_drawn_in_groups_and_says_so() -> None:
    page = made_page(1_000, turns=25)
    drawing = cache_map(page.timeline.requests, page.explanation.worst)
    assert drawing is not None
    assert len(rows(drawing, "bars")) == 334 <= MOST_BARS
    assert drawing.notes == ("1,000 requests in 334 bars of 3: single requests are not drawn",)
    whole = sum(row["tokens"] * 3 for row in rows(drawing, "parts"))
    # The last bar is of one request; what a row says is rounded to a tenth of a token.
    last = sum(row["tokens"] for row in rows(drawing, "parts") if row["n"] == 334)
    assert whole - 2 * last == pytest.approx(sum(mark.prompt_tokens or 0 for mark in page.timeline.requests), abs=300)


def test_every_bar_that_lost_something_can_be_proved() -> None:
    page = made_page(1_000, turns=25)
    marks, losses = page.timeline.requests, page.explanation.worst
    shown = shown_losses(marks, losses)
    assert len(losses) > len(shown) == MOST_LOSSES
    ids = {row.request_id for row in shown}
    assert all(bar["id"] in ids for bar in rows(cache_map(marks, losses), "bars") if bar["causes"] != "none")
    assert shown[0] == losses[0]


def test_the_pieces_of_a_request_fill_its_time() -> None:
    page = made_page(12, dispatches=True)
    drawing = timeline_chart(page.timeline)
    spans = rows(drawing, "spans")
    for mark in page.timeline.requests:
        mine = [row for row in spans if row.get("id") == mark.request_id]
        assert sum(row["s"] for row in mine) == pytest.approx(mark.end_s - mark.sent_s, abs=0.001)
        assert {row["lane"] for row in mine} == {"slot 0"}
    tools = [row for row in spans if row["lane"] == "tools"]
    assert [row["s"] for row in tools] == pytest.approx([0.7] * 12)
    assert {row["kind"] for row in spans} == {"new text", "again (lost)", "decode", "waiting, or not told", "tool"}


def test_the_session_that_lost_most_is_drawn_first_and_the_rest_is_counted() -> None:
    page = made_page(200, turns=10)
    drawing = timeline_chart(page.timeline)
    assert drawing is not None
    assert len(drawing.choices) == MOST_PARTS
    assert drawing.choices[0].label == "session 1"
    assert drawing.notes == ("8 more sessions, which lost less, are left out",)
    long = timeline_chart(made_page(MOST_OF_ONE + 1, turns=MOST_OF_ONE + 1).timeline)
    assert len({row["id"] for row in rows(long, "prompts")}) == MOST_OF_ONE
    assert long is not None
    assert "the longest has 401" in long.notes[0]


def test_causes_are_in_tokens_where_nothing_tells_a_price() -> None:
    causes = made_page().explanation.causes
    priced = causes_chart(causes, {})
    assert priced is not None
    assert priced.title == "Seconds by cause"
    bare = [msgspec.structs.replace(row, lost_s=None, low_s=None, high_s=None) for row in causes]
    drawing = causes_chart(bare, {})
    assert drawing is not None
    assert drawing.title == "Tokens by cause"
    assert [row["value"] for row in rows(drawing, "causes")] == [row.tokens for row in causes]
    assert causes_chart((), {}) is None


def test_thinned_memory_keeps_its_peak() -> None:
    page = made_page(2_000, turns=20)
    drawing = residency_chart(page.timeline.memory, page.cache.residency)
    must = [row["size"] for row in rows(drawing, "memory") if row["kind"] == "must have"]
    assert len(must) <= MOST_POINTS
    peak = max(mark.must_have_bytes or 0 for mark in page.timeline.memory)
    assert max(must) == pytest.approx(peak / 2**20, abs=0.01)
    # Swap was read as nothing throughout: no line, no place in the legend.
    assert {row["kind"] for row in rows(drawing, "memory")} == {"must have", "file pages (can be dropped)", "resident"}


def test_memory_holds_until_it_is_read_again() -> None:
    page = made_page(24, dispatches=True)
    drawing = timeline_chart(page.timeline)
    assert drawing is not None
    number = [choice.label for choice in drawing.choices].index("session 1")
    points = rows(drawing, "memory", number)
    last = max(row["b"] for row in rows(drawing, "spans", number))
    assert (points[0]["t"], points[-1]["t"]) == (0.0, pytest.approx(last, abs=0.01))
    assert points[-1]["mib"] == points[-2]["mib"]
    assert len({point["t"] for point in points}) == len(points)


def test_an_empty_run_has_no_charts() -> None:
    assert drawings_of(made_page(0)) == []


def test_causes_of_a_side_share_a_family_of_colours() -> None:
    colours = cause_colours(made_page().explanation.worst)
    assert {code: shade for code, (_, shade) in colours.items()} == {"P1": "@p1", "E2": "@e1"}


def test_both_schemes_have_every_colour_that_a_chart_names() -> None:
    assert COLOURS["light"].keys() == COLOURS["dark"].keys()
    for drawing in drawings_of(made_page(dispatches=True)):
        for theme in ("light", "dark"):
            assert "@" not in str(picture_spec(drawing, theme)["config"])
            assert not [word for word in str(picture_spec(drawing, theme)).split("'") if word[:1] == "@"]
        assert colours_of("light")["paper"] in str(picture_spec(drawing, "light"))


@pytest.mark.slow
def test_pictures_of_every_chart() -> None:
    for drawing in drawings_of(made_page()):
        assert picture(drawing, "png").startswith(b"\x89PNG")
        assert picture(drawing, "svg", "dark").startswith(b"<svg")
