"""A stored run as OpenTelemetry spans, with the attribute names of the GenAI conventions. Pure.

A trace for each dispatch (`invoke_agent`, below it `chat` and `execute_tool`), and one for each replay of a session
(`replay`, below it `chat`). `gen_ai.usage.input_tokens` holds the cached ones, as the conventions have it. What they
have no name for is under `dyno.`. What was said is left out unless it is asked for; prompts never are in it.

The conventions are in development: these are the names of November 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from harness.history.otlp import CLIENT, INTERNAL, Json, attributes_of, span, span_id, trace_id
from harness.history.stored import StoredWork
from profiler.dispatch_records import CallRecord
from profiler.dispatch_store import StoredDispatch
from profiler.records import RequestRecord

__all__ = ["spans_of"]

_SCOPE: Final = {"name": "dyno"}


class _Trace(NamedTuple):
    """Where spans belong; `offset_ns` turns the monotonic stamps of its run into unix time."""

    run: str
    work: StoredWork
    trace: str
    root: str
    offset_ns: int
    content: bool


def spans_of(name: str, work: StoredWork, *, content: bool = False) -> Json:
    """One ExportTraceServiceRequest with all spans of a run. With `content`: tool arguments, results and replies."""
    info = work.run.info
    resource = {
        "service.name": "dyno",
        "service.version": info.versions.get("llmdyno"),
        "os.description": info.machine.system,
        "host.cpu.model.name": info.machine.cpu,
        "dyno.run": name,
        "dyno.command": info.command,
        "dyno.target": info.target,
        "dyno.engine.build": info.facts.build,
        "dyno.model.quant": info.facts.quant,
    }
    sessions: dict[tuple[str, int], list[RequestRecord]] = {}
    for record in work.run.requests:
        sessions.setdefault((record.session, record.repeat), []).append(record)
    spans: list[Json] = []
    for one in work.dispatches:
        requests = sessions.pop((one.started.dispatch_id, 0), [])
        spans += _dispatch(_trace(name, work, one.started.dispatch_id, 0, _start_of(one), content), one, requests)
    for (session, repeat), requests in sessions.items():
        offset_ns = requests[0].sent_unix_ns - requests[0].stamps.sent_ns
        spans += _session(_trace(name, work, session, repeat, offset_ns, content), requests)
    scoped = {"scope": _SCOPE, "spans": spans}
    return {"resourceSpans": [{"resource": {"attributes": attributes_of(resource)}, "scopeSpans": [scoped]}]}


def _trace(run: str, work: StoredWork, session: str, repeat: int, offset_ns: int, content: bool) -> _Trace:
    place = (run, session, repeat)
    return _Trace(run, work, trace_id(*place), span_id(*place, "root"), offset_ns, content)


def _start_of(one: StoredDispatch) -> int:
    """All stamps of a dispatch are of one monotonic clock, and its start is known on both."""
    return one.started.started_unix_ns - one.started.started_ns


def _dispatch(place: _Trace, one: StoredDispatch, requests: Iterable[RequestRecord]) -> Iterator[Json]:
    started, ended, facts = one.started, one.ended, place.work.run.info.facts
    last_ns = max((turn.ended_ns for turn in one.turns), default=started.started_ns)
    end_ns = started.started_unix_ns + ended.totals.wall_ns if ended else last_ns + place.offset_ns
    attributes: dict[str, object] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": facts.engine,
        "gen_ai.agent.name": started.agent,
        "gen_ai.conversation.id": started.dispatch_id,
        "gen_ai.request.model": facts.model,
        "dyno.task": started.task,
        "dyno.setting": started.setting,
        "dyno.fidelity": started.fidelity,
    }
    if ended is not None:
        attributes |= {
            "gen_ai.usage.input_tokens": ended.totals.prompt_tokens,
            "gen_ai.usage.output_tokens": ended.totals.generated_tokens,
            "gen_ai.usage.cache_read.input_tokens": ended.totals.cached_tokens,
            "dyno.exit_status": ended.exit_status,
            "dyno.verified": ended.outcome.verified,
            "dyno.score": ended.outcome.score,
            "dyno.detections": [seen.code for seen in ended.detections],
            "error.type": ended.error.kind if ended.error else None,
        }
    error = ended.error.message if ended and ended.error else None
    times = (started.started_unix_ns, end_ns)
    ids = (place.trace, place.root, None)
    yield span(ids, f"invoke_agent {started.agent}", INTERNAL, times, attributes, error=error)
    for record in requests:
        yield _chat(place, record)
    for turn in one.turns:
        for number, call in enumerate(turn.calls):
            if call.started_ns is not None and call.ended_ns is not None:
                yield _tool(place, call, (call.started_ns, call.ended_ns), span_id(place.trace, turn.turn, number))


def _session(place: _Trace, requests: Sequence[RequestRecord]) -> Iterator[Json]:
    first = requests[0]
    times = (first.sent_unix_ns, max(_end_ns(record) for record in requests) + place.offset_ns)
    attributes = {
        "gen_ai.conversation.id": first.session,
        "dyno.repeat": first.repeat,
        "dyno.fidelity": first.fidelity,
    }
    yield span((place.trace, place.root, None), f"replay {first.session}", INTERNAL, times, attributes)
    for record in requests:
        yield _chat(place, record)


def _chat(place: _Trace, record: RequestRecord) -> Json:
    facts, verdict, evidence = place.work.run.info.facts, record.verdict, record.evidence
    stop, first_ns = record.reply.stop_reason, record.stamps.first_delta_ns
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": facts.engine,
        "gen_ai.request.model": facts.model,
        "gen_ai.conversation.id": f"{record.session}/{record.conversation}",
        "gen_ai.response.finish_reasons": [stop] if stop else None,
        "gen_ai.usage.input_tokens": evidence.prompt_tokens,
        "gen_ai.usage.output_tokens": evidence.generated_tokens,
        "gen_ai.usage.cache_read.input_tokens": evidence.cached_tokens,
        "gen_ai.output.messages": _said(record) if place.content else None,
        "error.type": record.error.kind if record.error else None,
        "dyno.request": record.request_id,
        "dyno.turn": record.turn,
        "dyno.fidelity": record.fidelity,
        "dyno.cache.class": verdict.cache_class,
        "dyno.cache.lost_prompt_side_tokens": verdict.lost_prompt_side_tokens,
        "dyno.cache.lost_engine_side_tokens": verdict.lost_engine_side_tokens,
        "dyno.cache.confidence": verdict.confidence,
        "dyno.ttft_ns": record.ttft_ns,
        "dyno.prefill_ns": evidence.prefill_ns,
        "dyno.decode_ns": evidence.decode_ns,
    }
    return span(
        (place.trace, span_id(place.run, "request", record.request_id), place.root),
        f"chat {facts.model}" if facts.model else "chat",
        CLIENT,
        (record.stamps.sent_ns + place.offset_ns, _end_ns(record) + place.offset_ns),
        attributes,
        error=record.error.message if record.error else None,
        events={"dyno.first_text": None if first_ns is None else first_ns + place.offset_ns},
    )


def _tool(place: _Trace, call: CallRecord, times_ns: tuple[int, int], own: str) -> Json:
    failed = call.ok is False
    attributes: dict[str, object] = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": call.name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": call.call_id,
        "gen_ai.tool.call.arguments": call.arguments if place.content else None,
        "gen_ai.tool.call.result": call.result if place.content else None,
        "error.type": "timeout" if call.timed_out else "tool_error" if failed else None,
        "dyno.tool.effect": call.effect,
        "dyno.tool.exit_code": call.exit_code,
        "dyno.tool.result_bytes": call.result_bytes,
    }
    start_ns, end_ns = times_ns
    return span(
        (place.trace, own, place.root),
        f"execute_tool {call.name}",
        INTERNAL,
        (start_ns + place.offset_ns, end_ns + place.offset_ns),
        attributes,
        error="the tool failed" if failed else None,
    )


def _said(record: RequestRecord) -> str:
    """The reply in the form of the conventions, as JSON text."""
    kinds = {"content": "text", "reasoning": "reasoning"}
    parts: list[dict[str, Any]] = [
        {"type": kinds[kind], "content": text} for kind, text in record.reply.text.items() if kind in kinds
    ]
    parts += [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}
        for call in record.reply.calls
    ]
    message = {"role": "assistant", "parts": parts, "finish_reason": record.reply.stop_reason}
    return msgspec.json.encode([message]).decode()


def _end_ns(record: RequestRecord) -> int:
    stamps = record.stamps
    return stamps.done_ns or stamps.last_delta_ns or stamps.first_sign_ns or stamps.sent_ns
