"""Where the labels of points go in a chart, so that none covers another or a point. Pixels in, pixels out; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

__all__ = ["Label", "Place", "place_labels"]

Align = Literal["left", "center", "right"]
_CHARACTER_PIXELS: Final = 6.6
_HEIGHT_PIXELS: Final = 14.0
_FARTHER: Final = (0.0, 11.0, 25.0, 41.0, 59.0)
_DIRECTIONS: Final[tuple[tuple[float, float, Align], ...]] = (
    (1, 0, "left"), (-1, 0, "right"), (0, -1, "center"), (0, 1, "center"),
    (0.8, -0.8, "left"), (0.8, 0.8, "left"), (-0.8, -0.8, "right"), (-0.8, 0.8, "right"),
)  # fmt: skip


class Place(NamedTuple):
    """A point to be named; y grows downwards. `room` is how far from its middle a text may begin."""

    x: float
    y: float
    text: str
    room: float = 11.0


class Label(NamedTuple):
    """Where its text stands: the anchor of `align`, in the middle of the line; `far`: a line to the point is needed."""

    x: float
    y: float
    align: Align
    far: bool


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def shared(self, other: _Box) -> float:
        """How much area both cover."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across * down if across > 0 and down > 0 else 0.0


def place_labels(places: Sequence[Place], width: float, height: float) -> list[Label]:
    """A label for each point, near it and inside the panel; in the order of `places`, the first choose first."""
    points = [_Box(p.x - p.room + 2, p.y - p.room + 2, p.x + p.room - 2, p.y + p.room - 2) for p in places]
    taken: list[_Box] = []
    labels: list[Label] = []
    for number, place in enumerate(places):
        others = [*points[:number], *points[number + 1 :], *taken]
        choices = [
            (_covered(box := _box(place, label), others, width, height), step, label, box)
            for step, label in enumerate(_choices(place))
        ]
        _, _, label, box = min(choices, key=lambda choice: choice[:2])
        taken.append(box)
        labels.append(label)
    return labels


def _choices(place: Place) -> list[Label]:
    return [
        Label(place.x + across * (place.room + more), place.y + down * (place.room + more), align, more > 0)
        for more in _FARTHER
        for across, down, align in _DIRECTIONS
    ]


def _box(place: Place, label: Label) -> _Box:
    wide = len(place.text) * _CHARACTER_PIXELS
    left = label.x - {"left": 0.0, "center": wide / 2, "right": wide}[label.align]
    return _Box(left, label.y - _HEIGHT_PIXELS / 2, left + wide, label.y + _HEIGHT_PIXELS / 2)


def _covered(box: _Box, others: Sequence[_Box], width: float, height: float) -> float:
    """Area that is covered twice or lies outside the panel."""
    whole = (box.right - box.left) * (box.bottom - box.top)
    return whole - box.shared(_Box(0, 0, width, height)) + sum(box.shared(other) for other in others)
