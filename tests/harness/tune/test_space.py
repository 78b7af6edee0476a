"""A space holds every setting that can be run once, and the current one."""

from __future__ import annotations

import pytest

from backends.base import TargetError
from harness.experiment.plan import PlanError
from harness.settings import Setting, SettingError, find_setting, levers
from harness.tune.rules import BUNDLED_RULES, Impossible, Rules, excluded_by_words, read_rules
from harness.tune.space import Space, make_space, parse_vary

PLAIN = find_setting("plain")


def made(rules: Rules | None = None, **vary: tuple[str, ...]) -> Space:
    named = {name.replace("__", "."): levels for name, levels in vary.items()}
    return make_space(PLAIN, "plain", named, read_rules() if rules is None else rules)


def test_settings_that_differ_in_a_lever_that_does_nothing_are_one() -> None:
    space = made(prompt__volatile=("none", "clock"), prompt__volatile_at=("system_start", "system_end", "last_message"))
    assert space.combinations == 6
    assert len(space.points()) == 4
    assert space.canonical(("none", "last_message")) == ("none", "system_start")
    settings = [levers(space.setting_of(point)) for point in space.points()]
    assert all(one not in settings[:number] for number, one in enumerate(settings))


def test_the_current_level_is_added_and_the_current_setting_stays_as_it_is() -> None:
    space = made(skills__bytes=("2000", "9000"))
    assert space.levers[0].levels == ("2000", "9000", "0")
    assert (space.levers[0].low, space.levers[0].high) == ("0", "9000")
    assert space.label(space.current) == "current"
    assert space.setting_of(space.current) is PLAIN
    assert space.setting_of(("9000",)).skills.bytes == 9000


def test_default_leaves_an_option_of_the_server_out() -> None:
    space = made(target__slots=("1", "2"))
    assert space.current == ("default",)
    assert space.setting_of(("2",)).target == {"slots": 2}


def test_what_the_target_says_is_the_current_level() -> None:
    space = make_space(PLAIN, "plain", {"target.ctx": ("4096",)}, Rules(), target_options={"ctx": "32768"})
    assert space.current == ("32768",)


def test_a_rule_excludes_what_it_says_and_the_nearest_takes_its_place() -> None:
    rules = Rules(impossible=(excluded_by_words("tests.granularity=suite,skills.bytes=9000"),))
    space = made(rules, tests__granularity=("file", "suite"), skills__bytes=("0", "9000"))
    assert ("suite", "9000") not in space.points()
    assert len(space.points()) == 3
    assert space.nearest(("suite", "9000")) in {("file", "9000"), ("suite", "0")}


def test_a_rule_knows_the_levers_that_are_not_varied() -> None:
    rules = Rules(impossible=(Impossible({"skills.bytes": 0, "tests.granularity": "suite"}, "no"),))
    assert made(rules, tests__granularity=("file", "suite", "test")).points() == (("file",), ("test",))


def test_points_are_drawn_from_a_space_that_is_too_large_to_list() -> None:
    space = made(
        limits__turns=tuple(map(str, range(10, 60))),
        limits__tokens=tuple(map(str, range(1000, 1050))),
        loop__repeats=("2", "3", "4"),
    )
    with pytest.raises(PlanError, match="too many to list"):
        space.points()
    drawn = space.draw(100, seed=1)
    assert len(set(drawn)) == 100
    assert drawn[0] == space.current
    assert drawn == space.draw(100, seed=1) != space.draw(100, seed=2)


@pytest.mark.parametrize(
    ("words", "fault"),
    [(["prompt.volatile"], "no lever with levels"), (["a.b=1", "a.b=2"], "varied twice"), (["a.b=,"], "no lever")],
)
def test_a_wrong_vary_is_said(words: list[str], fault: str) -> None:
    with pytest.raises(PlanError, match=fault):
        parse_vary(words)


def test_what_settings_and_targets_refuse_is_said_with_the_level() -> None:
    with pytest.raises(SettingError, match=r"--vary skills\.byte"):
        made(skills__byte=("1", "2"))
    with pytest.raises(SettingError, match="sometimes"):
        made(prompt__volatile=("none", "sometimes"))
    with pytest.raises(PlanError, match="one level alone"):
        made(skills__bytes=("0",))

    def refuse(changed: Setting) -> None:
        if changed.target.get("slots") == 0:
            raise TargetError("slots must be at least 1")

    with pytest.raises(TargetError, match=r"target.slots=0: slots must be"):
        make_space(PLAIN, "plain", {"target.slots": ("0", "1")}, Rules(), check=refuse)


def test_the_bundled_rules_name_levers_that_there_are() -> None:
    known = set(levers(Setting()))
    rules = read_rules(BUNDLED_RULES)
    named = {rule.lever for rule in rules.inert} | {key for rule in rules.inert for key in rule.where}
    named |= {key for rule in rules.impossible for key in rule.where} | set(rules.cost_only)
    assert {name for name in named if not name.startswith("target.")} <= known
