"""ATIF trajectories: valid by the format's rules as they are written here, and by Harbor itself where it is there.

The model below is our own reading of Harbor's RFC 0001 (v1.8): no unknown key anywhere, steps counted from 1, results
that name a call of their own step, and what only an agent's step may have.
"""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Evidence, JsonObject
from harness.atif import NO_STEP, trajectory
from profiler.dispatch_records import (
    CallRecord,
    Capabilities,
    DispatchRecord,
    DispatchStarted,
    Outcome,
    Totals,
    TurnRecord,
)
from profiler.ledger import Match
from profiler.records import Reply, RequestRecord, Stamps
from profiler.verdict import judge


class Form(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Result(Form):
    source_call_id: str | None = None
    content: str | None = None
    extra: dict[str, Any] = {}


class Observation(Form):
    results: list[Result]


class Call(Form):
    tool_call_id: str
    function_name: str
    arguments: dict[str, Any]
    extra: dict[str, Any] = {}


class Metrics(Form):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    extra: dict[str, Any] = {}


class Step(Form):
    step_id: int
    source: Literal["system", "user", "agent"]
    message: str
    timestamp: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Call] | None = None
    observation: Observation | None = None
    metrics: Metrics | None = None
    llm_call_count: int | None = None
    extra: dict[str, Any] = {}


class Agent(Form):
    name: str
    version: str
    model_name: str | None = None
    extra: dict[str, Any] = {}


class FinalMetrics(Form):
    total_prompt_tokens: int | None = None
    total_completion_tokens: int | None = None
    total_cached_tokens: int | None = None
    total_steps: int | None = None
    extra: dict[str, Any] = {}


class Trajectory(Form):
    schema_version: Literal["ATIF-v1.8"]
    agent: Agent
    steps: list[Step]
    session_id: str | None = None
    trajectory_id: str | None = None
    notes: str | None = None
    final_metrics: FinalMetrics | None = None
    extra: dict[str, Any] = {}


def checked(document: bytes) -> Trajectory:
    """Read it, and hold it against the rules that are no types."""
    read = msgspec.json.decode(document, type=Trajectory)
    assert read.steps
    assert [step.step_id for step in read.steps] == list(range(1, len(read.steps) + 1))
    for step in read.steps:
        if step.timestamp is not None:
            assert datetime.fromisoformat(step.timestamp).tzinfo is not None
        ids = [call.tool_call_id for call in step.tool_calls or ()]
        assert len(set(ids)) == len(ids)
        for result in step.observation.results if step.observation else ():
            assert result.source_call_id in ids
        if step.source != "agent":
            assert (step.reasoning_content, step.tool_calls, step.metrics) == (None, None, None)
        if step.llm_call_count == 0:
            assert (step.metrics, step.reasoning_content) == (None, None)
    return read


STARTED = DispatchStarted(
    dispatch_id="d-1",
    task="toolbench/3",
    pack="toolbench",
    seed=3,
    task_sha256="0" * 64,
    setting="focused",
    setting_fingerprint="f",
    levers={"skills.bytes": 0},
    actor="model",
    agent="built-in",
    fidelity="dispatch",
    target="llama-server:m.gguf",
    sandbox=Capabilities("none", False, False, False, False, False, False, True),
    started_unix_ns=1_700_000_000_000_000_000,
    started_ns=5_000,
)
RESULT = "7" * 64


def turn(number: int = 0, *calls: CallRecord, request_id: int | None = 1, **more: Any) -> TurnRecord:
    values: dict[str, Any] = {"content": "c", "reasoning": "r", "stop_reason": "stop", **more}
    return TurnRecord(
        "d-1", number, request_id, calls=calls, started_ns=2_000_005_000, ended_ns=3_000_005_000, **values
    )


def request(number: int, evidence: Evidence) -> RequestRecord:
    return RequestRecord(
        request_id=number,
        session="d-1",
        conversation="main",
        turn=0,
        repeat=0,
        fidelity="dispatch",
        forcing="none",
        sent_unix_ns=0,
        stamps=Stamps(10, done_ns=30, first_delta_ns=20),
        evidence=evidence,
        reply=Reply(),
        verdict=judge(Match(0, 0, False), evidence),
    )


def ended() -> DispatchRecord:
    unknown = dict.fromkeys(Totals.__struct_fields__)
    counted = {"requests": 1, "turns": 1, "calls": 0, "wall_ns": 9, "tool_ns": 0, "lost_by_cause_s": {}}
    totals = Totals(**{**unknown, **counted, "prompt_tokens": 12})  # type: ignore[arg-type]
    return DispatchRecord("d-1", "submitted", Outcome("pass", 1.0), (), {"validity": 1.0}, totals, "done", 7)


SAID = Evidence(
    prompt_tokens=12, cached_tokens=8, evaluated_tokens=4, generated_tokens=3, sources={"prompt_tokens": "u"}
)


def test_a_turn_is_a_step_with_its_calls_their_results_and_what_the_cache_did() -> None:
    call = CallRecord("a", "read", '{"path": null}', effect="load", ok=True, result="text", result_sha256=RESULT)
    opening: list[JsonObject] = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"text": "u"}]}]
    read = checked(trajectory(STARTED, [turn(0, call)], [request(1, SAID)], ended(), opening=opening))
    system, user, step = read.steps
    assert [(s.source, s.message) for s in (system, user)] == [("system", "s"), ("user", '[{"text":"u"}]')]
    assert (step.source, step.message, step.reasoning_content, step.llm_call_count) == ("agent", "c", "r", 1)
    assert step.timestamp == "2023-11-14T22:13:22+00:00"
    assert step.tool_calls == [Call("a", "read", {"path": None}, {"dyno": {"effect": "load", "origin": "native"}})]
    assert step.observation is not None
    assert (step.observation.results[0].source_call_id, step.observation.results[0].content) == ("a", "text")
    assert step.metrics is not None
    assert (step.metrics.prompt_tokens, step.metrics.cached_tokens, step.metrics.completion_tokens) == (12, 8, 3)
    assert step.metrics.extra["dyno"]["verdict"]["cached_tokens"] == 8
    assert step.metrics.extra["dyno"]["ttft_ns"] == 10
    assert read.final_metrics is not None
    assert (read.final_metrics.total_prompt_tokens, read.final_metrics.total_cached_tokens) == (12, None)
    assert read.final_metrics.total_steps == 3
    assert read.final_metrics.extra["dyno"]["exit_status"] == "submitted"
    assert (read.agent.name, read.agent.model_name, read.session_id) == ("built-in", "llama-server:m.gguf", "d-1")
    assert read.extra["dyno"]["setting_fingerprint"] == "f"


def test_what_is_unknown_is_left_out_and_never_zero() -> None:
    (step,) = checked(trajectory(STARTED, [turn(0)], [request(1, Evidence())])).steps
    assert step.metrics is not None
    assert (step.metrics.prompt_tokens, step.metrics.cached_tokens) == (None, None)
    assert b'"prompt_tokens"' not in trajectory(STARTED, [turn(0)], [request(1, Evidence())])


def test_a_turn_that_asked_no_engine_has_no_metrics() -> None:
    (step,) = checked(trajectory(STARTED, [turn(0, request_id=None)], [])).steps
    assert (step.llm_call_count, step.metrics, step.reasoning_content) == (0, None, None)


def test_a_malformed_call_is_kept_as_it_was_written_and_ids_are_made_where_they_lack() -> None:
    calls = [
        CallRecord("", "f", "{oops", fault="unparsable_args"),
        CallRecord("x", "f", "[1]", fault="unparsable_args"),
        CallRecord("x", "g", "{}", result="r", result_sha256=RESULT),
    ]
    (step,) = checked(trajectory(STARTED, [turn(4, *calls)], [])).steps
    made = step.tool_calls or []
    assert [(c.tool_call_id, c.arguments) for c in made] == [("turn-4-call-0", {}), ("x", {}), ("turn-4-call-2", {})]
    assert [c.extra["dyno"].get("arguments_text") for c in made] == ["{oops", "[1]", None]
    assert step.observation is not None
    assert [result.source_call_id for result in step.observation.results] == ["turn-4-call-2"]


def test_a_dispatch_without_a_turn_is_still_a_trajectory() -> None:
    (step,) = checked(trajectory(STARTED, [], [])).steps
    assert (step.source, step.message) == ("system", NO_STEP)


def test_another_programs_trajectory_says_what_it_cannot_show() -> None:
    other = msgspec.structs.replace(STARTED, actor="external", agent="pi --print")
    read = checked(trajectory(other, [turn(0)], []))
    assert (read.agent.name, read.agent.version) == ("pi --print", "unknown")
    assert "another program" in (read.notes or "")


CALLS = st.builds(
    CallRecord,
    call_id=st.sampled_from(["", "a", "b"]),
    name=st.text(max_size=5),
    arguments=st.one_of(st.just('{"a": 1}'), st.text(max_size=9)),
    result=st.text(max_size=5),
    result_sha256=st.sampled_from(["", RESULT]),
)
TURNS = st.builds(turn, st.integers(0, 9), *(CALLS for _ in range(2)), request_id=st.sampled_from([None, 1, 2]))


@settings(max_examples=30)
@given(st.lists(TURNS, max_size=4))
def test_every_trajectory_is_valid(turns: list[TurnRecord]) -> None:
    document = trajectory(STARTED, turns, [request(1, SAID)], ended())
    assert len(checked(document).steps) == max(1, len(turns))


def test_harbor_itself_takes_it() -> None:
    """Only where Harbor is installed, which is no dependency of ours."""
    pytest.importorskip("harbor.models.trajectories")
    model = import_module("harbor.models.trajectories").Trajectory
    call = CallRecord("a", "read", "{}", result="text", result_sha256=RESULT)
    for turns in ([turn(0, call), turn(1, request_id=None)], []):
        document = trajectory(STARTED, turns, [request(1, SAID)], ended(), opening=[{"role": "user", "content": "u"}])
        assert model.model_validate_json(document).session_id == "d-1"
