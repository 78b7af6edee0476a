"""Who took whose place: pinned, parallel, taken, replaced, elsewhere; and when nobody of those is to blame."""

from __future__ import annotations

import pytest

from backends.base import Facts
from profiler.causes import engine_neighbours as neighbours
from profiler.causes.base import Case, Cause
from profiler.causes.engine_places import trail
from tests.profiler.causes.engine_cases import ONE, case, ids, step

CLEARED = "id  0 | task -1 | clearing prompt with 1000 tokens"
ALIKE = "id  2 | task -1 | selected slot by LCP similarity, f_sim_best = 0.408 (> 0.100 thold), f_keep = 0.946"


def taken(of: Case) -> tuple[Cause, ...]:
    followed = trail(of)
    assert followed is not None
    return neighbours.taken(of, followed)


def other_slot(of: Case) -> Cause | None:
    followed = trail(of)
    assert followed is not None
    return neighbours.other_slot(of, followed)


def test_a_pinned_slot_was_cleared_by_whoever_started() -> None:
    before = step(1, ids(1000, 1000, 1), slot=0)
    other = step(5, ids(3, 40, 5), conversation="sub", slot=1, log=(CLEARED,))
    cause = neighbours.pinned_slot_cleared(case(0, best=before, between=(other,), parameters={"id_slot": 0}, slot=0))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("E3", "observed")
    assert "s/sub (request 5)" in cause.text
    silent = step(5, ids(3, 40, 5), conversation="sub", slot=1)
    found = neighbours.pinned_slot_cleared(case(0, best=before, between=(silent,), parameters={"id_slot": 0}, slot=0))
    assert found is not None
    assert found.confidence == "inferred"


@pytest.mark.parametrize(
    "settings",
    [{"kv_unified": "False"}, {"cache_idle_slots": "False"}, {"cache_ram": "0"}, {"slots": "2"}],
)
def test_a_pinned_slot_stays_where_idle_slots_do(settings: dict[str, str]) -> None:
    other = step(5, ids(3, 40, 5), conversation="sub", slot=1)
    facts = Facts("llama-server", slots=2, cache_kind="full", settings=settings)
    pinned = case(0, facts=facts, between=(other,), parameters={"id_slot": 0}, slot=0)
    assert neighbours.pinned_slot_cleared(pinned) is None


def test_a_pinned_slot_that_another_used_was_not_cleared_but_taken() -> None:
    before = step(1, ids(1000, 1000, 1), slot=0)
    other = step(5, ids(3, 40, 5), conversation="sub", slot=0)
    pinned = case(3, best=before, between=(other,), parameters={"id_slot": 0}, slot=0)
    assert neighbours.pinned_slot_cleared(pinned) is None
    assert [cause.code for cause in taken(pinned)] == ["E1"]
    unpinned = case(0, best=before, between=(step(5, ids(3, 40, 5), slot=1),), slot=0)
    assert neighbours.pinned_slot_cleared(unpinned) is None


def test_requests_that_overlap_take_the_cache_from_each_other() -> None:
    facts = Facts("openai")
    slow = step(8, ids(3, 40, 5), conversation="title", lasts_s=15)
    cause = neighbours.parallel(case(0, facts=facts, between=(slow,)))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("E4", "inferred")
    assert neighbours.parallel(case(0, facts=facts, between=(step(8, ids(3, 40, 5)),))) is None
    assert neighbours.parallel(case(0, facts=Facts("vllm"), between=(slow,))) is None


def test_an_overlap_is_to_blame_only_if_it_kept_the_slot_busy() -> None:
    busy = step(8, ids(600, 700, 5), conversation="sub", slot=2, lasts_s=15)
    cause = neighbours.parallel(case(0, between=(busy,), slot=1))
    assert cause is not None
    assert cause.confidence == "observed"
    elsewhere = step(8, ids(600, 700, 5), conversation="sub", slot=3, lasts_s=15)
    assert neighbours.parallel(case(0, between=(elsewhere,), slot=2)) is None
    # The client sent its next turn while the last one still ran.
    itself = step(1, ids(1000, 1000, 1), slot=2, lasts_s=500)
    assert neighbours.parallel(case(0, best=itself, slot=1)) is not None


def test_a_sub_agent_that_ran_in_the_same_slot_is_proved_by_slot_ids() -> None:
    sub = step(5, ids(400, 500, 5), conversation="sub-1", slot=2)
    (cause,) = taken(case(400, between=(sub,), slot=2, log=(ALIKE,)))
    assert (cause.code, cause.confidence, cause.tokens) == ("E2", "observed", 600)
    assert "s/sub-1 (request 5), which opens with the same 400 tokens, was put on slot 2" in cause.text
    assert [proof.kind for proof in cause.proofs] == ["order", "count", "log"]


def test_a_copy_in_the_store_that_nobody_looked_for_is_mentioned() -> None:
    saved = "saving prompt with length 999, total state size = 2.969 MiB (draft: 0.000 MiB)"
    sub = step(5, ids(400, 500, 5), conversation="sub", slot=2, log=(saved,))
    (cause,) = taken(case(400, between=(sub,), slot=2, log=(ALIKE,)))
    assert "did not look for it" in cause.text
    (searched,) = taken(case(400, between=(sub,), slot=2, log=(ALIKE, "looking for better prompt, base f_keep")))
    assert "did not look for it" not in searched.text


def test_a_request_in_another_slot_takes_nothing() -> None:
    other = step(5, ids(400, 500, 5), conversation="sub", slot=3)
    assert taken(case(400, between=(other,), slot=2)) == ()


def test_without_slot_ids_the_request_that_leaves_what_was_found_is_inferred() -> None:
    facts = Facts("lmstudio", cache_kind="full")
    before = step(1, ids(1000, 1000, 1))
    sub, title = step(4, ids(400, 500, 4), conversation="sub"), step(5, ids(3, 40, 5), conversation="title")
    (cause,) = taken(case(400, facts=facts, best=before, between=(sub, title)))
    assert (cause.code, cause.confidence) == ("E2", "inferred")
    (evicted,) = taken(case(2, facts=facts, best=before, between=(sub, title)))
    assert (evicted.code, evicted.confidence) == ("E1", "inferred")
    assert "request 5" in evicted.text
    # A count that nobody left behind blames nobody.
    assert taken(case(777, facts=facts, best=before, between=(sub, title))) == ()


def test_two_takers_share_what_each_of_them_dropped() -> None:
    sub, title = step(4, ids(400, 500, 4), conversation="sub"), step(5, ids(3, 40, 5), conversation="title")
    causes = taken(case(3, facts=ONE, between=(sub, title)))
    assert [(cause.code, cause.tokens) for cause in causes] == [("E2", 600), ("E1", 397)]
    # The other way round the sub-agent brings its part back.
    causes = taken(case(400, facts=ONE, between=(title, sub)))
    assert [(cause.code, cause.tokens) for cause in causes] == [("E1", 600)]


def test_several_of_one_kind_are_one_cause() -> None:
    one, two = step(4, ids(700, 800, 4), conversation="sub-1"), step(5, ids(400, 500, 5), conversation="sub-2")
    (cause,) = taken(case(400, facts=ONE, between=(one, two)))
    assert cause.tokens == 600
    assert "s/sub-2 (request 5)" in cause.text
    assert "1 more" in cause.text


def test_the_conversations_own_later_prompt_has_replaced_the_older_one() -> None:
    own = step(5, ids(700, 900, 5), slot=2)
    (cause,) = taken(case(700, between=(own,), slot=2))
    assert (cause.code, cause.tokens) == ("E20", 300)
    assert "s/main (request 1)" in cause.text


def test_an_engine_that_keeps_by_content_has_no_places() -> None:
    sub = step(5, ids(400, 500, 5), conversation="sub")
    for name in ("vllm", "sglang", "mlx-server"):
        assert trail(case(400, facts=Facts(name), between=(sub,))) is None


def test_the_prefix_lay_in_another_slot_by_the_servers_own_count() -> None:
    lying = "id  2 | task -1 |  - checking sim = 0.833 (1000/1200) > 0.980"
    cause = other_slot(case(0, slot=1, log=(lying,)))
    assert cause is not None
    assert (cause.code, cause.confidence, cause.tokens) == ("E19", "observed", 1000)
    assert "slot 2" in cause.text
    assert other_slot(case(999, slot=1, log=(lying,))) is None
    empty = "id  3 | task -1 |  - checking sim = 0.001 (1/1200) > 0.980"
    assert other_slot(case(0, slot=1, log=(empty,))) is None


def test_without_similarity_slot_ids_tell() -> None:
    line = "id  1 | task -1 | selected slot by LRU, t_last = -1"
    cause = other_slot(case(0, slot=1, log=(line,)))
    assert cause is not None
    assert "lay in slot 2" in cause.text
    pinned = other_slot(case(0, slot=1, log=("id  1 | task -1 | selected slot by id (1)",)))
    assert pinned is not None
    assert "is pinned to slot 1" in pinned.text
    assert other_slot(case(0, slot=2)) is None


def test_a_stored_prompt_that_was_refused_is_named_with_its_line() -> None:
    listed = "prompt with length    9000, lcp =    1000, f_keep = 0.111, f_sim = 0.833"
    lying = "id  3 | task -1 |  - checking sim = 0.001 (1/1200) > 0.100"
    log = (lying, "id  1 | task -1 | selected slot by LRU, t_last = -1", "looking for better prompt, base", listed)
    cause = other_slot(case(0, slot=1, log=log))
    assert cause is not None
    assert cause.code == "E19"
    assert cause.proofs[0].text == listed
    assert "less than a quarter" in cause.text
    assert "dyno" not in cause.text
    anchored = other_slot(case(0, slot=1, log=log, own_requests=1))
    assert anchored is not None
    assert "dyno's own" in anchored.text


def test_a_prefix_in_the_requests_own_slot_lay_nowhere_else() -> None:
    # A recurrent cache with no checkpoint: the slot held all of it, and the store held it too.
    listed = "prompt with length    2770, lcp =    1000, f_keep = 0.361, f_sim = 0.833"
    lying = "id  2 | task -1 |  - checking sim = 0.833 (1000/1200) > 0.100"
    assert other_slot(case(0, slot=2, log=(lying, ALIKE, "looking for better prompt, base", listed))) is None


def test_an_anchor_is_blamed_only_where_one_place_was_emptied() -> None:
    cause = neighbours.by_dyno(case(1, facts=ONE, own_requests=2))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("E1", "inferred")
    assert neighbours.by_dyno(case(1, facts=ONE)) is None
    assert neighbours.by_dyno(case(400, facts=ONE, own_requests=2)) is None
    assert neighbours.by_dyno(case(1, facts=Facts("vllm"), own_requests=2)) is None
