"""`--cache-reuse` against the server's own loop."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from profiler.policies.llama_memory.shifting import Run, shifted_runs

TOKENS = st.lists(st.integers(0, 3), max_size=40)


def plain(held: list[int], prompt: list[int], matched: int, shortest: int) -> int:
    """The loop of server-context.cpp, token by token."""
    head_c = head_p = matched
    while head_c < len(held) and head_p < len(prompt):
        n_match = 0
        while (
            head_c + n_match < len(held)
            and head_p + n_match < len(prompt)
            and held[head_c + n_match] == prompt[head_p + n_match]
        ):
            n_match += 1
        if n_match >= shortest:
            head_c += n_match
            head_p += n_match
        else:
            head_c += 1
    return head_p


@given(TOKENS, TOKENS, st.integers(1, 6))
def test_the_same_runs_are_found(held: list[int], prompt: list[int], shortest: int) -> None:
    matched = next(
        (i for i, (a, b) in enumerate(zip(held, prompt, strict=False)) if a != b), min(len(held), len(prompt))
    )
    found = list(shifted_runs(array("i", held).tobytes(), array("i", prompt).tobytes(), matched, shortest))
    assert matched + sum(run.tokens for run in found) == plain(held, prompt, matched, shortest)
    for run in found:
        assert held[run.held_at :][: run.tokens] == prompt[run.prompt_at :][: run.tokens]


def test_a_removed_message_is_shifted_over() -> None:
    held = array("i", [1, 2, 3, 90, 91, 92, 4, 5, 6, 7]).tobytes()
    prompt = array("i", [1, 2, 3, 4, 5, 6, 7, 8]).tobytes()
    assert list(shifted_runs(held, prompt, 3, 4)) == [Run(6, 3, 4)]
    assert list(shifted_runs(held, prompt, 3, 5)) == []
