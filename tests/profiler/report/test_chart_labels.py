"""Labels of a chart: inside the panel, and none over another or over a point that is not its own."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.report.chart_labels import Place, place_labels

WIDTH, HEIGHT = 560, 400
CHARACTER, LINE = 6.6, 14.0


def box(place: Place, x: float, y: float, align: str) -> tuple[float, float, float, float]:
    wide = len(place.text) * CHARACTER
    left = x - {"left": 0.0, "center": wide / 2, "right": wide}[align]
    return left, y - LINE / 2, left + wide, y + LINE / 2


def overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return min(one[2], other[2]) - max(one[0], other[0]) > 0.01 and min(one[3], other[3]) - max(one[1], other[1]) > 0.01


def test_a_lone_point_is_named_on_its_right() -> None:
    (label,) = place_labels([Place(100, 100, "Q6_K")], WIDTH, HEIGHT)
    assert (label.x, label.y, label.align, label.far) == (111, 100, "left", False)


def test_at_the_right_edge_it_is_named_on_its_left() -> None:
    (label,) = place_labels([Place(550, 100, "Q6_K")], WIDTH, HEIGHT)
    assert label.align == "right"


def test_points_in_one_place_get_labels_apart_and_lines_to_them() -> None:
    places = [Place(300 + n, 200, f"Q4_K_{n}") for n in range(8)]
    labels = place_labels(places, WIDTH, HEIGHT)
    boxes = [box(place, label.x, label.y, label.align) for place, label in zip(places, labels, strict=True)]
    assert not [(a, b) for a in range(8) for b in range(a) if overlap(boxes[a], boxes[b])]
    assert any(label.far for label in labels)


@given(st.lists(st.tuples(st.integers(60, 500), st.integers(30, 370)), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_few_labels_never_cover_each_other_and_stay_inside(points: list[tuple[int, int]]) -> None:
    places = [Place(x, y, f"Q{n}_K_M") for n, (x, y) in enumerate(points)]
    labels = place_labels(places, WIDTH, HEIGHT)
    boxes = [box(place, label.x, label.y, label.align) for place, label in zip(places, labels, strict=True)]
    assert not [(a, b) for a in range(len(boxes)) for b in range(a) if overlap(boxes[a], boxes[b])]
    assert all(left >= 0 and top >= 0 and right <= WIDTH and bottom <= HEIGHT for left, top, right, bottom in boxes)
