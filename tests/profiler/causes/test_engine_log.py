"""Log lines of real servers, read: how a slot was chosen, what lay where, what the store held."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.wire import cache_log
from profiler.causes.engine_log import Choice, choice, cleared_slots, saved_lengths
from tests.profiler.causes.engine_cases import step

LOGS = Path(__file__).parents[2] / "backends" / "recordings" / "llama-server" / "logs"


def read(name: str) -> Choice:
    return choice(step(1, None, log=cache_log((LOGS / f"{name}.txt").read_text())[0]))


def test_a_cold_request_went_to_the_oldest_slot() -> None:
    found = read("cold")
    assert (found.how, found.searched, found.restored) == ("oldest", True, None)
    assert found.lying == {}


def test_a_hit_was_chosen_by_similarity_and_the_store_left_alone() -> None:
    found = read("hit")
    assert (found.how, found.searched) == ("similar", False)
    assert found.lying[0][0] == 1824


def test_what_was_restored_is_the_entry_with_the_same_score() -> None:
    found = read("restored-from-ram")
    assert found.restored == 1824
    assert [(one.length_tokens, one.shared_tokens) for one in found.stored] == [(1831, 1824), (2228, 3)]


def test_a_store_without_a_better_prompt_restores_nothing() -> None:
    found = read("full-reprocessing")
    assert found.searched
    assert found.restored is None


@pytest.mark.parametrize(
    ("line", "slots"),
    [
        ("id  2 | task -1 | clearing prompt with 1511 tokens", [2]),
        ("id  2 | task -1 | clearing prompt with 0 tokens", []),
        ("id  2 | task 4 | stop processing: n_tokens = 1511, truncated = 0", []),
    ],
)
def test_a_slot_was_cleared_if_it_held_something(line: str, slots: list[int]) -> None:
    assert list(cleared_slots(step(1, None, log=(line,)))) == slots


def test_lengths_that_were_saved() -> None:
    assert saved_lengths(step(1, None, log=("saving prompt with length 558, total state size = 1 MiB",))) == (558,)
    assert saved_lengths(step(1, None)) == ()


def test_a_request_without_a_log_says_nothing() -> None:
    assert choice(step(1, None)) == Choice(None, {}, False, (), None)
