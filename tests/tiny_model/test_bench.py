"""The shipped files on toolbench, through the real llama-server: what they solve and what they do not."""

from __future__ import annotations

from random import Random

import pytest

from harness.tasks.toolbench.questions import KINDS, TIERS, Kind, draw
from tests.tiny_model.bench import bloated, dispatch, measure, persona, questions
from tests.tiny_model.evaluate import FILES
from tests.tiny_model.server import Server, serving
from tests.tiny_model.templates import FOLDER

EASY: list[Kind] = [kind for kind in KINDS if TIERS[kind] == "easy"]


@pytest.mark.engine
def test_the_easy_tier_is_solved_in_nine_of_ten_instances(tiny_server: Server) -> None:
    scores = {
        question.text: dispatch(tiny_server, question, persona())[0] for kind in EASY for question in questions(kind, 5)
    }
    unsolved = [text for text, score in scores.items() if score < 1.0]
    assert len(unsolved) <= len(scores) * 0.1, unsolved


@pytest.mark.engine
def test_a_wrong_call_is_answered_with_an_error_and_costs_the_score(tiny_server: Server) -> None:
    """The loop is not lenient: a question about another item than the world's has no answer."""
    question, other = draw(Random(1), "select"), draw(Random(2), "select", draw(Random(1), "select").tools)
    strange = type(question)(question.kind, other.text, question.answer, question.tools, question.calls, question.world)
    score, chat = dispatch(tiny_server, strange)
    assert score == 0.0
    assert any(str(message["content"]).startswith("error: no item") for message in chat if message["role"] == "tool")


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_each_file_solves_the_easy_tier_and_fails_on_part_of_the_hard_one(name: str) -> None:
    pytest.importorskip("xllamacpp")
    with serving(FOLDER / name, context=8192) as server:
        found = measure(server, 12, persona())
    assert found["easy"]["solved"] >= 0.9
    assert found["hard"]["solved"] < 0.8
    assert found["easy"]["score"] >= found["medium"]["score"] > found["hard"]["score"]


@pytest.mark.engine
@pytest.mark.slow
def test_the_score_falls_from_f16_to_q2_k_where_the_prompt_is_long() -> None:
    """Short prompts leave both room to spare; under 9 KB of text beside the task the small quant loses its way."""
    pytest.importorskip("xllamacpp")
    found = {}
    for name in ("tiny-f16.gguf", "tiny-q2_k.gguf"):
        with serving(FOLDER / name, context=8192) as server:
            found[name] = measure(server, 6, bloated(9000))["all"]["score"]
    assert found["tiny-f16.gguf"] - found["tiny-q2_k.gguf"] > 0.15
