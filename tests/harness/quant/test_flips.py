"""Flips: which calls count as changed, and from where the positions come."""

from __future__ import annotations

import time
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from backends.base import Target
from backends.scripted import open_engine
from harness.quant.base import Flips
from harness.quant.flips import Position, ask, flips_of, positions_of_sessions, positions_of_tasks, spread
from harness.quant.steps import GreedyCall
from harness.run_sessions import demo_sessions
from harness.settings import find_setting
from tests.harness.tasks.bare_sandbox import BareSandbox

RIGHT = GreedyCall("get_price", '{"item":"a"}')
OTHER_ITEM = GreedyCall("get_price", '{"item":"b"}')
OTHER_TOOL = GreedyCall("get_owner", '{"item":"a"}')
INVALID = GreedyCall("get_price", '{"thing":"a"}', "schema_violation")
NOTHING = GreedyCall(None)
CALLS = st.sampled_from([RIGHT, OTHER_ITEM, OTHER_TOOL, INVALID, NOTHING])


def flips(reference: Sequence[GreedyCall | None], candidate: Sequence[GreedyCall | None]) -> Flips | None:
    return flips_of([RIGHT] * len(reference), reference, candidate)


def test_each_kind_of_change() -> None:
    reference = [RIGHT, RIGHT, RIGHT, RIGHT, OTHER_ITEM, NOTHING, RIGHT]
    candidate = [RIGHT, OTHER_ITEM, OTHER_TOOL, INVALID, RIGHT, NOTHING, NOTHING]
    assert flips(reference, candidate) == Flips(positions=7, changed=5, tool=2, argument=3, validity=1, up=1, down=4)


def test_a_request_that_failed_is_no_position() -> None:
    assert flips([None, RIGHT], [RIGHT, RIGHT]) == Flips(1, 0, 0, 0, 0, 0, 0)
    assert flips([None], [RIGHT]) is None


@given(st.lists(st.tuples(CALLS, CALLS), min_size=1))
def test_seen_from_the_other_side_up_and_down_change_places(pairs: list[tuple[GreedyCall, GreedyCall]]) -> None:
    one = flips([a for a, _ in pairs], [b for _, b in pairs])
    other = flips([b for _, b in pairs], [a for a, _ in pairs])
    assert one is not None
    assert other is not None
    assert (one.changed, one.tool, one.argument, one.validity) == (
        other.changed,
        other.tool,
        other.argument,
        other.validity,
    )
    assert (one.up, one.down) == (other.down, other.up)
    assert one.up + one.down <= one.changed == one.tool + one.argument
    assert one.changed >= one.validity


def test_the_scripted_agent_of_a_task_calls_what_is_right() -> None:
    setting = find_setting("plain")
    found = positions_of_tasks(["toolbench/chain2-1"], 3, setting, BareSandbox(), time.perf_counter_ns)
    assert [one.recorded.name for one in found][-1] == "submit"
    assert len(found) >= 3
    assert all(one.recorded.fault is None for one in found)
    assert all(one.request.parameters["temperature"] == 0.0 and one.request.max_tokens == 256 for one in found)
    # Each request has the results of the calls before it: it is what a model would have had.
    assert [len(one.request.messages) for one in found] == sorted({len(one.request.messages) for one in found})
    again = positions_of_tasks(["toolbench/chain2-1"], 3, setting, BareSandbox(), time.perf_counter_ns)
    assert again == found


def test_the_calls_of_recorded_sessions() -> None:
    sessions = demo_sessions()[:1]
    found = positions_of_sessions(sessions)
    assert len(found) == sum(bool(turn.reply.get("tool_calls")) for turn in sessions[0].turns)
    assert found[0].recorded.name is not None
    assert found[0].recorded.arguments.startswith("{")


@given(st.integers(0, 40), st.integers(1, 20))
def test_positions_are_taken_evenly(many: int, most: int) -> None:
    (first,) = positions_of_sessions(demo_sessions()[:1])[:1]
    positions = [Position(str(number), first.request, first.recorded) for number in range(many)]
    taken = [int(one.name) for one in spread(positions, most)]
    assert len(taken) == min(many, most)
    assert taken == sorted(set(taken))


def test_an_engine_is_asked_at_each_position() -> None:
    positions = positions_of_sessions(demo_sessions()[:1])[:2]
    calls = ask(open_engine(Target("scripted", "tool-call")), positions)
    assert calls == (GreedyCall("read_file", '{"path":"a.py"}', "unknown_tool"),) * 2
    assert ask(open_engine(Target("scripted", "words")), positions) == (NOTHING, NOTHING)
    full = open_engine(Target("scripted", "words", options={"max_context": "20"}))
    assert ask(full, positions) == (None, None)
