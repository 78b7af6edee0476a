"""The order of the rules, and a loss of several parts."""

from __future__ import annotations

from backends.base import Facts
from profiler.causes import causes_of
from profiler.causes.catalogue import kind_of
from profiler.causes.engine_rules import engine_causes
from tests.profiler.causes.engine_cases import LLAMA, ONE, case, ids, step
from tests.profiler.causes.test_engine_limits import FORCED, RESTORED

HYBRID = Facts("llama-server", slots=1, cache_kind="recurrent", granularity_tokens=516)


def test_what_the_engine_says_goes_before_what_can_be_inferred() -> None:
    sub = step(5, ids(400, 500, 5), conversation="sub", slot=2)
    assert [c.code for c in engine_causes(case(400, between=(sub,), slot=2))] == ["E2"]
    assert [c.code for c in engine_causes(case(400, between=(sub,), slot=2, reloaded=True))] == ["E8"]
    off = case(400, between=(sub,), slot=2, parameters={"cache_prompt": False})
    assert [c.code for c in engine_causes(off)] == ["E13"]


def test_a_taken_place_and_a_checkpoint_share_the_loss() -> None:
    sub = step(5, ids(681, 900, 5), conversation="sub")
    causes = engine_causes(case(503, facts=HYBRID, between=(sub,), log=(RESTORED,)))
    assert [(cause.code, cause.tokens) for cause in causes] == [("E2", 319), ("E6", None)]


def test_a_taken_place_and_blocks_share_the_loss() -> None:
    facts = Facts("lemonade", slots=1, granularity_tokens=16)
    sub = step(5, ids(411, 500, 5), conversation="sub")
    causes = engine_causes(case(400, facts=facts, between=(sub,)))
    assert [(cause.code, cause.tokens) for cause in causes] == [("E2", 589), ("E15", None)]
    assert [c.code for c in engine_causes(case(992, facts=Facts("vllm", granularity_tokens=16)))] == ["E15"]


def test_a_rest_that_nobody_explains_is_named_beside_the_known_part() -> None:
    sub = step(5, ids(400, 500, 5), conversation="sub", slot=2)
    causes = engine_causes(case(90, between=(sub,), slot=2))
    assert [(cause.code, cause.tokens, cause.confidence) for cause in causes] == [
        ("E2", 600, "observed"),
        ("E0", None, "unknown"),
    ]


def test_one_token_more_or_less_is_no_part() -> None:
    sub = step(5, ids(400, 500, 5), conversation="sub", slot=2)
    (cause,) = engine_causes(case(398, between=(sub,), slot=2))
    assert (cause.code, cause.tokens) == ("E2", None)


def test_nobody_between_and_a_cache_that_can_be_cut_back_is_unexplained() -> None:
    for facts in (LLAMA, ONE, Facts("openai")):
        assert engine_causes(case(400, facts=facts)) == ()
        assert [cause.code for cause in causes_of(case(400, facts=facts))] == ["E0"]
    assert [cause.code for cause in causes_of(case(0, facts=HYBRID, log=(FORCED,)))] == ["E5"]


def test_every_cause_of_a_rule_is_in_the_catalogue() -> None:
    sub = step(5, ids(400, 500, 5), conversation="sub", slot=2)
    for cause in engine_causes(case(90, between=(sub,), slot=2)):
        assert kind_of(cause.code).side == "engine"
