"""What llama-server may grow by."""

from __future__ import annotations

import pytest

from profiler.fit.engine_plan import engine_plan
from profiler.fit.growth import checkpoint_bytes, server_growth
from tests.profiler.fit.plan_logs import HYBRID, ON_GPU, WINDOWED

MIB = 1 << 20
WINDOWED_PLAN, HYBRID_PLAN, DENSE_PLAN = (engine_plan(log) for log in (WINDOWED, HYBRID, ON_GPU))


def test_the_prompt_cache_is_8_gib_unless_it_is_set() -> None:
    for options, mib in (({}, 8192), ({"cache_ram": "512"}, 512), ({"cache-ram": "512"}, 512)):
        (part, *_), unlimited = server_growth(options, DENSE_PLAN)
        assert (part.what, part.bytes, part.at_most, unlimited) == ("prompt_cache", mib * MIB, True, ())


def test_no_prompt_cache_and_one_without_limit() -> None:
    assert server_growth({"cache_ram": "0"}, DENSE_PLAN) == ((), ())
    parts, (unlimited,) = server_growth({"cache_ram": "-1"}, DENSE_PLAN)
    assert not parts
    assert "no limit" in unlimited


def test_a_checkpoint_holds_what_the_windows_still_see() -> None:
    assert WINDOWED_PLAN is not None
    assert checkpoint_bytes(WINDOWED_PLAN) == round(0.56 * MIB) * 64 // 768


def test_a_checkpoint_holds_the_states_of_one_slot() -> None:
    assert HYBRID_PLAN is not None
    assert checkpoint_bytes(HYBRID_PLAN) == MIB // 8


@pytest.mark.parametrize(("options", "most"), [({}, 32), ({"ctx_checkpoints": "3"}, 3)])
def test_each_slot_keeps_its_checkpoints(options: dict[str, str], most: int) -> None:
    parts, _ = server_growth(options, HYBRID_PLAN)
    assert [p.bytes for p in parts if p.what == "checkpoints"] == [most * 4 * MIB // 8]


def test_a_cache_that_can_be_cut_back_needs_no_checkpoints() -> None:
    parts, _ = server_growth({}, DENSE_PLAN)
    assert [part.what for part in parts] == ["prompt_cache"]
