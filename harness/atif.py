"""A dispatch as an ATIF trajectory (Agent Trajectory Interchange Format, v1.8), for the viewers that read it.

It is an export, not a record: ATIF has one list of steps that only grows, so that a history which was compacted or
pruned shows here as if it had not been, and the sub-conversations of an external agent stand among its other turns
(`extra.events` says so). What dyno measured of a request is in `metrics.extra.dyno` of its step, of the dispatch in
`final_metrics.extra.dyno`. Unknown is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from backends.base import JsonObject
from profiler.dispatch_records import CallRecord, DispatchRecord, DispatchStarted, TurnRecord
from profiler.machine import versions
from profiler.records import RequestRecord

__all__ = ["VERSION", "trajectory"]

VERSION = "ATIF-v1.8"
NOTES = (
    "Steps are the turns of one dispatch of dyno. A history that was compacted or pruned between turns cannot be shown "
    "in this format; extra.events of a step says where it was."
)
EXTERNAL = (
    " The agent was another program: results are those that it sent back to the model, and what it did beside its "
    "requests is not known."
)
NO_STEP = "No turn was made."


def trajectory(
    started: DispatchStarted,
    turns: Sequence[TurnRecord],
    requests: Iterable[RequestRecord],
    ended: DispatchRecord | None = None,
    *,
    opening: Iterable[JsonObject] = (),
) -> bytes:
    """The trajectory as a JSON document. `opening` are the messages before the first turn, `ended` is how it ended."""
    by_id = {request.request_id: request for request in requests}
    steps = [*_opening(opening, started), *(_step(turn, started, by_id) for turn in turns)]
    if not steps:
        steps = [{"source": "system", "message": NO_STEP, "timestamp": _iso(started.started_unix_ns)}]
    document = {
        "schema_version": VERSION,
        "session_id": started.dispatch_id,
        "trajectory_id": started.dispatch_id,
        "agent": {
            "name": started.agent,
            "version": "unknown" if started.actor == "external" else versions()["llmdyno"],
            "model_name": started.target,
            "extra": {"dyno": {"actor": started.actor, "fidelity": started.fidelity}},
        },
        "steps": [{"step_id": number, **step} for number, step in enumerate(steps, 1)],
        "notes": NOTES + (EXTERNAL if started.actor == "external" else ""),
        "final_metrics": _final(ended, len(steps)) if ended is not None else None,
        "extra": {"dyno": msgspec.to_builtins(started)},
    }
    return msgspec.json.format(msgspec.json.encode(_known(document)), indent=2)


def _opening(messages: Iterable[JsonObject], started: DispatchStarted) -> Iterator[JsonObject]:
    for message in messages:
        source = "system" if message.get("role") in ("system", "developer") else "user"
        content = message.get("content")
        text = content if isinstance(content, str) else msgspec.json.encode(content).decode()
        yield {"source": source, "message": text, "timestamp": _iso(started.started_unix_ns)}


def _step(turn: TurnRecord, started: DispatchStarted, requests: dict[int, RequestRecord]) -> JsonObject:
    request = requests.get(turn.request_id) if turn.request_id is not None else None
    ids = _ids(turn)
    results = [_result(call, call_id) for call, call_id in zip(turn.calls, ids, strict=True) if _has_result(call)]
    asked = turn.request_id is not None
    return {
        "timestamp": _iso(started.started_unix_ns + turn.started_ns - started.started_ns),
        "source": "agent",
        "message": turn.content,
        "reasoning_content": turn.reasoning or None if asked else None,
        "tool_calls": [_call(call, call_id) for call, call_id in zip(turn.calls, ids, strict=True)] or None,
        "observation": {"results": results} if results else None,
        "metrics": _metrics(request) if request is not None else None,
        "llm_call_count": 1 if asked else 0,
        "extra": {
            "dyno": {
                "turn": turn.turn,
                "stop_reason": turn.stop_reason,
                "duration_ns": turn.ended_ns - turn.started_ns,
                "events": list(turn.events) or None,
                "error": msgspec.to_builtins(turn.error),
            }
        },
    }


def _ids(turn: TurnRecord) -> list[str]:
    """The ids of a turn's calls, each once: where an engine gave none, or one twice, by their place."""
    found: list[str] = []
    for number, call in enumerate(turn.calls):
        taken = not call.call_id or call.call_id in found
        found.append(f"turn-{turn.turn}-call-{number}" if taken else call.call_id)
    return found


def _call(call: CallRecord, call_id: str) -> JsonObject:
    """Arguments that are no JSON object stand in `extra` as the model wrote them."""
    arguments = _object(call.arguments)
    extra = {
        "effect": call.effect,
        "fault": call.fault,
        "origin": call.origin,
        "arguments_text": call.arguments if arguments is None else None,
    }
    return {
        "tool_call_id": call_id,
        "function_name": call.name,
        "arguments": arguments or {},
        "extra": {"dyno": extra},
    }


def _has_result(call: CallRecord) -> bool:
    return bool(call.result_sha256 or call.result or call.started_ns is not None)


def _result(call: CallRecord, call_id: str) -> JsonObject:
    extra = {
        "ok": call.ok,
        "exit_code": call.exit_code,
        "timed_out": call.timed_out,
        "denied": call.denied,
        "result_bytes": call.result_bytes,
        "changed": list(call.changed) or None,
        "duration_ns": call.duration_ns,
    }
    return {"source_call_id": call_id, "content": call.result, "extra": {"dyno": extra}}


def _metrics(request: RequestRecord) -> JsonObject:
    """Prompt tokens include the cached ones, here as there."""
    said = request.evidence
    return {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": said.generated_tokens,
        "cached_tokens": said.cached_tokens,
        "extra": {
            "dyno": {
                "request_id": request.request_id,
                "conversation": request.conversation,
                "fidelity": request.fidelity,
                "verdict": msgspec.to_builtins(request.verdict),
                "ttft_ns": request.ttft_ns,
                "e2e_ns": request.e2e_ns,
                "prefill_ns": said.prefill_ns,
                "decode_ns": said.decode_ns,
                "sources": said.sources or None,
            }
        },
    }


def _final(ended: DispatchRecord, steps: int) -> JsonObject:
    totals = ended.totals
    return {
        "total_prompt_tokens": totals.prompt_tokens,
        "total_completion_tokens": totals.generated_tokens,
        "total_cached_tokens": totals.cached_tokens,
        "total_steps": steps,
        "extra": {"dyno": msgspec.to_builtins(ended)},
    }


def _object(text: str) -> JsonObject | None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _iso(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns / 1e9, UTC).isoformat()


def _known(value: Any) -> Any:
    """The value without what is `None`, at any depth; arguments of calls keep theirs."""
    if isinstance(value, dict):
        items = cast("JsonObject", value).items()
        return {k: v if k == "arguments" else _known(v) for k, v in items if v is not None}
    if isinstance(value, list | tuple):
        return [_known(item) for item in cast("Sequence[Any]", value)]
    return value
