"""What the charts of an experiment draw: every estimate with its interval, every pair, every dispatch."""

from __future__ import annotations

import msgspec
import pytest

from profiler.report.html.effects_chart import effects_chart, points_chart
from profiler.report.html.task_map import task_map
from tests.profiler.report.html.made_experiment import made_experiment

pytest.importorskip("altair")


def test_the_primary_metric_is_drawn_with_its_interval_and_its_pairs() -> None:
    document = made_experiment()
    drawing = effects_chart(document)
    assert drawing is not None
    assert [choice.label for choice in drawing.choices] == ["B against A", "C against A"]
    data = drawing.choices[0].data
    first, primary = data["estimates"][0], document.comparisons[0].primary
    assert (first["value"], first["low"], first["high"]) == (primary.value, primary.low, primary.high)
    assert first["role"] == "primary"
    assert len(data["pairs"]) == 12
    assert {pair["metric"] for pair in data["pairs"]} == {first["metric"]}


def test_an_interval_without_a_bound_ends_at_the_edge() -> None:
    document = made_experiment()
    row = document.comparisons[0]
    open_ended = msgspec.structs.replace(row, primary=msgspec.structs.replace(row.primary, high=None))
    drawing = effects_chart(msgspec.structs.replace(document, comparisons=(open_ended,)))
    assert drawing is not None
    assert drawing.choices[0].data["estimates"][0]["high"] == 100


def test_every_dispatch_with_a_time_is_a_point() -> None:
    drawing = points_chart(made_experiment())
    assert drawing is not None
    points = drawing.choices[0].data["points"]
    assert len(points) == 36
    assert {point["ended"] for point in points} == {"passed"}
    assert sum(point["doubts"] != "none" for point in points) == 1


def test_a_cell_says_what_passed_and_is_coloured_by_the_effect() -> None:
    drawing = task_map(made_experiment())
    assert drawing is not None
    cells = {(cell["task"], cell["arm"]): cell for cell in drawing.choices[0].data["cells"]}
    assert len(cells) == 18
    assert cells["t1", "A"]["step"] == "baseline, or not told"
    assert cells["t1", "B"]["step"] == "better"
    assert cells["t1", "B"]["text"].startswith("2/2 · 6.")
    assert cells["t1", "C"]["step"] == "about the same"


def test_more_is_better_for_some_metrics() -> None:
    document = made_experiment()
    rows = tuple(
        msgspec.structs.replace(row, primary=msgspec.structs.replace(row.primary, better="higher"))
        for row in document.comparisons
    )
    drawing = task_map(msgspec.structs.replace(document, comparisons=rows))
    assert drawing is not None
    assert {cell["step"] for cell in drawing.choices[0].data["cells"] if cell["arm"] == "B"} == {"worse"}


def test_nothing_to_draw_is_no_chart() -> None:
    bare = msgspec.structs.replace(made_experiment(), comparisons=(), points=())
    assert (effects_chart(bare), points_chart(bare), task_map(bare)) == (None, None, None)
