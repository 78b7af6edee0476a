"""Rewritten sessions: what each repairs, compared with sessions that never had the fault; what needs none is left."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import JsonObject
from harness.fixing.rewrites import rewrite, with_parameters
from harness.session_maker.generator import KINDS, fewest_turns, generate
from harness.sessions import Session, Turn
from profiler.causes.levers import REWRITES, Rewrite

SEED, TURNS = 33, 12
UNCHANGING = ("append-only", "reasoning-kept", "title-call", "sub-agent", "interleaved")
words = st.text(alphabet="ab {}", max_size=6)


def made(kind: str, seed: int = SEED) -> Session:
    return generate(kind, seed=seed, turns=max(TURNS, fewest_turns(kind)), scale=0.2)


def same_turns(one: Session, other: Session) -> bool:
    return one.turns == other.turns


@st.composite
def append_only_sessions(draw: st.DrawFn) -> Session:
    """Conversations that take turns, each of which only grows, with reasoning and calls, and replies that recur."""
    histories: dict[str, tuple[JsonObject, ...]] = {}
    turns: list[Turn] = []
    for name in draw(st.lists(st.sampled_from("xy"), min_size=1, max_size=8)):
        start: tuple[JsonObject, ...] = ({"role": "system", "content": f"be {name}"},)
        messages = (*histories.get(name, start), {"role": "user", "content": draw(words)})
        reply: JsonObject = {"role": "assistant", "content": draw(words)}
        if draw(st.booleans()):
            reply["reasoning_content"] = draw(words)
        if draw(st.booleans()):
            call = {
                "name": "read",
                "arguments": json.dumps({"path": draw(words)}, indent=draw(st.sampled_from([None, 1]))),
            }
            reply["tool_calls"] = [{"id": "1", "type": "function", "function": call}]
        turns.append(Turn(name, messages, ({"function": {"name": f"tool {name}"}},), 8, {}, reply))
        histories[name] = (*messages, reply)
    return Session("drawn", "", None, None, None, tuple(turns))


@pytest.mark.parametrize("how", REWRITES)
@settings(max_examples=60, deadline=None)
@given(session=append_only_sessions())
def test_a_session_that_only_grows_stays_as_it_is(how: Rewrite, session: Session) -> None:
    assert rewrite(session, how) == session


@pytest.mark.parametrize("how", REWRITES)
@pytest.mark.parametrize("kind", UNCHANGING)
def test_sessions_without_a_fault_of_the_client_stay_as_they_are(how: Rewrite, kind: str) -> None:
    assert rewrite(made(kind), how) == made(kind)


@pytest.mark.parametrize("how", REWRITES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_rewrite_changes_nothing_the_second_time_and_never_the_number_of_requests(how: Rewrite, kind: str) -> None:
    once = rewrite(made(kind), how)
    assert rewrite(once, how) == once
    assert [turn.reply for turn in once.turns] == [turn.reply for turn in made(kind).turns]


@pytest.mark.parametrize("how", ["freeze_system", "append_only"])
def test_a_clock_in_the_system_prompt_stands_still(how: Rewrite) -> None:
    faulty = made("clock-in-system-prompt")
    repaired = rewrite(faulty, how)
    assert len({turn.messages[0]["content"] for turn in faulty.turns}) == len(faulty.turns)
    assert {turn.messages[0]["content"] for turn in repaired.turns} == {faulty.turns[0].messages[0]["content"]}
    assert [turn.messages[1:] for turn in repaired.turns] == [turn.messages[1:] for turn in faulty.turns]


def test_tools_stay_in_the_order_in_which_they_came() -> None:
    faulty = made("tools-reordered")
    kept = {json.dumps(turn.tools) for turn in rewrite(faulty, "keep_tools").turns}
    assert kept == {json.dumps(faulty.turns[0].tools)}


def test_tools_that_come_late_are_there_from_the_start_in_their_first_form() -> None:
    early: JsonObject = {"type": "function", "function": {"name": "read", "description": "a"}}
    other = {"function": {"description": "b", "name": "read"}, "type": "function"}
    late: JsonObject = {"type": "function", "function": {"name": "write"}}
    first, second = made("append-only").turns[:2]
    turns = (
        msgspec.structs.replace(first, tools=(early,)),
        msgspec.structs.replace(second, tools=(late, other)),
        msgspec.structs.replace(second, conversation="another", tools=(late,)),
    )
    kept = rewrite(msgspec.structs.replace(made("append-only"), turns=turns), "keep_tools")
    assert [list(turn.tools) for turn in kept.turns] == [[early, late], [early, late], [late]]


@pytest.mark.parametrize("how", ["keep_reasoning", "append_only"])
def test_reasoning_that_was_dropped_is_as_in_the_session_that_kept_it(how: Rewrite) -> None:
    repaired = rewrite(made("reasoning-dropped"), how)
    assert not same_turns(made("reasoning-dropped"), made("reasoning-kept"))
    assert same_turns(repaired, made("reasoning-kept"))


def test_a_history_that_was_compacted_is_as_in_the_session_that_was_not() -> None:
    assert not same_turns(made("compaction"), made("append-only"))
    assert same_turns(rewrite(made("compaction"), "append_only"), made("append-only"))


@pytest.mark.parametrize("how", ["keep_arguments", "append_only"])
def test_arguments_are_as_the_model_wrote_them(how: Rewrite) -> None:
    plain = made("append-only")

    def rewritten(message: JsonObject) -> JsonObject:
        calls: list[dict[str, Any]] = [
            {
                **c,
                "function": {
                    **c["function"],
                    "arguments": json.dumps(json.loads(c["function"]["arguments"]), indent=1),
                },
            }
            for c in message.get("tool_calls", ())
        ]
        return {**message, "tool_calls": calls} if calls else message

    turns = tuple(msgspec.structs.replace(t, messages=tuple(map(rewritten, t.messages))) for t in plain.turns)
    faulty = msgspec.structs.replace(plain, turns=turns)
    assert faulty != plain
    assert rewrite(faulty, how) == plain


def test_a_request_that_is_repeated_or_brings_nothing_new_is_the_one_before_it() -> None:
    first, second = made("append-only").turns[:2]
    shorter = msgspec.structs.replace(first, messages=first.messages[:1])
    session = msgspec.structs.replace(made("append-only"), turns=(first, first, shorter, second))
    kept = rewrite(session, "append_only")
    assert [turn.messages for turn in kept.turns[:3]] == [first.messages] * 3
    assert kept.turns[3] == second


def test_a_reply_that_was_taken_out_of_the_history_is_put_back_before_what_is_new() -> None:
    first = made("append-only").turns[0]
    asked: JsonObject = {"role": "user", "content": "and now?"}
    second = msgspec.structs.replace(first, messages=(*first.messages, asked))
    kept = rewrite(msgspec.structs.replace(made("append-only"), turns=(first, second)), "append_only")
    assert kept.turns[1].messages == (*first.messages, first.reply, asked)


def test_parameters_are_set_and_taken_out() -> None:
    session = made("append-only")
    seeded = with_parameters(session, {"seed": 1, "cache_prompt": True})
    own = session.turns[0].parameters
    assert all(turn.parameters == {**own, "seed": 1, "cache_prompt": True} for turn in seeded.turns)
    assert with_parameters(seeded, {"seed": None, "cache_prompt": None}) == session
