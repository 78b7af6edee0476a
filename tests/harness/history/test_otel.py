"""Spans in OTLP's JSON: ids, times, parents, the names of the conventions, and no text unless it is asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from harness.history.otel import spans_of
from harness.history.stored import read_work
from profiler.records import Failure
from tests.harness.history.stored_runs import session_requests, write_dispatches, write_run
from tests.profiler import dispatches


def spans(folder: Path, *, content: bool = False) -> list[dict[str, Any]]:
    made = json.loads(json.dumps(spans_of(folder.name, read_work(folder), content=content)))
    (resource,) = made["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    found: list[dict[str, Any]] = scope["spans"]
    return found


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    (values,) = ([{one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}],)
    return values[0]


def test_a_dispatch_is_an_agent_with_its_chats_and_tools(tmp_path: Path) -> None:
    root, chat, tool = spans(write_dispatches(tmp_path, "run-a", ["debug/todo-1"]))
    assert [root["name"], chat["name"], tool["name"]] == [
        "invoke_agent built-in", "chat tiny.gguf", "execute_tool read",
    ]  # fmt: skip
    assert "parentSpanId" not in root
    assert chat["parentSpanId"] == tool["parentSpanId"] == root["spanId"]
    assert {span["traceId"] for span in (root, chat, tool)} == {root["traceId"]}
    assert (root["kind"], chat["kind"], tool["kind"]) == (1, 3, 1)
    start = 1_700_000_000_000_000_000
    assert (root["startTimeUnixNano"], root["endTimeUnixNano"]) == (str(start), str(start + 10**9))
    assert (tool["startTimeUnixNano"], tool["endTimeUnixNano"]) == (str(start), str(start + 10 * 10**6))
    assert chat["events"] == [{"timeUnixNano": str(start + 25 * 10**6), "name": "dyno.first_text"}]
    said = attributes(chat)
    assert said["gen_ai.operation.name"] == "chat"
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.cache_read.input_tokens"]) == ("100", "0")
    assert (said["gen_ai.usage.output_tokens"], said["gen_ai.request.model"]) == ("10", "tiny.gguf")
    assert attributes(root)["dyno.verified"] == "pass"


def test_ids_are_of_the_right_form_all_different_and_the_same_again(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "run-a", [*session_requests("one"), *session_requests("two")])
    found = spans(folder)
    assert [span["name"] for span in found].count("replay one") == 1
    assert all(re.fullmatch("[0-9a-f]{32}", span["traceId"]) for span in found)
    assert all(re.fullmatch("[0-9a-f]{16}", span["spanId"]) for span in found)
    assert len({span["traceId"] for span in found}) == 2
    assert found == spans(folder)


def test_a_failed_request_is_an_error_and_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    failed = dispatches.request(1, session="one", cached=None, error=Failure("EngineDied", "gone"))
    _, chat = spans(write_run(tmp_path, "run-a", [failed]))
    assert chat["status"] == {"code": 2, "message": "gone"}
    said = attributes(chat)
    assert said["error.type"] == "EngineDied"
    assert "gen_ai.usage.cache_read.input_tokens" not in said


def test_texts_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    folder = write_dispatches(tmp_path, "run-a", ["debug/todo-1"])
    held = {key for span in spans(folder) for key in attributes(span)}
    asked = {key for span in spans(folder, content=True) for key in attributes(span)}
    assert asked - held == {"gen_ai.output.messages", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"}
