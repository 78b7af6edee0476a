"""What every drawn question promises, for any seed and for both shares: instances and training."""

from __future__ import annotations

import json
import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.toolbench.catalogue import EFFECTS, FORMS, RECORDS, SCHEMAS, TRAILS
from harness.tasks.toolbench.questions import KINDS, NONE, SUMS, TIERS, Kind, draw, held_out, toolset
from harness.tasks.toolbench.world import answer

kinds = st.sampled_from(KINDS)
seeds = st.integers(0, 2**32)
SUM = re.compile(r"\((\d+) \+ (\d+)\)")


@given(kind=kinds, seed=seeds, held=st.booleans())
def test_the_last_reply_holds_the_answer_and_no_other_one_does(kind: Kind, seed: int, held: bool) -> None:
    question = draw(Random(seed), kind, held=held)
    replies = question.replies()
    if question.answer == NONE:
        assert kind == "impossible"
        assert not replies or "error" in replies[-1] or "empty" in replies[-1]
    else:
        assert replies[-1].endswith(f" {question.answer}")
        assert all(question.answer not in text for text in (question.instruction, *replies[:-1]))


@given(kind=kinds, seed=seeds)
def test_every_call_has_an_offered_tool_and_the_arguments_of_its_schema(kind: Kind, seed: int) -> None:
    question = draw(Random(seed), kind)
    assert question.tools.count("submit") == 1
    assert len(set(question.tools)) == len(question.tools)
    for call in (*question.calls, question.submission):
        assert call.name in question.tools
        assert list(call.arguments) == SCHEMAS[call.name]["function"]["parameters"]["required"]


@given(kind=kinds, seed=seeds)
def test_each_argument_is_in_the_question_or_in_an_earlier_reply(kind: Kind, seed: int) -> None:
    question = draw(Random(seed), kind)
    seen = question.text
    for call, reply in zip(question.calls, question.replies(), strict=True):
        assert all(str(value) in seen for value in call.arguments.values())
        seen += SUM.sub(lambda found: str(int(found[1]) + int(found[2])), reply)


@given(kind=kinds, seed=seeds)
def test_instances_and_training_share_no_question_and_no_answer(kind: Kind, seed: int) -> None:
    instance, training = draw(Random(seed), kind, held=True), draw(Random(seed), kind, held=False)
    assert held_out(instance.text)
    assert not held_out(training.text)
    assert instance.answer == NONE or held_out(instance.answer)
    assert training.answer == NONE or not held_out(training.answer)


@given(kind=kinds, seed=seeds)
def test_the_same_seed_draws_the_same_question(kind: Kind, seed: int) -> None:
    assert draw(Random(seed), kind) == draw(Random(seed), kind)


@pytest.mark.parametrize(
    ("kind", "calls"), [("select", 1), ("arguments", 1), ("chain2", 2), ("chain4", 4), ("chain6", 6)]
)
def test_a_kind_takes_its_number_of_calls(kind: Kind, calls: int) -> None:
    assert {len(draw(Random(seed), kind).calls) for seed in range(20)} == {calls}


def test_a_recovery_fails_first_and_then_succeeds_by_what_the_error_says() -> None:
    for seed in range(30):
        question = draw(Random(seed), "recover")
        first, *_, last = (answer(question.world, call, question.calls[:at]) for at, call in enumerate(question.calls))
        assert not first[1]
        assert first[0].startswith("error: ")
        assert last[1]
    fixes = {draw(Random(seed), "recover").calls[1].name for seed in range(30)}
    assert {"unlock", "wait"} < fixes


def test_only_the_hard_trail_has_false_signs_and_at_times_a_sum() -> None:
    sums = []
    for seed in range(40):
        hard, plain = draw(Random(seed), "chain6"), draw(Random(seed), "chain4")
        leads = hard.replies()[:-1]
        assert all((" not " in f" {reply}") != bool(SUM.search(reply)) for reply in leads)
        assert SUMS in hard.text
        sums.append(sum(bool(SUM.search(reply)) for reply in leads))
        assert not any(" not " in reply or SUM.search(reply) for reply in plain.replies())
    assert set(sums) == {0, 1}


def test_what_is_impossible_has_no_tool_no_item_or_no_end() -> None:
    questions = [draw(Random(seed), "impossible") for seed in range(60)]
    ends = {question.replies()[-1].rpartition(" ")[2] if question.calls else "no tool" for question in questions}
    assert "no tool" in ends
    assert "empty" in ends
    assert any(text.partition("-")[2].isdigit() for text in ends)


def test_tools_to_choose_from_are_alike() -> None:
    for seed in range(20):
        tools = [name for name in toolset(Random(seed), "select") if name != "submit"]
        properties = [name.partition("_")[2] for name in tools]
        assert 4 <= len(tools) <= 5
        assert len(set(properties)) < len(properties)


def test_every_kind_has_a_tier_and_every_tool_a_schema_and_an_effect() -> None:
    assert set(TIERS) == set(KINDS)
    assert set(SCHEMAS) == set(EFFECTS) == {*RECORDS, *TRAILS.values(), *FORMS, "unlock", "wait", "submit"}
    assert all(json.loads(json.dumps(schema))["function"]["name"] == name for name, schema in SCHEMAS.items())
