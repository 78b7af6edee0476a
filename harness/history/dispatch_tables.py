"""The tables of what agents leave in a run: dispatches, their turns, calls and losses. Data only."""

from __future__ import annotations

from typing import Final

from harness.history.columns import DISPATCH, REQUEST, RUN, Table, columns

__all__ = ["CALLS", "DISPATCHES", "LOSSES", "TURNS"]

DISPATCHES: Final = Table(
    "dispatches",
    "dispatch",
    (
        RUN,
        DISPATCH,
        *columns(
            "VARCHAR",
            task="the task",
            task_sha256="hash of its folder",
            pack="its pack",
            setting="the harness setting, by name",
            setting_fingerprint="hash of all levers",
            actor="who did the work: model, oracle, …",
            agent="the agent",
            fidelity="how real it was",
            target="the target",
            arm="the arm of the experiment",
            exit_status="how the agent's work ended; NULL: killed",
            verified="pass, partial, fail or not_run",
            error="message of the error that ended it",
        ),
        *columns("VARCHAR[]", detections="failure modes that were seen", changed_files="files that it changed"),
        *columns("TIMESTAMP", started_at="when it began, UTC"),
        *columns(
            "BOOLEAN",
            valid="whether the verifier itself worked",
            warm_up="a warm-up of an experiment, which counts for nothing",
            fresh="whether its engine was started for it",
        ),
        *columns(
            "BIGINT",
            seed="seed of the task",
            block="block of the experiment, from 0",
            started_ns="when it began, on the run's monotonic clock",
            requests="its requests",
            turns="its turns",
            calls="its tool calls",
            wall_ns="from its start to its end",
            engine_ns="part of that: waiting for replies",
            tool_ns="part of that: tools",
            overhead_ns="part of that: the harness itself",
            prefill_ns="prefill by the engine's own time",
            decode_ns="decode likewise",
            ttft_ns="sum of the times to the first text",
            prompt_tokens="sum over its requests",
            cached_tokens="likewise",
            evaluated_tokens="likewise",
            generated_tokens="likewise",
            lost_tokens="likewise",
            lost_ns="prefill that they took",
            session_bytes="size of its last request",
            peak_memory_bytes="most memory of the engine during it",
        ),
        *columns("DOUBLE", score="from 0 to 1"),
    ),
)

TURNS: Final = Table(
    "turns",
    "turn of a dispatch",
    (
        RUN,
        DISPATCH,
        REQUEST,
        *columns("VARCHAR", stop_reason="end of the reply", error="message of the error that ended it"),
        *columns("VARCHAR[]", events="what the harness did of its own"),
        *columns(
            "BIGINT",
            turn="from 0",
            calls="tool calls",
            faults="calls that were malformed",
            content_chars="text of the reply, characters",
            reasoning_chars="its reasoning, likewise",
            started_ns="when it began, on the run's monotonic clock",
            duration_ns="how long it took",
        ),
    ),
)

CALLS: Final = Table(
    "calls",
    "tool call",
    (
        RUN,
        DISPATCH,
        *columns(
            "VARCHAR",
            call_id="the call",
            name="the tool",
            effect="what the tool is for: load, edit, verify, …",
            origin="native, or found in the text of a reply",
            fault="what was malformed; NULL: nothing",
        ),
        *columns("VARCHAR[]", changed="files of the workspace that it changed"),
        *columns(
            "BOOLEAN",
            ok="whether it succeeded; NULL: not run",
            timed_out="stopped at its limit",
            denied="refused by a permission",
        ),
        *columns(
            "BIGINT",
            turn="turn of its dispatch, from 0",
            exit_code="of a command",
            duration_ns="how long the tool ran",
            result_bytes="its result, before it was cut",
            lines_added="lines that it added",
            lines_removed="lines that it removed",
        ),
    ),
)

LOSSES: Final = Table(
    "losses",
    "cause of lost tokens in a dispatch",
    (
        RUN,
        DISPATCH,
        *columns("VARCHAR", cause="its code (docs/explain.md)"),
        *columns("DOUBLE", lost_s="prefill that it took; NULL: no price could be told"),
    ),
)
