"""Replay recorded sessions on a real engine: turn by turn, render, match, force, measure, judge, store.

The engine does real prefill, caching and decoding; only the choice of tokens is the recording's (fidelity `rehearse`).
Where a reply cannot be forced, as many tokens as it had are generated freely, and the record says so.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator

import msgspec

from backends.base import Engine, EngineDied, EngineError, Facts, Forced, Forcer, Prompt, Request
from harness.sessions import Session, Turn, salted
from profiler.anchor import measure_anchor
from profiler.ledger import Ledger
from profiler.measure import Measurement, measure
from profiler.records import AnchorSample, Forcing, RequestRecord
from profiler.verdict import judge

GONE = ("EngineDied", "Unreachable")
"""Failures after which no further request can be served."""

Judged = tuple[RequestRecord, bytes]
"""A record and the request body that it stands for."""


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
    on_anchor: Callable[[AnchorSample], None] = lambda _: None,
    wall_clock: Callable[[], int] = time.time_ns,
) -> Iterator[Judged]:
    """Send every request of the plan, in order, and yield its record as soon as it is judged.

    A failed request is a record and the session goes on; when the engine is gone, its error ends the replay after the
    record. The anchor is measured before each session, so that drift over the run shows.
    """
    facts, ledger = engine.facts(), Ledger()
    request_id = 0
    for repeat in range(plan.repeat):
        for session in plan.sessions:
            on_anchor(measure_anchor(engine, ledger, f"{session.name} {repeat}"))
            for number, turn in enumerate(_cold(session, plan.nonce, repeat).turns):
                request_id += 1
                record, body = _one(engine, facts, ledger, session.name, turn, request_id, number, repeat, wall_clock())
                yield record, body
                if record.error is not None and record.error.kind in GONE:
                    raise EngineDied(f"the engine is gone: {record.error.message}")


def _cold(session: Session, nonce: str | None, repeat: int) -> Session:
    salt = " ".join(filter(None, [nonce, f"repeat {repeat}" if repeat else None]))
    return salted(session, salt) if salt else session


def _one(
    engine: Engine,
    facts: Facts,
    ledger: Ledger,
    session: str,
    turn: Turn,
    request_id: int,
    number: int,
    repeat: int,
    sent_unix_ns: int,
) -> Judged:
    plain = Request(turn.messages, turn.tools, turn.max_tokens, parameters=turn.parameters)
    request, prompt, forcing = _prepare(engine, plain, turn)
    conversation = f"{session}/{turn.conversation}/{repeat}"
    match = ledger.match(conversation, prompt.token_ids if prompt else None)
    measured = _checked(measure(engine, request), prompt)
    generated = _generated(measured, request.forced)
    # A request that was refused left nothing behind; one that failed later may have left its prompt.
    if measured.error is None or measured.stamps.first_sign_ns is not None:
        sequence = prompt.token_ids + array("i", generated or ()) if prompt else None
        ledger.add(conversation, sequence, complete=generated is not None)
    verdict = judge(
        match,
        measured.evidence,
        granularity_tokens=facts.granularity_tokens,
        prefill_ns=measured.evidence.prefill_ns or _ttft_ns(measured),
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
    return record, msgspec.json.encode(request)


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
    """Ids of what was generated, if they are known: the forced ones, checked against the reply, or the engine's own."""
    if forced is None:
        return measured.reply.token_ids
    count = measured.evidence.generated_tokens
    if count is not None and count < len(forced.token_ids):
        return None
    return (*forced.token_ids, forced.end_token_id)[:count]


def _ttft_ns(measured: Measurement) -> int | None:
    first = measured.stamps.first_delta_ns
    return None if first is None else first - measured.stamps.sent_ns
