"""Where the tokens and the time of a dispatch went: sums over its requests and its tool calls. Pure.

A sum is `None` as soon as one of its parts is not known: half a sum would look like a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from profiler.dispatch_records import Totals, TurnRecord
from profiler.findings import Findings
from profiler.records import RequestRecord

__all__ = ["totals_of"]


def totals_of(
    requests: Sequence[RequestRecord],
    turns: Sequence[TurnRecord],
    *,
    wall_ns: int,
    findings: Findings | None = None,
    session_bytes: int | None = None,
    peak_memory_bytes: int | None = None,
) -> Totals:
    """The totals of a dispatch that took `wall_ns`.

    The engine's time is from sending a request to the end of its reply; overhead is what neither the engine nor a tool
    took. `findings` are those of these requests; without them nothing is said about causes.
    """
    calls = [call for turn in turns for call in turn.calls]
    tool_ns = sum(call.duration_ns or 0 for call in calls)
    engine_ns = _sum(record.e2e_ns if record.error is None else _until_failure(record) for record in requests)
    return Totals(
        requests=len(requests),
        turns=len(turns),
        calls=len(calls),
        wall_ns=wall_ns,
        prompt_tokens=_sum(record.evidence.prompt_tokens for record in requests),
        cached_tokens=_sum(record.evidence.cached_tokens for record in requests),
        evaluated_tokens=_sum(record.evidence.evaluated_tokens for record in requests),
        generated_tokens=_sum(record.evidence.generated_tokens for record in requests),
        prefill_ns=_sum(record.evidence.prefill_ns for record in requests),
        decode_ns=_sum(record.evidence.decode_ns for record in requests),
        ttft_ns=_sum(record.ttft_ns for record in requests),
        engine_ns=engine_ns,
        tool_ns=tool_ns,
        overhead_ns=None if engine_ns is None else max(0, wall_ns - engine_ns - tool_ns),
        lost_tokens=_sum(record.verdict.lost_tokens for record in requests),
        lost_ns=_sum(record.verdict.lost_ns for record in requests),
        session_bytes=session_bytes,
        peak_memory_bytes=peak_memory_bytes,
        lost_by_cause_s={total.code: total.price.s if total.price else None for total in findings.totals}
        if findings
        else {},
    )


def _until_failure(record: RequestRecord) -> int | None:
    """The time of a failed request up to its last sign; of one that was refused at once, none."""
    stamps = record.stamps
    last = stamps.last_delta_ns or stamps.first_sign_ns
    return 0 if last is None else last - stamps.sent_ns


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
