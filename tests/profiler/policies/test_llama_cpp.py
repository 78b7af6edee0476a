"""llama-cpp-python's policy: one sequence, cut back where the cache allows it."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from profiler.policies.base import Sent
from profiler.policies.llama_cpp import LlamaCppPolicy, Options, open_policy

REPLY = array("i", range(9000, 9010))


def ids(first: int, count: int) -> array[int]:
    return array("i", range(first, first + count))


def policy(**options: Any) -> LlamaCppPolicy:
    return open_policy(Options(**options))


def cached(model: LlamaCppPolicy, prompt: array[int], reply: array[int] = REPLY) -> int | None:
    return model.serve(Sent("c", prompt, reply)).cached_tokens


@pytest.mark.parametrize("kind", ["full", "recurrent"])
def test_an_append_reuses_all_but_the_last_generated_token(kind: str) -> None:
    model = policy(cache_kind=kind)
    assert cached(model, ids(0, 900)) == 0
    assert cached(model, ids(0, 900) + REPLY + ids(5000, 6)) == 909


@pytest.mark.parametrize(("kind", "wanted"), [("full", 500), ("recurrent", 0)])
def test_a_difference_cuts_the_sequence_or_ends_it(kind: str, wanted: int) -> None:
    model = policy(cache_kind=kind)
    cached(model, ids(0, 900))
    assert cached(model, ids(0, 500) + ids(5000, 400)) == wanted


@pytest.mark.parametrize(("kind", "wanted"), [("full", 899), ("recurrent", 0)])
def test_a_repeat(kind: str, wanted: int) -> None:
    model = policy(cache_kind=kind)
    cached(model, ids(0, 900))
    assert cached(model, ids(0, 900)) == wanted


def test_a_prompt_that_was_just_decoded_costs_nothing() -> None:
    model = policy()
    cached(model, ids(0, 900))
    assert cached(model, ids(0, 900) + REPLY[:-1]) == 909


def test_another_conversation_takes_it_all() -> None:
    model = policy()
    cached(model, ids(0, 900))
    cached(model, ids(5000, 100))
    assert cached(model, ids(0, 900)) == 0


@pytest.mark.parametrize(("swa_full", "wanted"), [(None, 500), (True, 500), (False, 0)])
def test_a_window_that_is_gone(swa_full: bool | None, wanted: int) -> None:
    model = policy(cache_kind="sliding_window", window=128, swa_full=swa_full)
    cached(model, ids(0, 3000))
    assert cached(model, ids(0, 500) + ids(5000, 400)) == wanted


def test_a_window_that_is_still_there() -> None:
    model = policy(cache_kind="sliding_window", window=128, swa_full=False)
    cached(model, ids(0, 900))
    assert cached(model, ids(0, 890) + ids(5000, 40)) == 890


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    model = policy(ctx=1000)
    cached(model, ids(0, 900))
    assert cached(model, ids(0, 995)) is None
    assert cached(model, ids(0, 900)) == 899


def test_a_request_that_forbids_reuse() -> None:
    model = policy()
    cached(model, ids(0, 900))
    assert model.serve(Sent("c", ids(0, 900), REPLY, cache_prompt=False)).cached_tokens == 0
