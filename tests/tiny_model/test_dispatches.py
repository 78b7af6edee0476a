"""The dispatches that are trained on: right calls, the harness's own texts, and nothing of any instance."""

from __future__ import annotations

import json
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.registry import list_packs
from harness.tasks.toolbench.generator import question_of
from harness.tasks.toolbench.questions import KINDS, NONE, RULES, draw, held_out
from tests.tiny_model.chats import THINK, Session
from tests.tiny_model.corpus import library_texts
from tests.tiny_model.dispatches import SETTINGS, answered, dispatches, excerpt

seeds = st.integers(0, 2**32)


def answers_of(session: Session) -> list[str]:
    calls = [call["function"] for message in session.messages for call in message.get("tool_calls", ())]
    return [json.loads(call["arguments"])["answer"] for call in calls if call["name"] == "submit"]


@given(seed=seeds)
def test_every_question_and_every_answer_is_of_the_share_for_training(seed: int) -> None:
    session = dispatches(Random(seed))
    asked = [message["content"] for message in session.messages if message["role"] == "user"]
    texts = [text.removesuffix(f"\n\n{RULES}") for text in asked]
    assert len(texts) == len(answers_of(session)) > 0
    assert not any(held_out(text) for text in texts)
    assert not any(held_out(answer) for answer in answers_of(session) if answer != NONE)


def test_every_instance_is_of_the_other_share() -> None:
    pack = next(pack for pack in list_packs() if pack.id == "toolbench")
    questions = [question_of(instance, seed) for instance in pack.instances for seed in range(4)]
    assert all(held_out(question.text) for question in questions)
    assert all(question.answer == NONE or held_out(question.answer) for question in questions)


@given(seed=seeds)
def test_an_assistant_turn_is_one_call_of_an_offered_tool_and_thinks_when_told_to(seed: int) -> None:
    session = dispatches(Random(seed))
    offered = {tool["function"]["name"] for tool in session.tools}
    first = session.messages[0]
    thinks = first["role"] == "system" and first["content"].endswith(THINK)
    for message in session.messages:
        if message["role"] == "assistant":
            assert [call["function"]["name"] in offered for call in message["tool_calls"]] == [True]
            assert message["content"] == ""
            assert bool(message.get("reasoning_content")) == thinks


def test_a_dispatch_is_asked_and_answered_as_the_task_has_it() -> None:
    question, session = draw(Random(1), "chain4", held=False), Session()
    answered(session, question, thinks=False)
    assert session.messages[0] == {"role": "user", "content": question.instruction}
    replies = [message["content"] for message in session.messages if message["role"] == "tool"]
    assert replies == [*question.replies(), "submitted"]


def test_every_kind_is_trained() -> None:
    assert {kind for _, _, kinds in SETTINGS for kind in kinds} == set(KINDS)


def test_an_excerpt_is_part_of_a_text() -> None:
    texts = tuple(text for text in library_texts()[:9] if len(text) > 500)
    part = excerpt(Random(2), texts, 500)
    assert len(part) == 500
    assert any(part in text for text in texts)
