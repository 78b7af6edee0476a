"""Which levers are chosen and what they are predicted to save, from findings made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.base import Facts, TargetError
from harness.fixing.plan import FixPlan, Wanted, plan_fix
from profiler.causes.base import Cause
from profiler.findings import CauseTotal, Charge, Finding, Findings
from profiler.pricing import Loss, PrefillModel
from profiler.records import RequestRecord
from profiler.store import StoredRun
from tests.profiler.test_summary import INFO, request

MODEL = PrefillModel(0.0, 1e6, 0.0, ((0.0, 0.0), (0.0, 0.0)), 10, "engine")
"""A millisecond a token."""
FACTS = Facts(engine="llama-server", launched=True)


def finding(session: str, turn: int, *charges: tuple[str, int, int]) -> Finding:
    """A request with charges of (code, token at which it begins, tokens)."""
    record: RequestRecord = request(session=session, turn=turn, request_id=turn)
    made = (
        Charge(Cause(code, "observed", "", (), token=at), (Loss(at, tokens),) if tokens else (), None)
        for code, at, tokens in charges
    )
    return Finding(record, tuple(made))


def findings(*found: Finding, priced: bool = True) -> Findings:
    model = MODEL if priced else None
    charges = [charge for one in found for charge in one.charges]
    totals: list[CauseTotal] = []
    for code in dict.fromkeys(charge.cause.code for charge in charges):
        own = [charge for charge in charges if charge.cause.code == code]
        price = model.price(loss for charge in own for loss in charge.losses) if model else None
        totals.append(CauseTotal(code, len(own), sum(charge.tokens for charge in own), price))
    totals.sort(key=lambda total: -total.tokens)
    return Findings(found, tuple(totals), None, model)


def planned(*found: Finding, wanted: Wanted | None = None, facts: Facts = FACTS, priced: bool = True) -> FixPlan:
    info = msgspec.structs.replace(INFO, facts=facts)
    run = StoredRun(info, tuple(one.record for one in found), (), (), None)
    return plan_fix(Path("nowhere"), run, findings(*found, priced=priced), wanted or Wanted())


def chosen(plan: FixPlan) -> list[tuple[tuple[str, ...], int]]:
    return [(one.row.codes, one.row.predicted.tokens) for one in plan.chosen]


CLOCK = finding("a", 1, ("P1", 10, 100), ("P9", 200, 500))
STOLEN = finding("b", 2, ("E2", 900, 40))


def test_levers_come_in_the_order_of_what_they_save_on_top() -> None:
    """The later change of a prompt is worth nothing before the earlier one is repaired."""
    plan = planned(CLOCK, STOLEN)
    assert chosen(plan) == [(("P1",), 100), (("P9",), 500), (("E2",), 40)]
    assert [one.row.predicted.how for one in plan.chosen] == ["charge", "charge", "upper_bound"]
    assert plan.blocks == (("a",), ("b",))
    assert plan.chosen[0].row.predicted.s == pytest.approx(0.1)


def test_without_a_price_tokens_decide() -> None:
    plan = planned(CLOCK, STOLEN, priced=False)
    assert chosen(plan)[0] == (("P1",), 100)
    assert plan.chosen[0].row.predicted.s is None


def test_a_lever_that_was_asked_for_is_set_though_it_saves_nothing() -> None:
    plan = planned(CLOCK, STOLEN, wanted=Wanted(causes=("P9",)))
    assert chosen(plan) == [(("P9",), 0)]
    assert {one.row.reason for one in plan.levers if not one.row.chosen} == {"not asked for"}
    assert plan.blocks == (("a",),)
    everywhere = planned(CLOCK, STOLEN, wanted=Wanted(causes=("P9",), all_sessions=True))
    assert everywhere.blocks == (("a",), ("b",))


def test_numbers_are_those_of_the_plan_whatever_is_picked() -> None:
    numbers = {one.row.text: one.row.number for one in planned(CLOCK, STOLEN).levers}
    second = next(text for text, number in numbers.items() if number == 2)
    plan = planned(CLOCK, STOLEN, wanted=Wanted(levers=(2,)))
    assert [one.row.text for one in plan.chosen] == [second]
    assert {one.row.text: one.row.number for one in plan.levers} == numbers


def test_a_change_of_the_prompt_that_hides_another_of_no_cost_does_not_end_the_search() -> None:
    hidden = finding("a", 1, ("P1", 10, 0), ("P9", 10, 500))
    assert {codes for codes, _ in chosen(planned(hidden))} == {("P1",), ("P9",)}
    assert sum(tokens for _, tokens in chosen(planned(hidden))) == 500


def test_a_prompt_that_is_repaired_whole_also_finds_its_slot_again() -> None:
    both = finding("a", 1, ("P1", 30, 100), ("E19", 10, 20))
    assert chosen(planned(both, wanted=Wanted(causes=("P1",)))) == [(("P1",), 120)]
    partly = finding("a", 1, ("P1", 30, 100), ("P9", 200, 5), ("E19", 10, 20))
    assert chosen(planned(partly, wanted=Wanted(causes=("P1",)))) == [(("P1",), 100)]
    stolen = finding("a", 1, ("P1", 30, 100), ("E2", 10, 20))
    assert chosen(planned(stolen, wanted=Wanted(causes=("P1",)))) == [(("P1",), 100)]


def test_a_cause_with_two_levers_goes_to_the_one_that_saves_more_in_its_sessions() -> None:
    tools = finding("tools", 1, ("P6", 10, 300)), finding("tools", 2, ("E20", 10, 20))
    clock = finding("clock", 3, ("P1", 10, 900))
    assert chosen(planned(*tools, clock)) == [(("P1",), 900), (("P6", "E20"), 320)]


def test_of_two_levers_that_save_the_same_the_first_is_tried_and_the_other_named() -> None:
    plan = planned(finding("a", 1, ("E1", 50, 70)))
    assert [one.row.options for one in plan.chosen] == [{"slots": "4", "kv_unified": "true"}]
    (other,) = (one.row for one in plan.levers if not one.row.chosen)
    assert other.options == {"cache_ram": "8192"}
    assert "another lever" in other.reason


def test_a_server_that_runs_already_gets_no_launch_options() -> None:
    plan = planned(CLOCK, STOLEN, facts=msgspec.structs.replace(FACTS, launched=False))
    assert [codes for codes, _ in chosen(plan)] == [("P1",), ("P9",)]
    (other,) = (one.row for one in plan.levers if not one.row.chosen)
    assert "restart" in other.reason


def test_what_earlier_sessions_bring_about_is_repeated_as_a_whole() -> None:
    plan = planned(finding("a", 1, ("P1", 10, 100)), finding("b", 2, ("E7", 20, 30)))
    assert plan.blocks == (("a", "b"),)


def test_causes_without_a_lever_are_named_with_what_only_the_user_can_do() -> None:
    plan = planned(finding("a", 1, ("P13", 0, 100)), finding("b", 2, ("E0", 20, 30)))
    assert plan.chosen == ()
    assert [(advice.code, bool(advice.text)) for advice in plan.untestable] == [("P13", True), ("E0", False)]


@pytest.mark.parametrize(
    ("wanted", "said", "hint"),
    [
        (Wanted(levers=(9,)), "no lever 9", "levers 1 to 3"),
        (Wanted(causes=("E8",)), "against the cause E8", "P9, P1, E2"),
    ],
)
def test_what_is_not_there_cannot_be_asked_for(wanted: Wanted, said: str, hint: str) -> None:
    with pytest.raises(TargetError, match=said) as caught:
        planned(CLOCK, STOLEN, wanted=wanted)
    assert hint in str(caught.value.hint)


def test_a_lever_against_nothing() -> None:
    plan: Any = planned()
    assert (plan.levers, plan.chosen, plan.untestable) == ((), (), ())
