"""Replay recorded sessions on a real engine: turn by turn, render, match, force, measure, judge, store.

The engine does real prefill, caching and decoding; only the choice of tokens is the recording's (fidelity `rehearse`).
Where a reply cannot be forced, as many tokens as it had are generated freely, and the record says so. The next request
then holds the recorded reply, not the one that was generated: what it continues is the prompt alone.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from backends.base import Engine, EngineDied, EngineError, Facts, Forced, Forcer, Prompt, Request
from harness.sessions import Session, Turn, salted
from profiler.anchor import measure_anchor
from profiler.calibration import GONE, inferred_cached, may_be_busy
from profiler.inversion import Calibration
from profiler.ledger import Ledger
from profiler.measure import Measurement, measure
from profiler.records import AnchorSample, Forcing, RequestRecord
from profiler.rendered import Rendered
from profiler.verdict import judge


class Kept(NamedTuple):
    """What is stored beside a record: the request body, and the prompt as the engine saw it with what followed."""

    body: bytes
    rendered: Rendered | None


Judged = tuple[RequestRecord, Kept]
"""A record and what belongs to it."""


class Plan(msgspec.Struct, frozen=True):
    """What to replay: sessions in order, each `repeat` times. `nonce` salts their prompts so that they start cold.

    Repeats after the first are always salted, else they would find the first one's cache.
    """

    sessions: tuple[Session, ...]
    repeat: int = 1
    nonce: str | None = None

    @property
    def replays(self) -> int:
        """Number of session replays."""
        return self.repeat * len(self.sessions)

    @property
    def requests(self) -> int:
        """Number of requests in all."""
        return self.repeat * sum(len(s.turns) for s in self.sessions)


def replay(
    engine: Engine,
    plan: Plan,
    *,
    ledger: Ledger | None = None,
    calibration: Calibration | None = None,
    on_anchor: Callable[[AnchorSample], None] = lambda _: None,
    wall_clock: Callable[[], int] = time.time_ns,
) -> Iterator[Judged]:
    """Send every request of the plan, in order, and yield its record as soon as it is judged.

    A failed request is a record and the session goes on; when the engine is gone, its error ends the replay after the
    record. The anchor is measured before each session, so that drift over the run shows. `ledger` knows what this
    engine was sent before; with a `calibration`, what it reused is inferred from the time to the first token where it
    does not say so.
    """
    ledger = ledger or Ledger()
    against = _Against(engine, engine.facts(), ledger, calibration)
    request_id, disturbed = 0, False
    for repeat in range(plan.repeat):
        for session in plan.sessions:
            on_anchor(measure_anchor(engine, ledger, f"{session.name} {repeat}"))
            for number, turn in enumerate(_cold(session, plan.nonce, repeat).turns):
                request_id += 1
                sent_at = wall_clock()
                record, kept = _one(against, session.name, turn, request_id, number, repeat, sent_at, disturbed)
                disturbed = may_be_busy(record.error)
                yield record, kept
                if record.error is not None and record.error.kind in GONE:
                    raise EngineDied(f"the engine is gone: {record.error.message}")


def _cold(session: Session, nonce: str | None, repeat: int) -> Session:
    salt = " ".join(filter(None, [nonce, f"repeat {repeat}" if repeat else None]))
    return salted(session, salt) if salt else session


class _Against(NamedTuple):
    """What every request of a replay is sent to and judged by."""

    engine: Engine
    facts: Facts
    ledger: Ledger
    calibration: Calibration | None


def _one(
    against: _Against,
    session: str,
    turn: Turn,
    request_id: int,
    number: int,
    repeat: int,
    sent_unix_ns: int,
    disturbed: bool,
) -> Judged:
    engine, facts, ledger, calibration = against
    plain = Request(turn.messages, turn.tools, turn.max_tokens, parameters=turn.parameters)
    request, prompt, forcing = _prepare(engine, plain, turn)
    conversation = f"{session}/{turn.conversation}/{repeat}"
    match = ledger.match(conversation, prompt.token_ids if prompt else None)
    measured = _checked(measure(engine, request), prompt)
    generated = _generated(measured, request.forced)
    # A request that was refused left nothing behind; one that failed later may have left its prompt.
    if measured.error is None or measured.stamps.first_sign_ns is not None:
        sequence = prompt.token_ids + array("i", generated or ()) if prompt else None
        length = _length(measured, forced=request.forced is not None)
        ledger.add(conversation, sequence, complete=generated is not None, length_tokens=length)
    verdict = judge(
        match,
        measured.evidence,
        granularity_tokens=facts.granularity_tokens,
        prefill_ns=measured.evidence.prefill_ns or measured.ttft_ns,
        inferred=inferred_cached(calibration, measured, disturbed=disturbed) if calibration else None,
    )
    record = RequestRecord(
        request_id=request_id,
        session=session,
        conversation=turn.conversation,
        turn=number,
        repeat=repeat,
        fidelity="rehearse",
        forcing=forcing,
        sent_unix_ns=sent_unix_ns,
        stamps=measured.stamps,
        evidence=measured.evidence,
        reply=measured.reply,
        verdict=verdict,
        error=measured.error,
    )
    return record, Kept(msgspec.json.encode(request), _rendered(prompt, generated))


def _prepare(engine: Engine, request: Request, turn: Turn) -> tuple[Request, Prompt | None, Forcing]:
    """Render the prompt and force the reply. What the engine refuses here it refuses again, on record, as a request."""
    try:
        prompt = engine.render(request)
        forced = engine.forced(request, turn.reply) if isinstance(engine, Forcer) else None
        if forced is not None:
            return msgspec.structs.replace(request, forced=forced), prompt, "token_ids"
        after = engine.render(msgspec.structs.replace(request, messages=(*request.messages, turn.reply)))
    except EngineError:
        return request, None, "none"
    if prompt is None or after is None:
        return request, prompt, "none"
    # About as many tokens as the recorded reply adds to the prompt, at most what the request allows.
    added = len(after.token_ids) - len(prompt.token_ids)
    return msgspec.structs.replace(request, max_tokens=max(1, min(added, request.max_tokens))), prompt, "length"


def _checked(measured: Measurement, prompt: Prompt | None) -> Measurement:
    """An engine that counts other prompt tokens than it renders (images, say) contradicts itself: no L fits its C."""
    said = measured.evidence.prompt_tokens
    if prompt is None or said is None or said == len(prompt.token_ids) or measured.evidence.conflict:
        return measured
    conflict = f"the engine counts {said} prompt tokens, its own rendering has {len(prompt.token_ids)}"
    return msgspec.structs.replace(measured, evidence=msgspec.structs.replace(measured.evidence, conflict=conflict))


def _generated(measured: Measurement, forced: Forced | None) -> tuple[int, ...] | None:
    """Ids of what was generated, if they are known: the forced ones, checked against the reply, or the engine's own.

    A request that failed may have ended anywhere, in its prefill even.
    """
    if measured.error is not None:
        return None
    if forced is None:
        return measured.reply.token_ids
    count = measured.evidence.generated_tokens
    if count is not None and count < len(forced.token_ids):
        return None
    return (*forced.token_ids, forced.end_token_id)[:count]


def _rendered(prompt: Prompt | None, generated: tuple[int, ...] | None) -> Rendered | None:
    if prompt is None:
        return None
    return Rendered(prompt.text, prompt.token_ids, array("i", generated) if generated is not None else None)


def _length(measured: Measurement, *, forced: bool) -> int | None:
    """Tokens of this request that the next one of its conversation begins with, by the engine's counts."""
    prompt, generated = measured.evidence.prompt_tokens, measured.evidence.generated_tokens
    if not forced:
        return prompt
    return None if prompt is None or generated is None else prompt + generated
