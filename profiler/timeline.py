"""What happened when in a run, as values for a picture: requests, tool calls, memory, on one clock. Pure.

Seconds count from the first thing that happened in the run. Nothing is judged or left out here: how much of it can be
drawn is the drawing's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from profiler.dispatch_records import TurnRecord
from profiler.records import CacheClass, RequestRecord
from profiler.residency.records import ResidencySample

__all__ = ["CallMark", "MemoryMark", "RequestMark", "Timeline", "timeline_of"]


class RequestMark(msgspec.Struct, frozen=True):
    """One request in time and in tokens; what is not known is `None`.

    `prefill_s` is the engine's own time, which ends at `first_s`, and `lost_s` the part of it that lost tokens took.
    `decode_s` is from the first token to the last, by the engine's time, or by the client's where it gives none.
    `slot` is where the engine answered it. `doubts` are the codes of its guards.
    """

    request_id: int
    session: str
    conversation: str
    turn: int
    repeat: int
    slot: int | None
    sent_s: float
    first_s: float | None
    done_s: float | None
    prefill_s: float | None
    decode_s: float | None
    lost_s: float | None
    cache_class: CacheClass
    prompt_tokens: int | None
    cached_tokens: int | None
    lost_prompt_side_tokens: int | None
    lost_engine_side_tokens: int | None
    lost_tokens: int | None
    generated_tokens: int | None
    error: str | None
    doubts: tuple[str, ...] = ()

    @property
    def end_s(self) -> float:
        """When it was last heard of."""
        return next(at for at in (self.done_s, self.first_s, self.sent_s) if at is not None)


class CallMark(msgspec.Struct, frozen=True):
    """A tool call that was run, of the session (dispatch) `session`."""

    session: str
    name: str
    ok: bool | None
    start_s: float
    end_s: float


class MemoryMark(msgspec.Struct, frozen=True):
    """Memory of the engine at one time, bytes; `gpu_bytes` is the engine's part of all GPUs."""

    at_s: float
    must_have_bytes: int | None
    file_bytes: int | None
    rss_bytes: int | None
    swap_bytes: int | None
    gpu_bytes: int | None


class Timeline(msgspec.Struct, frozen=True):
    """A run in time, each in the order in which it was written."""

    requests: tuple[RequestMark, ...]
    calls: tuple[CallMark, ...] = ()
    memory: tuple[MemoryMark, ...] = ()


def timeline_of(
    requests: Sequence[RequestRecord],
    turns: Iterable[TurnRecord] = (),
    samples: Sequence[ResidencySample] = (),
    doubts: Mapping[int, tuple[str, ...]] | None = None,
) -> Timeline:
    """The timeline of a run; `doubts` are codes of guards by request id."""
    calls = [(turn.dispatch_id, call) for turn in turns for call in turn.calls if call.duration_ns is not None]
    starts = [record.stamps.sent_ns for record in requests]
    starts += [call.started_ns for _, call in calls if call.started_ns is not None]
    starts += [sample.at_ns for sample in samples]
    zero_ns = min(starts, default=0)
    return Timeline(
        requests=tuple(_request(record, zero_ns, (doubts or {}).get(record.request_id, ())) for record in requests),
        calls=tuple(
            CallMark(session, call.name, call.ok, _since(call.started_ns, zero_ns), _since(call.ended_ns, zero_ns))
            for session, call in calls
            if call.started_ns is not None and call.ended_ns is not None
        ),
        memory=tuple(_memory(sample, zero_ns) for sample in samples if sample.processes),
    )


def _since(at_ns: int, zero_ns: int) -> float:
    return (at_ns - zero_ns) / 1e9


def _request(record: RequestRecord, zero_ns: int, doubts: tuple[str, ...]) -> RequestMark:
    stamps, verdict, evidence = record.stamps, record.verdict, record.evidence
    first_ns = stamps.first_delta_ns if stamps.first_delta_ns is not None else stamps.first_sign_ns
    done_ns = stamps.done_ns if stamps.done_ns is not None else stamps.last_delta_ns
    lost_ns = verdict.lost_ns
    decode_ns = evidence.decode_ns if evidence.decode_ns is not None else record.decode_span_ns
    return RequestMark(
        request_id=record.request_id,
        session=record.session,
        conversation=record.conversation,
        turn=record.turn,
        repeat=record.repeat,
        slot=evidence.slot,
        sent_s=_since(stamps.sent_ns, zero_ns),
        first_s=None if first_ns is None else _since(first_ns, zero_ns),
        done_s=None if done_ns is None else _since(done_ns, zero_ns),
        prefill_s=None if evidence.prefill_ns is None else evidence.prefill_ns / 1e9,
        decode_s=None if decode_ns is None else decode_ns / 1e9,
        lost_s=None if lost_ns is None else lost_ns / 1e9,
        cache_class=verdict.cache_class,
        prompt_tokens=verdict.prompt_tokens,
        cached_tokens=verdict.cached_tokens,
        lost_prompt_side_tokens=verdict.lost_prompt_side_tokens,
        lost_engine_side_tokens=verdict.lost_engine_side_tokens,
        lost_tokens=verdict.lost_tokens,
        generated_tokens=evidence.generated_tokens,
        error=f"{record.error.kind}: {record.error.message}" if record.error else None,
        doubts=doubts,
    )


def _memory(sample: ResidencySample, zero_ns: int) -> MemoryMark:
    gpus = [gpu.engine_bytes for gpu in sample.gpus]
    known = [size for size in gpus if size is not None]
    return MemoryMark(
        at_s=_since(sample.at_ns, zero_ns),
        must_have_bytes=sample.must_have_bytes,
        file_bytes=sample.file_bytes,
        rss_bytes=sample.rss_bytes,
        swap_bytes=sample.swap_bytes,
        gpu_bytes=sum(known) if gpus and len(known) == len(gpus) else None,
    )
