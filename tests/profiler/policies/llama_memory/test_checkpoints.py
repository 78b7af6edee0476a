"""Where checkpoints are taken, which of them stay, and to which one a prompt goes back."""

from __future__ import annotations

import numpy as np
import pytest

from profiler.policies.llama_memory.cells import RecurrentState
from profiler.policies.llama_memory.checkpoints import Checkpoint, CheckpointRules, batches, go_back, take, wanted

RULES = CheckpointRules(most=32, min_step=8192, batch=2048, ubatch=512)


def at(tokens: int, *, request: int = 0, oldest: int | None = None) -> Checkpoint:
    first = tokens - 1 if oldest is None else oldest
    return Checkpoint(request, tokens, first, tokens - 1, np.array([tokens - 1]))


def played(rules: CheckpointRules, start: int, prompt: int, users: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Ends of the batches, and the checkpoints, of a prompt that starts without any."""
    ends: list[int] = []
    taken: list[Checkpoint] = []
    for first, last in batches(rules, start, prompt, users, taken):
        ends.append(last)
        if first > 0 and wanted(rules, first, last, prompt, users, taken):
            take(rules, taken, at(first))
    return ends, [c.tokens for c in taken]


def test_a_chat_as_the_engine_cut_and_kept_it() -> None:
    """Observed on llama-server (xllamacpp 2026.10): 2866 tokens, user messages at 297, 890 and 2370."""
    ends, taken = played(RULES, 0, 2866, (297, 890, 2370))
    assert ends == [297, 890, 2350, 2370, 2862, 2866]
    assert taken == [297, 2350, 2370, 2862]


def test_a_prompt_without_known_messages_as_the_engine_cut_it() -> None:
    """Observed: 4606 tokens by `/completion`, which knows no messages."""
    ends, taken = played(RULES, 0, 4606, ())
    assert ends == [2048, 4090, 4602, 4606]
    assert taken == [4090, 4602]


def test_a_short_addition_is_kept_at_its_start() -> None:
    assert played(RULES, 1000, 1020, ()) == ([1016, 1020], [1000, 1016])


def test_the_oldest_goes_where_there_are_too_many() -> None:
    rules = CheckpointRules(most=2, min_step=0, batch=2048, ubatch=512)
    taken = [at(100), at(900)]
    take(rules, taken, at(2000, request=1))
    assert [c.tokens for c in taken] == [900, 2000]


def test_earlier_requests_checkpoints_that_are_close_go_first() -> None:
    rules = CheckpointRules(most=4, min_step=500, batch=2048, ubatch=512)
    taken = [at(100), at(300), at(3000), at(3100, request=1)]
    take(rules, taken, at(4000, request=1))
    assert [c.tokens for c in taken] == [100, 3000, 3100, 4000]


def test_a_checkpoint_at_the_same_place_is_replaced() -> None:
    taken = [at(100), at(300)]
    take(RULES, taken, at(300, request=1))
    assert [(c.tokens, c.request) for c in taken] == [(100, 0), (300, 1)]


@pytest.mark.parametrize(
    ("reuse", "reached", "left"), [(1000, 1000, [200, 800]), (900, 800, [200, 800]), (799, 200, [200]), (150, 0, [])]
)
def test_a_recurrent_state_goes_back_to_the_nearest_checkpoint(reuse: int, reached: int, left: list[int]) -> None:
    memory = RecurrentState(1)
    memory.evaluate(0, 0, 1000, 512)
    taken = [at(200), at(800)]
    assert go_back(taken, memory, 0, reuse, window=0, whole=False)[0] == reached
    assert [c.tokens for c in taken] == left


def test_the_same_prompt_again_goes_back_before_its_last_token() -> None:
    memory = RecurrentState(1)
    memory.evaluate(0, 0, 1000, 512)
    assert go_back([at(996)], memory, 0, 1000, window=0, whole=True)[0] == 996
