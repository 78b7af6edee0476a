"""Reasoning in the words of the families that mark it."""

from __future__ import annotations

import pytest

from profiler.causes.reasoning_marks import empty_reasoning, opens_reasoning


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nHm.\n</think>\n\nYes.",
        "<|channel|>analysis<|message|>Hm.<|end|>",
        "[THINK]Hm.[/THINK]Yes.",
        "<|channel>thought\nHm.\n<channel|>Yes.",
        "<seed:think>Hm.</seed:think>Yes.",
        "<|START_THINKING|>Hm.<|END_THINKING|>",
        "Hm.</think>Yes.",
    ],
)
def test_reasoning_is_known_by_its_marks(text: str) -> None:
    assert opens_reasoning(text, "Yes.")
    assert not opens_reasoning("Yes.", text)
    assert not opens_reasoning(text, text)


def test_reasoning_that_was_emptied_is_told_too() -> None:
    """GLM and Nemotron keep the marks of earlier replies and drop what stood between them."""
    assert opens_reasoning("<think>Hm.</think>Yes.", "<think></think>Yes.")
    assert not opens_reasoning("<think></think>Yes.", "<think>\n</think>Yes.")
    assert empty_reasoning("<think>\n\n</think>")
    assert not empty_reasoning("<think>Hm.</think>")
