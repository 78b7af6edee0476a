"""The tiers: what each step is set by, and that nobody stands below what is never better. Candidates are made up."""

from __future__ import annotations

import msgspec

from harness.quant.base import CandidateResult
from harness.quant.figures import Figures, figures_of
from harness.quant.task_evidence import TaskEvidence, TaskState
from harness.quant.tiers import Tier, ordered, speed_tie, tiers_of, unstable_against
from tests.harness.quant.made_up import WANTED, candidate


def evidence(name: str, state: TaskState) -> TaskEvidence:
    return TaskEvidence(name, "Q8_0", state, "success", 40, 40, "", "")


def known(*results: CandidateResult) -> dict[str, Figures]:
    return {one.candidate.name: figures_of(one, WANTED) for one in results}


def renamed(one: CandidateResult, name: str) -> CandidateResult:
    return msgspec.structs.replace(one, candidate=msgspec.structs.replace(one.candidate, name=name))


def test_each_step_is_set_by_its_own_evidence() -> None:
    arms = [candidate("Q8_0"), candidate("Q4_K_M"), candidate("Q2_K"), candidate("Q5_K_M", misses=0.265)]
    arms.append(candidate("Q6_K", with_measured=False, with_quality=False))
    tiers = tiers_of(arms, known(*arms), {}, None)
    assert tiers["Q8_0"] == Tier(unmeasured=0, damaged=0, tasks=1, unproven=0, cache=0)
    assert tiers["Q4_K_M"].unproven == 1
    assert (tiers["Q2_K"].damaged, tiers["Q2_K"].unproven) == (1, 2)
    assert tiers["Q5_K_M"].cache == 1
    assert tiers["Q6_K"].unmeasured == 1


def test_tasks_prove_only_against_a_sound_baseline() -> None:
    arms = [candidate("Q8_0"), candidate("Q4_K_M")]
    held = {"Q4_K_M": evidence("Q4_K_M", "held")}
    assert tiers_of(arms, known(*arms), held, "Q8_0")["Q4_K_M"].unproven == 0
    damaged = [candidate("Q8_0", kld=0.04), candidate("Q4_K_M")]
    assert tiers_of(damaged, known(*damaged), held, "Q8_0")["Q4_K_M"].unproven == 1


def test_what_is_never_better_than_a_worse_one_is_not_above_it() -> None:
    """A test over tasks can call one worse and miss another that did worse still, when that one scattered more."""
    better, same = candidate("Q6_K"), renamed(candidate("Q6_K", decode=22.0), "Q6_K slower")
    arms = [candidate("Q8_0", decode=30.0), better, same]
    found = {"Q6_K": evidence("Q6_K", "worse"), "Q6_K slower": evidence("Q6_K slower", "not shown")}
    tiers = tiers_of(arms, known(*arms), found, "Q8_0")
    assert tiers["Q6_K slower"] == tiers["Q6_K"]
    assert tiers["Q8_0"].tasks == 1
    assert ordered(arms, known(*arms), tiers) == ("Q8_0", "Q6_K", "Q6_K slower")


def test_a_cache_is_unstable_only_beside_a_steadier_one_and_by_more_than_chance() -> None:
    def against(first: float, second: float) -> str | None:
        return unstable_against("Q5_K_M", known(candidate("Q8_0", misses=first), candidate("Q5_K_M", misses=second)))

    assert against(0.02, 0.265) == "Q8_0"
    assert against(0.25, 0.265) is None
    assert against(0.02, 0.06) is None, "four points are inside the margin"
    assert unstable_against("Q5_K_M", known(candidate("Q5_K_M", misses=0.265))) is None


def test_rates_without_an_interval_are_a_tie_inside_a_tenth() -> None:
    arms = [candidate(name, with_measured=False, with_quality=False) for name in ("Q6_K", "Q8_0")]
    near = [arms[0], candidate("Q5_K_M", decode=22.0, with_measured=False, with_quality=False)]
    assert speed_tie(near, known(*near), "decode_per_s") == {"Q6_K", "Q5_K_M"}
    assert speed_tie(arms, known(*arms), "decode_per_s") == {"Q6_K"}
