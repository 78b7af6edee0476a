"""A run that nobody measured, of any size: growing conversations, a clock in every second one, stolen slots, memory."""

from __future__ import annotations

from backends.base import Evidence, Facts
from profiler.causes.base import Cause, Proof
from profiler.dispatch_records import CallRecord, TurnRecord
from profiler.explanation import explain
from profiler.findings import findings_of
from profiler.ledger import Match
from profiler.pricing import fit_prefill, samples_of
from profiler.records import Failure, Machine, Reply, RequestRecord, RunInfo, Stamps
from profiler.report.html.run_page import RunPage
from profiler.residency.records import LoadSizes, ResidencySample
from profiler.residency.summary import summarise_residency
from profiler.summary import summarise
from profiler.timeline import timeline_of
from profiler.verdict import judge

HOSTILE = "</script><script>window.broken = 1</script><!--<img src=x onerror='window.broken = 2'>\u2028\x1b[31m"
MS = 1_000_000
SYSTEM = 1_200
"""Tokens before the clock of a system prompt."""


def made_page(requests: int = 48, *, turns: int = 12, text: str = "09:41", dispatches: bool = False) -> RunPage:
    """All that a page shows of `requests` requests, `turns` to a session; `text` is what changed in the prompts."""
    records, info = made_records(requests, turns, text), made_info()
    model = fit_prefill(*samples_of(records))
    lost = [(record, _causes(record, text)) for record in records if record.verdict.lost_tokens]
    found = findings_of(lost, model)
    samples = [_sample(n, requests) for n in range(requests)]
    calls = [_turn(record) for record in records] if dispatches else []
    return RunPage(
        info=info,
        cache=summarise(info, records, residency=summarise_residency(info, records, samples)),
        dispatches=(),
        explanation=explain(info, records, found, worst=-1),
        worst=explain(info, records, found, worst=6).worst,
        timeline=timeline_of(records, calls, samples, {2: ("steal",)}),
    )


def made_records(requests: int, turns: int, text: str = "09:41") -> list[RequestRecord]:
    """Its requests alone."""
    return [_record(number, turns, text) for number in range(requests)]


def made_info() -> RunInfo:
    """What it says of itself."""
    return RunInfo(
        "20261120-120000-made", "cache", 0, "made:model", _FACTS, _MACHINE, {"python": "3"}, {"repeat": 1}, load=_LOAD
    )


_FACTS = Facts("made-engine", "b1", "made.gguf", "qwen3", "F16", 32_768, 4, "full", 1)
_MACHINE = Machine("Linux", "a processor", 8, 4, 32 << 30)
_LOAD = LoadSizes(6 << 20, 6 << 20, 64 << 20, 40 << 20, 0)


def _record(number: int, turns: int, text: str) -> RequestRecord:
    """1 ms for each evaluated token, 100 ms of decode; every second session has a clock, every fifth turn of others
    loses its slot.
    """
    session, turn = divmod(number, turns)
    prompt = 2_000 + 400 * turn
    previous = 2_000 + 400 * (turn - 1) + 40
    lcp = 0 if turn == 0 else SYSTEM if session % 2 else previous
    cached = 0 if turn == 0 else SYSTEM if session % 2 or turn % 5 == 4 else previous
    evidence = Evidence(
        prompt_tokens=prompt, cached_tokens=cached, evaluated_tokens=prompt - cached, generated_tokens=40,
        prefill_ns=(prompt - cached) * MS + 3 * MS, decode_ns=100 * MS, slot=session % 4,
    )  # fmt: skip
    sent = number * 8_000 * MS
    first = sent + (evidence.prefill_ns or 0) + 10 * MS
    match = Match(lcp_tokens=lcp, prev_tokens=0 if turn == 0 else previous, continuation=turn > 0)
    return RequestRecord(
        request_id=number + 1, session=f"session {session}", conversation=text if number == 1 else "main", turn=turn,
        repeat=0, fidelity="rehearse", forcing="token_ids", sent_unix_ns=0,
        stamps=Stamps(sent, first, first, first, first + 100 * MS, first + 100 * MS),
        evidence=evidence, reply=Reply({"content": text}, stop_reason="stop"),
        verdict=judge(match, evidence, prefill_ns=evidence.prefill_ns),
        error=Failure("EngineError", text) if number == 5 else None,
    )  # fmt: skip


def _causes(record: RequestRecord, text: str) -> tuple[Cause, ...]:
    if record.verdict.lost_prompt_side_tokens:
        words = "the coding agent of a project.\nCurrent time: "
        old, new = (
            f"{text} {number}\nYou work in a terminal beside somebody" for number in (record.turn, record.turn + 1)
        )
        proof = Proof("difference", words, "messages[0].content", old, new)
        return (Cause("P1", "observed", "The system prompt holds a time that changes.", (proof,), token=SYSTEM),)
    return (Cause("E2", "inferred", "Another conversation took the slot.", (Proof("log", f"slot taken {text}"),)),)


def _turn(record: RequestRecord) -> TurnRecord:
    done = record.stamps.done_ns or 0
    call = CallRecord("1", "bash", "{}", ok=True, started_ns=done, ended_ns=done + 700 * MS)
    return TurnRecord(record.session, record.turn, record.request_id, "", "", (call,), "stop", done, done + 700 * MS)


def _sample(number: int, of: int) -> ResidencySample:
    must = (100 << 20) + (400 << 20) * number // of
    return ResidencySample(number * 8_000 * MS, 0, 1, "smaps_rollup", must, 6 << 20, must + (6 << 20), 0)
