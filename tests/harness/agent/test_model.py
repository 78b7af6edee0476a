"""The models of the agent on engines: the simulated one, and the bundled model on a real llama-server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends import open_engine, parse_target
from backends.base import Engine, JsonObject
from harness.agent.loop import Finished
from harness.agent.model import COMPACTION, EngineModel, ForcedModel
from harness.sending import Judged, Sender
from harness.tasks.base import Call, Step
from harness.tools.base import ToolResult, schema_of
from harness.tools.submit import Submit
from profiler.dispatch_records import Effect
from profiler.records import RequestRecord
from tests.harness.agent.agent_world import Echo, worked

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
STEPS = (
    Step("I echo it.", "What was asked?", (Call("echo", {"text": "one"}), Call("echo", {"text": "two", "times": 2}))),
    Step(calls=(Call("submit", {"message": "Echoed."}),)),
)


class ReadFile:
    """The tool that the simulated engine calls."""

    name = "read_file"
    effect: Effect = "load"
    schema = schema_of("read_file", "Read.", required={"path": {"type": "string"}})

    def run(self, arguments: JsonObject) -> ToolResult:
        return ToolResult(f"the text of {arguments['path']}")


class Weather:
    """A tool that the bundled model was trained on."""

    name = "get_weather"
    effect: Effect = "load"
    schema = schema_of(
        "get_weather",
        "Weather of a city on a day.",
        required={"city": {"type": "string"}, "day": {"type": "string"}},
    )

    def __init__(self) -> None:
        self.asked: list[JsonObject] = []

    def run(self, arguments: JsonObject) -> ToolResult:
        self.asked.append(arguments)
        return ToolResult(json.dumps({**arguments, "sky": "rain", "high": 12}))


def forced(engine: Engine, setting: JsonObject | None = None, **job: Any) -> tuple[Finished, list[RequestRecord]]:
    sent: list[Judged] = []
    model = ForcedModel(Sender(engine, fidelity="rehearse"), "d1", sent.append, job.pop("steps", STEPS))
    finished, _ = worked(model, setting, **job)
    return finished, [record for record, _ in sent]


def test_a_model_that_calls_the_same_again_is_stopped() -> None:
    engine, sent = open_engine(parse_target("scripted:tool-call")), list[Judged]()
    model = EngineModel(Sender(engine, fidelity="dispatch"), "d1", sent.append)
    finished, turns = worked(model, tools=(ReadFile(),))
    assert finished.exit_status == "stuck"
    assert [turn.calls[0].result for turn in turns] == ["the text of a.py"] * 4
    records = [record for record, _ in sent]
    assert [turn.request_id for turn in turns] == [record.request_id for record in records]
    assert {(record.session, record.conversation, record.fidelity) for record in records} == {
        ("d1", "main", "dispatch")
    }
    assert [record.turn for record in records] == [0, 1, 2, 3]
    assert [record.verdict.cache_class for record in records] == ["cold", "hit", "hit", "hit"]


def test_words_end_the_work() -> None:
    model = EngineModel(
        Sender(open_engine(parse_target("scripted:reasoning")), fidelity="dispatch"), "d1", lambda _: None
    )
    finished, turns = worked(model)
    assert (finished.exit_status, finished.final_message) == ("stopped", "Done.")
    assert turns[0].reasoning == "first look, then answer"


def test_a_prompt_that_does_not_fit_ends_the_work() -> None:
    finished, records = forced(open_engine(parse_target("scripted:?max_context=300")), steps=STEPS[:1] * 9)
    assert finished.exit_status == "context_overflow"
    assert records[-1].error == finished.error


def test_a_rehearsal_says_the_script_and_its_history_is_a_hit() -> None:
    finished, records = forced(open_engine(parse_target("scripted:")))
    assert (finished.exit_status, finished.final_message) == ("submitted", "Echoed.")
    assert [record.forcing for record in records] == ["token_ids", "token_ids"]
    assert [record.verdict.cache_class for record in records] == ["cold", "hit"]


@pytest.mark.parametrize(
    ("prompt", "lost"),
    [
        ({}, False),
        ({"volatile": "clock"}, True),
        ({"volatile": "clock", "volatile_at": "last_message"}, True),
        ({"tool_order": "shuffled"}, True),
    ],
)
def test_hostile_levers_are_seen_on_the_prompts_side(prompt: JsonObject, lost: bool) -> None:
    steps = (STEPS[0], STEPS[0], STEPS[0])
    _, records = forced(
        open_engine(parse_target("scripted:")), {"prompt": prompt}, steps=steps, persona="You are careful."
    )
    losses = [record.verdict.lost_prompt_side_tokens or 0 for record in records[1:]]
    assert any(losses) == lost
    assert not any(record.verdict.lost_engine_side_tokens for record in records)


def test_a_rehearsed_summary_is_forced_too() -> None:
    setting: JsonObject = {"history": {"policy": "summarise", "keep_turns": 1, "at_share": 0.1}}
    _, records = forced(open_engine(parse_target("scripted:")), setting, steps=STEPS[:1] * 3, context_tokens=500)
    summaries = [record for record in records if record.conversation == COMPACTION]
    assert len(summaries) >= 1
    assert all(record.forcing == "token_ids" for record in summaries)
    assert "- echo" in summaries[0].reply.text["content"]


@pytest.fixture(scope="module")
def server() -> Iterator[Engine]:
    opened = open_engine(parse_target(f"llama-server:{TINY}?ctx=4096&threads=1"))
    yield opened
    opened.close()


@pytest.mark.engine
def test_the_bundled_model_decides_on_a_real_server(server: Engine) -> None:
    weather, sent = Weather(), list[Judged]()
    model = EngineModel(Sender(server, fidelity="dispatch"), "d1", sent.append)
    finished, turns = worked(
        model,
        tools=(weather,),
        instruction="What is the weather in Paris today?",
        persona="You are a helpful assistant.",
        clock=time.perf_counter_ns,
    )
    assert finished.exit_status == "stopped"
    assert weather.asked == [{"city": "Paris", "day": "today"}]
    assert "Paris" in finished.final_message
    assert [call.origin for call in turns[0].calls] == ["native"]
    assert [record.verdict.cache_class for record, _ in sent] == ["cold", "hit"]


@pytest.mark.engine
def test_a_rehearsal_on_a_real_server(server: Engine) -> None:
    finished, records = forced(server, persona="You rehearse.", tools=(Echo(), Submit()))
    assert (finished.exit_status, finished.final_message) == ("submitted", "Echoed.")
    assert [record.forcing for record in records] == ["token_ids", "token_ids"]
    assert '"times": 2' in "".join(records[0].reply.text.values())
    assert records[1].verdict.cache_class == "hit"
    _, hostile = forced(
        server, {"prompt": {"volatile": "clock"}}, persona="You rehearse again.", tools=(Echo(), Submit())
    )
    assert (hostile[1].verdict.lost_prompt_side_tokens or 0) > 50
