"""Following a state from place to place: what is followed adds up, whatever the order of requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.base import Facts
from profiler.causes.engine_places import one_place, trail
from profiler.causes.engine_rules import engine_causes
from tests.profiler.causes.engine_cases import ONE, case, ids, step

ALIKE = "id  0 | task -1 | selected slot by LCP similarity, f_sim_best = 0.408 (> 0.100 thold), f_keep = 0.946"
FOUND = "found better prompt with f_keep = 0.418, f_sim = 0.958"


def test_a_state_that_was_stored_and_given_to_another_is_followed_there() -> None:
    cleared = "id  2 | task -1 | clearing prompt with 999 tokens"
    title = step(4, ids(1, 40, 4), conversation="title", slot=1, log=(cleared,))
    sub = step(5, ids(400, 500, 5), conversation="sub", slot=0, log=(FOUND,))
    found = trail(case(400, between=(title, sub), slot=0, log=(ALIKE,)))
    assert found is not None
    assert [(drop.step.record.conversation, drop.tokens, drop.stored) for drop in found.drops] == [("sub", 600, True)]
    assert (found.left, found.where) == (400, "here")


def test_what_comes_back_out_of_the_store_was_not_lost_to_anybody() -> None:
    title = step(4, ids(1, 40, 4), conversation="title", slot=0)
    listed = "prompt with length     999, lcp =     999, f_keep = 1.000, f_sim = 0.833"
    log = ("looking for better prompt, base f_keep", listed, "found better prompt with f_keep = 1.000, f_sim = 0.833")
    found = trail(case(900, facts=ONE, best=step(1, ids(1000, 1000, 1), slot=0), between=(title,), slot=0, log=log))
    assert found is not None
    assert found.drops == ()
    assert found.left == 999


def test_a_slot_that_somebody_unseen_emptied_is_not_the_place_any_more() -> None:
    lying = "id  3 | task -1 |  - checking sim = 0.001 (1/1200) > 0.100"
    found = trail(case(0, slot=1, log=(lying,)))
    assert found is not None
    assert found.where == "stored"


def test_engines_with_one_place_need_no_slot_ids() -> None:
    assert one_place(case(0, facts=Facts("llama-cpp")))
    assert one_place(case(0, facts=Facts("llama-server", slots=1)))
    assert not one_place(case(0, facts=Facts("llama-server", slots=4)))
    assert not one_place(case(0, facts=Facts("openai")))


@given(
    shares=st.lists(st.tuples(st.integers(0, 1000), st.sampled_from([0, 1, 2]), st.booleans()), max_size=6),
    cached=st.integers(0, 998),
    slots=st.sampled_from([1, 4, None]),
    kind=st.sampled_from(["full", "sliding_window", "recurrent", None]),
)
def test_every_loss_is_shared_out_once(
    shares: list[tuple[int, int, bool]], cached: int, slots: int | None, kind: str | None
) -> None:
    facts = Facts("llama-server", slots=slots, cache_kind=kind, granularity_tokens=1)  # type: ignore[arg-type]
    between = tuple(
        step(n, ids(shared, 1100, n), conversation="main" if own else f"c{n}", slot=slot)
        for n, (shared, slot, own) in enumerate(shares, 2)
    )
    of = case(cached, facts=facts, between=between, slot=2)
    causes = engine_causes(of)
    lost = of.step.record.verdict.lost_engine_side_tokens
    assert lost is not None
    known = sum(cause.tokens or 0 for cause in causes)
    assert known <= lost
    assert all(cause.tokens is None or cause.tokens > 0 for cause in causes)
    # All of it is named, by parts or by a cause that has the rest.
    assert not causes or known == lost or any(cause.tokens is None for cause in causes)
    codes = [cause.code for cause in causes]
    assert len(codes) == len(set(codes))
