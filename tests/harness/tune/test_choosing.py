"""What is raced: by price where a rehearsal decides, all sides where only a dispatch does."""

from __future__ import annotations

from harness.settings import find_setting
from harness.tune.choosing import chosen_for_race, decided_by_dispatch, plainest
from harness.tune.rules import read_rules
from harness.tune.space import Point, Space, make_space


def made(skills: tuple[str, ...] = ("0", "9000")) -> Space:
    vary = {"skills.bytes": skills, "target.slots": ("1", "2"), "prompt.tool_order": ("fixed", "shuffled")}
    return make_space(find_setting("plain"), "plain", vary, read_rules())


def price(point: Point) -> float:
    """Skills and shuffled tools cost, more slots save."""
    return int(point[0]) / 1000 + {"1": 2, "2": 1, "default": 0}[point[1]] + 5 * (point[2] == "shuffled")


def test_rehearsed_the_cheapest_race() -> None:
    space = made()
    raced = chosen_for_race(space, space.points(), price, 2, rehearsed=True, seed=0)
    assert raced == (("0", "2", "fixed"), ("0", "1", "fixed"))


def test_dispatched_every_side_of_what_the_model_reads_is_raced_at_its_cheapest() -> None:
    space = made(("0", "2000", "9000"))
    assert decided_by_dispatch(space) == ("skills.bytes",)
    raced = chosen_for_race(space, space.points(), price, 6, rehearsed=False, seed=0)
    assert {point[0]: point[1:] for point in raced} == {
        "0": ("2", "fixed"),
        "2000": ("default", "fixed"),
        "9000": ("default", "fixed"),
    }


def test_of_too_many_sides_some_are_drawn_and_the_current_one_stays() -> None:
    space = made(tuple(str(size) for size in range(0, 20_000, 1000)))
    raced = chosen_for_race(space, space.points(), price, 4, rehearsed=False, seed=1)
    assert len(raced) == 4
    assert "0" in {point[0] for point in raced}


def test_of_equals_the_one_that_changes_least_is_taken() -> None:
    space = made()
    points = [("9000", "2", "fixed"), ("0", "2", "fixed"), ("0", "default", "shuffled")]
    assert plainest(space, points, [0.100, 0.105, 0.2], 0.01) == ("0", "2", "fixed")
    assert plainest(space, points, [0.100, 0.105, 0.2], 0.001) == ("9000", "2", "fixed")
