from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.agent.model import Answer, ScriptModel
from harness.sandbox.base import SandboxError
from harness.tasks.base import Call, Step
from harness.tools.base import ToolResult, schema_of
from harness.tools.submit import Submit
from profiler.dispatch_records import Effect
from tests.harness.agent.agent_world import (
    DONE,
    Count,
    Echo,
    Put,
    Told,
    assert_valid,
    calling,
    failing,
    saying,
    worked,
)

ECHO = calling(("echo", {"text": "hi"}))
COUNT = calling(("count", {}))
BROKEN = calling(("echo", '{"text": '))


def test_a_script_works_without_an_engine() -> None:
    steps = (
        Step("Look.", "Hm.", (Call("echo", {"text": "ä b"}),)),
        Step(calls=(Call("submit", {"message": "Did it."}),)),
    )
    finished, turns = worked(ScriptModel(steps))
    assert (finished.exit_status, finished.final_message, finished.error) == ("submitted", "Did it.", None)
    assert [(turn.turn, turn.request_id, turn.content, turn.reasoning) for turn in turns] == [
        (0, None, "Look.", "Hm."), (1, None, "", ""),
    ]  # fmt: skip
    assert finished.turns == tuple(turns)
    assert list(finished.messages) == [
        {"role": "user", "content": "Do it."},
        {
            "role": "assistant",
            "content": "Look.",
            "reasoning_content": "Hm.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "echo", "arguments": '{"text": "ä b"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "ä b"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_2",
                    "type": "function",
                    "function": {"name": "submit", "arguments": '{"message": "Did it."}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_2", "content": "Submitted."},
    ]


def test_a_script_at_its_end_has_stopped() -> None:
    finished, turns = worked(ScriptModel((Step(calls=(Call("echo", {"text": "x"}),)),)))
    assert (finished.exit_status, finished.final_message, len(turns)) == ("stopped", "", 2)


def test_requests_only_grow_by_default() -> None:
    model = Told(ECHO, calling(("echo", {"text": "two"}), reasoning="Hm."), DONE)
    finished, _ = worked(model, persona="You are careful.")
    assert (finished.exit_status, finished.final_message) == ("stopped", "All done.")
    for before, after in zip(model.asked, model.asked[1:], strict=False):
        assert after[: len(before)] == before
    assert len({tuple(tool["function"]["name"] for tool in request.tools) for request in model.requests}) == 1
    assert [request.parameters for request in model.requests] == [{"temperature": 0.0}] * 3


def test_the_record_of_a_turn(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    model = Told(calling(("put", {"path": "a.txt", "text": "one\nthree\nfour\n"}), content="Now."), DONE)
    _, turns = worked(model, tools=(Put(tmp_path), Submit()), workspace=tmp_path)
    turn, call = turns[0], turns[0].calls[0]
    assert (turn.dispatch_id, turn.request_id, turn.content, turn.stop_reason) == ("d1", 1, "Now.", "tool_calls")
    assert turn.started_ns < (call.started_ns or 0) < (call.ended_ns or 0) < turn.ended_ns
    assert (call.effect, call.ok, call.fault, call.origin, call.result) == ("edit", True, None, "native", "Done.")
    assert (call.changed, call.lines_added, call.lines_removed) == (("a.txt",), 2, 1)


@pytest.mark.parametrize(
    ("limits", "status", "turns"),
    [
        ({"turns": 3}, "limit_turns", 3),
        ({"tokens": 25}, "limit_tokens", 3),
        ({"wall_s": 0.012}, "limit_wall", 3),
    ],
)
def test_limits(limits: dict[str, Any], status: str, turns: int) -> None:
    model = Told(COUNT)
    finished, reported = worked(model, {"limits": limits}, tools=(Count(), Submit()))
    assert (finished.exit_status, len(reported), finished.final_message) == (status, turns, "")


def test_a_task_has_a_limit_of_its_own() -> None:
    finished, _ = worked(Told(COUNT), tools=(Count(),), wall_s=0.012)
    assert finished.exit_status == "limit_wall"


def test_a_reply_gets_no_more_tokens_than_are_left() -> None:
    model = Told(COUNT)
    worked(model, {"limits": {"tokens": 25, "reply_tokens": 20}}, tools=(Count(),))
    assert [request.max_tokens for request in model.requests] == [20, 15, 5]


@pytest.mark.parametrize(
    ("kind", "message", "status"),
    [
        ("ContextOverflow", "the prompt does not fit", "context_overflow"),
        ("EngineDied", "gone", "infra_fault"),
        ("Unreachable", "nobody", "infra_fault"),
        ("EngineFault", "HTTP 500: out of memory", "infra_fault"),
        ("RequestRejected", "HTTP 400: no", "infra_fault"),
    ],
)
def test_a_request_that_fails_ends_the_work(kind: str, message: str, status: str) -> None:
    finished, turns = worked(Told(ECHO, failing(kind, message)))
    assert finished.exit_status == status
    assert finished.error is not None
    assert finished.error.message == message
    assert turns[-1].error == finished.error


def test_a_command_that_cannot_be_confined_is_a_fault_of_the_machine() -> None:
    class Broken:
        name = "bash"
        effect: Effect = "execute"
        schema = schema_of("bash", "", required={})

        def run(self, arguments: dict[str, Any]) -> ToolResult:
            raise SandboxError("no namespaces")

    finished, turns = worked(Told(calling(("bash", {}))), tools=(Broken(),))
    assert (finished.exit_status, len(turns)) == ("infra_fault", 1)
    assert finished.error is not None
    assert finished.error.kind == "SandboxError"


def test_ctrl_c_goes_through_after_the_turn_was_reported() -> None:
    turns: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        worked(Told(ECHO, KeyboardInterrupt()), on_turn=turns.append)
    assert [turn.events for turn in turns] == [(), ("interrupted: by the user",)]


def test_ctrl_c_in_a_tool_keeps_what_the_model_said() -> None:
    class Interrupted(Echo):
        def run(self, arguments: dict[str, Any]) -> ToolResult:
            raise KeyboardInterrupt

    turns: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        worked(Told(calling(("echo", {"text": "x"}), content="Now.")), tools=(Interrupted(),), on_turn=turns.append)
    assert [(turn.content, turn.request_id) for turn in turns] == [("Now.", 1)]


def test_an_error_is_fed_back_and_the_chat_stays_valid() -> None:
    model = Told(BROKEN, calling(("ecko", {}), ("echo", {"text": "x"})), calling(("echo", {})), ECHO, DONE)
    finished, turns = worked(model, {"calls": {"max_format_errors": 4}})
    assert finished.exit_status == "stopped"
    assert [[call.fault for call in turn.calls] for turn in turns] == [
        ["unparsable_args"], ["unknown_tool", None], ["schema_violation"], [None], [],
    ]  # fmt: skip
    assert turns[1].events == ("retried: unknown_tool, with the error",)
    for asked in model.asked:
        assert_valid(asked)
    results = [message["content"] for message in finished.messages if message["role"] == "tool"]
    assert results[0].startswith("Error: The arguments of echo are no JSON object")
    assert results[1:3] == ["Error: There is no tool 'ecko'. Did you mean echo?", "x"]
    first = finished.messages[1]["tool_calls"][0]["function"]
    assert first == {"name": "echo", "arguments": '{"unparsed":"{\\"text\\": "}'}


def test_a_blind_retry_sends_the_same_request() -> None:
    echo = Echo()
    model = Told(calling(("echo", {"text": "x"}), ("ecko", {})), DONE)
    _, turns = worked(model, {"calls": {"retry": "blind"}}, tools=(echo,))
    assert model.requests[0] == model.requests[1]
    assert turns[0].events == ("retried: unknown_tool, blind",)
    assert not echo.ran, "what is asked for again must not have been done"


@pytest.mark.parametrize(("retry", "turns"), [("none", 1), ("blind", 3), ("error_fed", 3)])
def test_malformed_calls_end_the_work(retry: str, turns: int) -> None:
    finished, reported = worked(Told(BROKEN), {"calls": {"retry": retry}})
    assert (finished.exit_status, len(reported)) == ("format_errors", turns)
    assert reported[-1].events == ("format_error: unparsable_args",)


def test_a_good_turn_forgives_the_malformed_ones() -> None:
    model = Told(BROKEN, BROKEN, ECHO, BROKEN, BROKEN, DONE)
    assert worked(model)[0].exit_status == "stopped"


def test_a_server_that_cannot_read_a_call_is_a_malformed_call() -> None:
    unread = failing("EngineFault", "HTTP 500: Failed to parse input at pos 12: {")
    model = Told(ECHO, unread, DONE)
    finished, turns = worked(model)
    assert finished.exit_status == "stopped"
    assert turns[1].events[0].startswith("server_parse_error: HTTP 500")
    assert "could not be read" in model.asked[2][-1]["content"]
    assert_valid(model.asked[2])
    assert worked(Told(unread))[0].exit_status == "format_errors"
    assert worked(Told(unread), {"calls": {"retry": "none"}})[1][0].events[0].startswith("server_parse_error")


TEXT_CALL = saying('I look.\n<tool_call>{"name": "echo", "arguments": {"text": "hi"}}</tool_call>')


def test_a_call_in_the_text_is_refused() -> None:
    echo, model = Echo(), Told(TEXT_CALL, DONE)
    _, turns = worked(model, tools=(echo,))
    assert not echo.ran
    assert [(call.fault, call.origin, call.ok) for call in turns[0].calls] == [("text_encoded_call", "text", None)]
    assert model.asked[1][-2:] == [
        {"role": "assistant", "content": TEXT_CALL.said.content},
        {"role": "user", "content": turns[0].calls[0].result},
    ]


def test_a_call_in_the_text_is_rescued_under_the_lever() -> None:
    echo, model = Echo(), Told(TEXT_CALL, saying("```json\n" + '{"name": "echo", "arguments": {}}\n```'), DONE)
    _, turns = worked(model, {"calls": {"rescue": True}}, tools=(echo,))
    assert echo.ran == ["hi"]
    assert [(call.fault, call.origin) for turn in turns for call in turn.calls] == [
        (None, "text"), ("schema_violation", "text"),
    ]  # fmt: skip
    assert model.asked[1][-2]["content"] == "I look."
    assert model.asked[1][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "hi"}
    assert_valid(model.asked[2])


def test_parallel_calls_are_run_or_refused() -> None:
    both = calling(("echo", {"text": "a"}), ("echo", {"text": "b"}))
    parallel, alone = Echo(), Echo()
    worked(Told(both, DONE), tools=(parallel,))
    model = Told(both, DONE)
    _, turns = worked(model, {"calls": {"parallel": False}}, tools=(alone,))
    assert (parallel.ran, alone.ran) == (["a", "b"], ["a"])
    assert model.requests[0].parameters["parallel_tool_calls"] is False
    assert turns[0].events == ("not_parallel: echo was not run",)
    assert model.asked[1][-1]["content"].startswith("Not run: make one call")
    assert_valid(model.asked[1])


def test_results_are_cut_in_the_middle() -> None:
    model = Told(calling(("echo", {"text": "0123456789ä", "times": 100})), DONE)
    _, turns = worked(model, {"calls": {"output_bytes": 200}})
    call, shown = turns[0].calls[0], model.asked[1][-1]["content"]
    assert call.result == shown
    assert call.result_bytes == 1200
    assert len(shown.encode()) <= 200
    assert shown.startswith("0123456789ä0")
    assert shown.endswith("9ä")
    left_out = int(shown.partition("[… ")[2].partition(" bytes left out …]")[0])
    assert left_out + len(shown.encode()) - len(f"\n[… {left_out} bytes left out …]\n".encode()) == 1200


@pytest.mark.parametrize(
    ("guard", "status", "ran"), [("stop", "stuck", 3), ("warn", "limit_turns", 8), ("off", "limit_turns", 8)]
)
def test_the_loop_guard(guard: str, status: str, ran: int) -> None:
    echo, model = Echo(), Told(ECHO)
    finished, turns = worked(
        model, {"loop": {"guard": guard, "repeats": 3}, "limits": {"turns": 8}}, tools=(echo, Submit())
    )
    assert (finished.exit_status, len(echo.ran)) == (status, ran)
    noted = [turn.turn for turn in turns if any(event.startswith("loop_guard") for event in turn.events)]
    warned = [turn.turn for turn in turns if "Do something else" in turn.calls[0].result]
    assert noted == {"stop": [2], "warn": [2, 5], "off": []}[guard]
    assert warned == {"stop": [], "warn": [2, 5], "off": []}[guard]


def test_other_arguments_or_another_result_are_no_loop() -> None:
    varied = [calling(("echo", {"text": str(number)})) for number in range(6)]
    assert worked(Told(*varied, DONE))[0].exit_status == "stopped"
    assert worked(Told(*[COUNT] * 6, DONE), tools=(Count(),))[0].exit_status == "stopped"
    turned = [calling(("echo", text)) for text in ('{"text":"a","times":1}', '{"times": 1, "text": "a"}')] * 2
    assert worked(Told(*turned, DONE))[0].exit_status == "stuck"


def test_nothing_is_run_after_the_submission() -> None:
    echo = Echo()
    model = Told(calling(("submit", {}), ("echo", {"text": "late"}), content="I am done."))
    finished, _ = worked(model, tools=(echo, Submit()))
    assert (finished.exit_status, finished.final_message, echo.ran) == ("submitted", "I am done.", [])


def test_an_unknown_count_of_tokens_ends_nothing() -> None:
    said = Answer(COUNT.said, 1)
    finished, _ = worked(Told(said), {"limits": {"tokens": 1, "turns": 4}}, tools=(Count(),))
    assert finished.exit_status == "limit_turns"
