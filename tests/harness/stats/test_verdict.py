from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from harness.stats import SUCCESS, Declaration, Guard, Metric, Observation, Verdict, judge, sentence
from harness.stats.power import power_of_ratio
from tests.harness.stats.experiments import dispatch, draw, observed

TOKENS = Metric("tokens", "ratio", accumulates=True)
DECLARED = Declaration(declared=(TOKENS,), exploratory=(Metric("score", "score", "higher"),))


def verdict(seen: list[Observation], declaration: Declaration = DECLARED) -> Verdict:
    return judge(seen, "A", "B", declaration)


def test_a_clear_gain() -> None:
    found = verdict(observed(draw(41, 1, 8, 2, 0.6)))
    assert found.word == "better"
    assert sentence(found).startswith("B is better than A: time to verified success × 0.6")
    assert "(95 %, 16 pairs, 8 tasks; t over tasks)" in sentence(found)
    assert (found.more_blocks, found.more_tasks) == (None, None)


def test_exchanged_arms_exchange_the_word() -> None:
    seen = observed(draw(41, 1, 8, 2, 0.6))
    assert judge(seen, "B", "A", DECLARED).word == "worse"


def test_equivalent_arms_need_many_pairs() -> None:
    found = verdict(observed(draw(42, 1, 12, 8)))
    assert found.word == "equivalent"
    assert "B is equivalent to A within 10 %" in sentence(found)
    assert verdict(observed(draw(42, 1, 6, 1))).word == "cannot tell"


def test_what_cannot_be_told_says_how_much_more_would() -> None:
    found = verdict(observed(draw(44, 1, 6, 2, 0.93)))
    assert found.word == "cannot tell"
    assert found.more_blocks or found.more_tasks
    assert "more" in sentence(found)


@pytest.mark.parametrize(("tasks", "repeats", "ratio"), [(3, 2, 0.8), (6, 1, 0.85), (6, 2, 0.9)])
def test_where_the_power_is_below_half_it_cannot_be_told(tasks: int, repeats: int, ratio: float) -> None:
    """Mostly: a difference is found as often as the power says. It is never called equivalent."""
    assert power_of_ratio(tasks, repeats, ratio) < 0.5
    drawn = draw(43, 25, tasks, repeats, ratio)
    words = Counter(verdict(observed(drawn, trial), Declaration(guards=())).word for trial in range(25))
    assert words["cannot tell"] > 12
    assert words["equivalent"] + words["worse"] <= 2


def words_of_equal_arms(trials: int, slow: float, failing: float) -> Counter[str]:
    drawn = draw(45, trials, 6, 2, slow=(slow, slow), failing=(failing, failing))
    return Counter(verdict(observed(drawn, trial), Declaration()).word for trial in range(trials))


@pytest.mark.slow
@pytest.mark.parametrize("slow", [0.0, 0.33])
@pytest.mark.parametrize("failing", [0.0, 0.2])
def test_equal_arms_are_told_apart_in_5_of_100_cases(slow: float, failing: float) -> None:
    words = words_of_equal_arms(400, slow, failing)
    assert words["better"] + words["worse"] <= 20 + 13, "three standard errors above 5 %"


def test_a_faster_arm_that_fails_more_is_not_better() -> None:
    drawn = draw(46, 1, 12, 2, 0.4, failing=(0.0, 0.25))
    found = verdict(observed(drawn))
    assert found.guards[0].state == "broken"
    assert found.word in {"cannot tell", "worse"}
    assert "Against it: success" in sentence(found)


def test_a_guard_whose_fall_is_shown_makes_it_worse() -> None:
    drawn = draw(47, 1, 20, 3, 0.7, failing=(0.0, 0.6))
    found = verdict(observed(drawn))
    assert found.guards[0].ruled_out
    assert found.word == "worse"


def test_a_few_pairs_show_no_guard() -> None:
    """All 12 pairs succeed in both arms: success may still have fallen by 18 points."""
    found = verdict(observed(draw(41, 1, 6, 2, 0.5)))
    assert found.word == "better"
    assert found.guards[0].state == "not shown"
    assert found.guards[0].pairs_needed == 25
    assert "Not shown: that success does not get worse by more than 0.1 (12 pairs; needs about 25)" in sentence(found)
    held = verdict(observed(draw(41, 1, 12, 4, 0.5)))
    assert held.guards[0].state == "held"


def test_a_guard_can_be_a_ratio() -> None:
    drawn = draw(48, 1, 8, 2, 0.5)
    seen = [
        msgspec.structs.replace(each, measures={"tokens": 100.0 + each.order % 7 + 100 * (each.arm == "B")})
        for each in observed(drawn)
    ]
    found = verdict(seen, Declaration(guards=(Guard(TOKENS, 0.2),)))
    assert (found.guards[0].state, found.guards[0].ruled_out, found.word) == ("broken", True, "worse")


def test_no_success_at_all_cannot_be_told() -> None:
    found = verdict(observed(draw(49, 1, 6, 2, failing=(1.0, 1.0))))
    assert found.word == "cannot tell"
    assert "12 × pair without an end in either arm" in found.reasons


def test_success_can_be_the_primary() -> None:
    found = verdict(observed(draw(50, 1, 12, 2, failing=(0.9, 0.1))), Declaration(primary=SUCCESS, guards=()))
    assert found.word == "better"
    assert found.order == ()


def test_several_treatments_share_the_error() -> None:
    alone, third = (verdict(observed(draw(41, 1, 8, 2, 0.7)), Declaration(comparisons=n)) for n in (1, 3))
    one, other = alone.primary.main.interval, third.primary.main.interval
    assert one is not None
    assert other is not None
    assert one.low is not None
    assert other.low is not None
    assert other.low < one.low
    assert other.confidence == pytest.approx(1 - 0.05 / 3)


def test_declared_metrics_are_corrected_and_others_are_not() -> None:
    found = verdict(observed(draw(41, 1, 8, 2, 0.7)))
    assert set(found.adjusted_p) == {"time to verified success", "tokens"}
    main = found.declared[0].main
    adjusted = found.adjusted_p["tokens"]
    assert adjusted is not None
    assert main.p is not None
    assert adjusted >= main.p
    assert [each.metric.name for each in found.exploratory] == ["score"]


def test_an_empty_experiment_is_told_as_one() -> None:
    found = verdict([dispatch("A", excluded=True)])
    assert found.word == "cannot tell"
    assert "1 × dispatch ended by a fault" in found.reasons
    assert sentence(found).startswith("cannot tell B from A: time to verified success not told")


@pytest.mark.parametrize("failing", [0.0, 0.4, 1.0])
def test_a_verdict_is_a_document(failing: float) -> None:
    found = verdict(observed(draw(51, 1, 6, 2, 0.7, slow=(0.3, 0.3), failing=(failing, failing))))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Verdict) == found
