"""The recommendation: a test for each case, and what must hold whatever the candidates are. All of them are made up."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.quant.base import CandidateResult, Flips, Measured, RateAt, TaskResult, Wanted
from harness.quant.damage import band_of
from harness.quant.dominance import dominates, never_worse
from harness.quant.figures import figures_of
from harness.quant.recommend import recommend
from harness.quant.recommendation import Recommendation
from tests.harness.quant.made_up import GIB, QUANTS, WANTED, candidate, quality, tasks, whole_set

PERCENTAGE = re.compile(r"[0-9.]+ ?%")
WITH_ITS_N = re.compile(r"[0-9.]+ % of \d+ \w+|\([0-9.]+ %, \d+ (pairs|dispatches), \d+ tasks")


def predicted_only(names: Sequence[str] = tuple(QUANTS)) -> list[CandidateResult]:
    return [candidate(name, with_measured=False, with_quality=False) for name in names]


def texts(found: Recommendation) -> list[str]:
    notes = [note for one in found.judged for note in one.notes]
    evidence = [text for one in found.judged if one.tasks for text in (one.tasks.text, one.tasks.beside)]
    reasons = [one.reason for one in found.excluded]
    return [found.reason, *found.details, found.runner_up_cost or "", *found.doubts, *notes, *evidence, *reasons]


def place(found: Recommendation, name: str) -> int:
    return found.ranking.index(name)


def test_the_smallest_near_lossless_one_that_loses_no_task_is_recommended() -> None:
    found = recommend(whole_set(), WANTED)
    assert (found.answer, found.chosen, found.runner_up) == ("recommended", "Q5_K_M", "Q6_K")
    assert found.reason.startswith("Q5_K_M: near-lossless, as F16, Q8_0 and Q6_K, of which it needs the least memory")
    assert "KLD does not rank Q5_K_M, F16, Q8_0 and Q6_K" in " ".join(found.details)
    assert "less memory" in (found.runner_up_cost or "") or "more memory" in (found.runner_up_cost or "")
    by_name = {one.name: one for one in found.judged}
    assert by_name["Q2_K"].tasks is not None
    assert by_name["Q2_K"].tasks.state == "worse"
    assert by_name["F16"].beaten_by == "Q6_K"
    assert {one.name for one in found.judged if one.tie} == {"F16", "Q8_0", "Q6_K", "Q5_K_M"}


def test_near_lossless_ones_are_not_ranked_by_their_kld() -> None:
    """The lower KLD belongs to the larger one: among silent members the smaller goes first all the same."""
    found = recommend([candidate("Q8_0"), candidate("Q6_K", kld=0.0099)], WANTED)
    assert found.chosen == "Q6_K"
    assert found.judged[1].beaten_by == "Q6_K"


def test_below_twice_the_floor_is_the_engines_own_noise() -> None:
    assert band_of(quality(0.00039, floor=0.0002)) == "indistinguishable"
    assert band_of(quality(0.00041, floor=0.0002)) == "silent"
    assert band_of(quality(0.012, floor=0.007)) == "indistinguishable"
    assert band_of(quality(0.03, floor=0.02)) == "drowned"
    assert [band_of(quality(kld)) for kld in (0.01, 0.05, 0.15, 0.16)] == ["silent", "check", "visible", "damaged"]
    assert band_of(None) == "unmeasured"


def test_the_limits_depend_on_the_model_and_that_is_said() -> None:
    assert any("depend on the model" in doubt for doubt in recommend([candidate("Q6_K")], WANTED).doubts)


def test_predictions_alone_are_called_a_prediction() -> None:
    found = recommend(predicted_only(), WANTED)
    assert (found.answer, found.chosen) == ("predicted", "Q6_K")
    assert found.reason.startswith("nothing was measured: Q6_K")
    assert found.run is not None
    assert found.run.startswith("dyno quant models/made-up-8b-F16.gguf")


def test_measured_ones_go_before_those_that_are_only_predicted() -> None:
    found = recommend([candidate("Q8_0"), *predicted_only(["Q6_K", "Q5_K_M"])], WANTED)
    assert found.chosen == "Q8_0"
    assert any("not measured yet: Q5_K_M and Q6_K" in doubt for doubt in found.doubts)


def test_one_candidate_is_recommended_as_the_only_one() -> None:
    found = recommend([candidate("Q4_K_M")], WANTED)
    assert (found.answer, found.chosen, found.runner_up) == ("recommended", "Q4_K_M", None)
    assert found.reason.startswith("the only one that can be had")


def test_all_excluded_says_why_and_what_to_ask_for() -> None:
    small = msgspec.structs.replace(WANTED, memory_bytes=2 * GIB, least_decode_per_s=20.0)
    broken = candidate("Q2_K", failed="the engine ended with signal 11")
    found = recommend([candidate("Q8_0"), broken], small)
    assert (found.answer, found.chosen) == ("none", None)
    assert {one.name: one.why for one in found.excluded} == {"Q8_0": "does not fit", "Q2_K": "failed"}
    assert "needs 9.32 GiB, measured, of 2.00 GiB" in {one.reason for one in found.excluded}
    assert found.run is not None
    assert "--context 4096 --memory 2G --min-decode 20" in found.run


def test_no_candidates_at_all() -> None:
    found = recommend([], WANTED)
    assert (found.answer, found.reason, found.run) == ("none", "there is no candidate", None)


def test_what_is_too_slow_is_left_out_with_its_rate() -> None:
    found = recommend([candidate("Q8_0"), candidate("Q6_K")], Wanted(8192, least_decode_per_s=20.0))
    assert found.chosen == "Q6_K"
    (slow,) = found.excluded
    assert slow.why == "too slow"
    assert "18.1 [" in slow.reason
    assert "3 repeats] tokens/s" in slow.reason


def test_a_measurement_outweighs_the_prediction_that_it_does_not_fit() -> None:
    assert recommend([candidate("Q6_K", fit="does_not_fit")], WANTED).chosen == "Q6_K"
    untried = candidate("Q6_K", fit="does_not_fit", with_measured=False, with_quality=False)
    assert recommend([untried], WANTED).excluded[0].predicted


def test_without_a_reference_it_cannot_be_told() -> None:
    found = recommend([candidate(name, with_quality=False) for name in ("Q6_K", "Q5_K_M", "Q4_K_M")], WANTED)
    assert (found.answer, found.chosen) == ("cannot tell", "Q6_K")
    assert found.run is not None
    assert "--reference" in found.run


def test_where_a_reference_was_there_tasks_are_what_can_tell() -> None:
    found = recommend([candidate(name, with_quality=False) for name in ("Q8_0", "Q6_K", "Q4_K_M")], WANTED)
    assert (found.answer, found.chosen) == ("cannot tell", "Q6_K")
    assert found.run is not None
    assert "--reference" not in found.run
    assert "--tasks toolbench:24" in found.run


def test_tasks_decide_without_a_reference() -> None:
    arms = [candidate("Q8_0", with_quality=False, done=tasks(60, of=60)), candidate("Q4_K_M", with_quality=False)]
    arms[1] = candidate("Q4_K_M", with_quality=False, done=tasks(60, of=60))
    found = recommend(arms, WANTED)
    assert (found.answer, found.chosen) == ("recommended", "Q4_K_M")


def test_rehearsed_tasks_prove_nothing_of_the_quality() -> None:
    arms = [candidate(name, with_quality=False, done=tasks(60, of=60)) for name in ("Q8_0", "Q4_K_M")]
    found = recommend(arms, WANTED, rehearsed=True)
    assert (found.answer, found.chosen) == ("cannot tell", "Q8_0")
    assert not any(one.tasks for one in found.judged)


def test_where_kld_asks_for_tasks_it_cannot_be_told_without_them() -> None:
    found = recommend([candidate("Q4_K_M"), candidate("Q3_K_M")], WANTED)
    assert (found.answer, found.chosen) == ("cannot tell", "Q4_K_M")
    assert found.run is not None
    assert "--tasks" in found.run


def test_tasks_can_prove_what_kld_left_open() -> None:
    proven = [candidate("Q8_0", done=tasks(60, of=60)), candidate("Q4_K_M", done=tasks(60, of=60))]
    assert recommend(proven, WANTED).chosen == "Q4_K_M"
    few = [candidate("Q8_0", done=tasks(5, of=5)), candidate("Q4_K_M", done=tasks(5, of=5))]
    found = recommend(few, WANTED)
    assert found.chosen == "Q8_0"
    assert not any(one.tasks for one in found.judged), "five tasks are too few to compare"


def test_a_fall_that_tasks_suggest_and_do_not_show_keeps_a_candidate_back() -> None:
    arms = [candidate("Q8_0", done=tasks(18, of=20)), candidate("Q6_K", done=tasks(15, of=20))]
    found = recommend(arms, WANTED)
    assert found.judged[0].tasks is not None
    assert found.judged[0].tasks.state == "broken"
    assert found.chosen == "Q8_0"


def test_a_quant_that_loses_its_cache_goes_last_of_its_like() -> None:
    arms = [candidate("Q8_0"), candidate("Q5_K_M", misses=0.265)]
    found = recommend(arms, WANTED)
    assert found.chosen == "Q8_0"
    assert "Q5_K_M is smaller, but loses its cache: full misses in 26.5 % of 200 continuations" in " ".join(
        found.details
    )
    assert recommend([arms[0], candidate("Q5_K_M", misses=0.03)], WANTED).chosen == "Q5_K_M"


def test_one_that_is_shown_slower_is_not_chosen_for_its_size() -> None:
    arms = [candidate("Q8_0", done=tasks(40, wall_s=60)), candidate("Q6_K", done=tasks(40, wall_s=90))]
    found = recommend(arms, WANTED)
    assert found.chosen == "Q8_0"
    assert "Q6_K is smaller, but slower" in found.details


def test_damaged_ones_are_none() -> None:
    found = recommend([candidate("Q2_K"), candidate("Q3_K_M", kld=0.3)], WANTED)
    assert (found.answer, found.chosen) == ("none", None)
    assert "the least is Q3_K_M" in found.reason


def test_tool_calls_that_become_wrong_keep_a_near_lossless_one_back() -> None:
    down = Flips(positions=400, changed=30, tool=4, argument=22, validity=4, up=2, down=24)
    found = recommend([candidate("Q8_0"), candidate("Q5_K_M", flips=down)], WANTED)
    assert found.chosen == "Q8_0"
    even = Flips(positions=400, changed=30, tool=4, argument=22, validity=4, up=13, down=13)
    assert recommend([candidate("Q8_0"), candidate("Q5_K_M", flips=even)], WANTED).chosen == "Q5_K_M"


def test_cache_types_are_candidates_like_weights() -> None:
    arms = predicted_only(["Q6_K"])
    arms.append(candidate("Q6_K q4_0", kv="q4_0", with_measured=False, with_quality=False))
    assert recommend(arms, WANTED).chosen == "Q6_K", "a smaller KV type is not free"


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two candidates have one name: Q6_K"):
        recommend([candidate("Q6_K"), candidate("Q6_K")], WANTED)


# What must hold whatever the candidates are.


@st.composite
def candidates(draw: st.DrawFn) -> list[CandidateResult]:
    names = draw(st.lists(st.sampled_from(sorted(QUANTS)), min_size=1, max_size=5, unique=True))
    with_tasks = draw(st.booleans())
    made: list[CandidateResult] = []
    for name in names:
        done: tuple[TaskResult, ...] = ()
        if with_tasks and draw(st.booleans()):
            chance = st.lists(st.booleans(), min_size=8, max_size=8)
            wall = draw(st.sampled_from((40.0, 60.0, 90.0)))
            done = tuple(
                TaskResult(f"t{n}", 0, success, float(success), wall * (1 + n / 50))
                for n, success in enumerate(draw(chance))
            )
        made.append(
            candidate(
                name,
                kld=draw(st.sampled_from((0.0001, 0.002, 0.009, 0.02, 0.021, 0.08, 0.3))),
                decode=draw(st.sampled_from((8.0, 20.0, 20.2, 30.0))),
                bits=draw(st.sampled_from((2.5, 4.5, 4.8, 6.6, 8.5))),
                misses=draw(st.sampled_from((None, 0.0, 0.02, 0.3))),
                with_quality=draw(st.booleans()),
                with_measured=draw(st.sampled_from((True, True, False))),
                done=done,
            )
        )
    return made


def worsened(one: CandidateResult, name: str, memory: float, decode: float) -> CandidateResult:
    """The same with another name, more memory and a lower rate."""
    renamed = msgspec.structs.replace(one.candidate, name=name)
    seen: Measured | None = one.measured
    if seen is not None:
        rates = tuple(
            RateAt(r.depth_tokens, r.prefill_tokens_per_s, tuple(v * decode for v in r.decode_tokens_per_s))
            for r in seen.rates
        )
        more = int((seen.must_have_bytes or 0) * memory)
        seen = msgspec.structs.replace(seen, must_have_bytes=more, rates=rates)
    return msgspec.structs.replace(one, candidate=renamed, measured=seen)


@given(candidates(), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_candidates_changes_nothing(made: list[CandidateResult], chance: object) -> None:
    shuffled = list(made)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert recommend(shuffled, WANTED) == recommend(made, WANTED)


@given(candidates(), st.data())
@settings(max_examples=25, deadline=None)
def test_one_that_is_beaten_never_changes_the_recommendation(made: list[CandidateResult], data: st.DataObject) -> None:
    better = data.draw(st.sampled_from(made))
    assume(better.measured is not None)
    worse = worsened(better, data.draw(st.sampled_from(("A worse one", "Z worse one"))), 1.2, 0.7)
    assert dominates(figures_of(better, WANTED), figures_of(worse, WANTED))
    before, after = recommend(made, WANTED), recommend([*made, worse], WANTED)
    assert (after.answer, after.chosen, after.ranking) == (before.answer, before.chosen, before.ranking)
    assert after.runner_up == before.runner_up


@given(candidates(), st.data())
@settings(max_examples=25, deadline=None)
def test_worse_in_nothing_and_better_in_one_is_never_ranked_below(
    made: list[CandidateResult], data: st.DataObject
) -> None:
    one = data.draw(st.sampled_from(made))
    assume(one.measured is not None)
    memory, decode = data.draw(st.sampled_from(((1.001, 1.0), (1.2, 1.0), (1.0, 0.99), (1.0, 0.5))))
    worse = worsened(one, data.draw(st.sampled_from(("A worse one", "Z worse one"))), memory, decode)
    found = recommend([*made, worse], WANTED)
    name = one.candidate.name
    if worse.candidate.name in found.ranking:
        assert place(found, name) < place(found, worse.candidate.name)


@given(candidates())
@settings(max_examples=20, deadline=None)
def test_whoever_is_never_better_stands_behind(made: list[CandidateResult]) -> None:
    found = recommend(made, WANTED)
    figures = {one.name: one.figures for one in found.judged}
    for place_, name in enumerate(found.ranking):
        behind = found.ranking[place_ + 1 :]
        assert not [
            other
            for other in behind
            if never_worse(figures[other], figures[name]) and not never_worse(figures[name], figures[other])
        ]


@given(candidates())
@settings(max_examples=20, deadline=None)
def test_no_percentage_without_its_n_and_the_answer_is_whole(made: list[CandidateResult]) -> None:
    found = recommend(made, WANTED)
    for text in texts(found):
        assert len(PERCENTAGE.findall(text)) == len(
            PERCENTAGE.findall(" ".join(m[0] for m in WITH_ITS_N.finditer(text)))
        )
    assert (found.chosen is None) == (found.answer == "none")
    assert found.run is not None or found.answer in {"recommended", "none"}
    assert len(found.judged) + len(found.excluded) == len(made)
    assert found.chosen is None or found.chosen == found.ranking[0]
