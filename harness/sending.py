"""Send one request, and judge it: render, match with what came before, measure, judge, and note it in the ledger.

Every request that dyno sends for a session, a recorded one or a live one, goes through here, so that all are judged by
the same rules. What is sent, and what becomes of the record, is the caller's.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from backends.base import Engine, EngineError, Forced, Forcer, JsonObject, Prompt, Request
from profiler.calibration import inferred_cached, may_be_busy
from profiler.inversion import Calibration, Interval
from profiler.ledger import Ledger, Match
from profiler.measure import Measurement, measure
from profiler.records import Fidelity, Forcing, Reply, RequestRecord
from profiler.rendered import Rendered
from profiler.verdict import judge

__all__ = ["Judged", "Kept", "Numbers", "Place", "Sender", "message_of"]


class Kept(NamedTuple):
    """What is stored beside a record: the request body, and the prompt as the engine saw it with what followed."""

    body: bytes
    rendered: Rendered | None


Judged = tuple[RequestRecord, Kept]
"""A record and what belongs to it."""


class Place(NamedTuple):
    """Where a request belongs: its session (a dispatch is one), the conversation in it, the turn, the repeat."""

    session: str
    conversation: str
    turn: int
    repeat: int = 0

    @property
    def key(self) -> str:
        """The conversation's name in the ledger."""
        return f"{self.session}/{self.conversation}/{self.repeat}"


class Numbers:
    """The numbers of a run's requests, from 1: senders that write into one run share them."""

    def __init__(self) -> None:
        self.last = 0

    def take(self) -> int:
        """The next one."""
        self.last += 1
        return self.last


class Sender:
    """Sends requests on one engine, one after the other, and numbers their records from 1.

    `ledger` knows what this engine was sent before; with a `calibration`, what it reused is inferred from the time to
    the first token where it does not say so.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        fidelity: Fidelity,
        ledger: Ledger | None = None,
        calibration: Calibration | None = None,
        wall_clock: Callable[[], int] = time.time_ns,
        numbers: Numbers | None = None,
        elsewhere: str | None = None,
    ) -> None:
        """`numbers` go on from those of another sender of the run; `elsewhere` names an engine that is not its own."""
        self.engine = engine
        self.ledger = ledger or Ledger()
        self.facts = engine.facts()
        self.fidelity: Fidelity = fidelity
        self._calibration = calibration
        self._wall_clock = wall_clock
        self.numbers = numbers or Numbers()
        self._elsewhere = elsewhere
        self._disturbed = False

    @property
    def sent(self) -> int:
        """Number of the last request."""
        return self.numbers.last

    def send(self, request: Request, place: Place, *, reply: JsonObject | None = None) -> Judged:
        """Send a request. With a `reply` the engine is made to give it, as far as it can be (`Forcing`).

        A request that fails is a record with an error. Ctrl-C ends it on the engine and propagates.
        """
        sent_unix_ns = self._wall_clock()
        if reply is not None:
            request, prompt, forcing = _prepared(self.engine, request, reply)
        else:
            prompt, forcing = _rendering(self.engine, request), "none"
        match = self.ledger.match(place.key, prompt.token_ids if prompt else None)
        measured = measure(self.engine, request)
        generated = self._generated(measured, request, live=reply is None)
        return self.record(
            request,
            place,
            measured,
            prompt,
            match,
            generated,
            live=reply is None,
            forcing=forcing,
            sent_unix_ns=sent_unix_ns,
        )

    def record(
        self,
        request: Request,
        place: Place,
        measured: Measurement,
        prompt: Prompt | None,
        match: Match,
        generated: tuple[int, ...] | None,
        *,
        live: bool,
        sent_unix_ns: int,
        forcing: Forcing = "none",
        body: bytes | None = None,
    ) -> Judged:
        """Judge what was measured, and note in the ledger what the engine holds now.

        `match` is how the prompt stood to the ledger when the request was sent, `generated` the ids that followed it.
        `live`: the conversation goes on with what the engine said, not with what a recording says. `body` are the bytes
        that were sent, where another program wrote them.
        """
        measured = _checked(measured, prompt)
        # A request that was refused left nothing behind; one that failed later may have left its prompt.
        if measured.error is None or measured.stamps.first_sign_ns is not None:
            sequence = prompt.token_ids + array("i", generated or ()) if prompt else None
            continued = live or request.forced is not None
            self.ledger.add(
                place.key,
                sequence,
                complete=generated is not None,
                length_tokens=_length(measured, continued=continued),
                unknown_tokens=(measured.evidence.generated_tokens or 0) if continued and generated is None else 0,
            )
        verdict = judge(
            match,
            measured.evidence,
            granularity_tokens=self.facts.granularity_tokens,
            prefill_ns=measured.evidence.prefill_ns or measured.ttft_ns,
            inferred=self._inferred(measured),
        )
        self._disturbed = may_be_busy(measured.error)
        record = RequestRecord(
            request_id=self.numbers.take(),
            session=place.session,
            conversation=place.conversation,
            turn=place.turn,
            repeat=place.repeat,
            fidelity=self.fidelity,
            forcing=forcing,
            sent_unix_ns=sent_unix_ns,
            stamps=measured.stamps,
            evidence=measured.evidence,
            reply=measured.reply,
            verdict=verdict,
            error=measured.error,
            engine=self._elsewhere,
        )
        return record, Kept(msgspec.json.encode(request) if body is None else body, _rendered(prompt, generated))

    def _inferred(self, measured: Measurement) -> Interval | str | None:
        if self._calibration is None:
            return None
        return inferred_cached(self._calibration, measured, disturbed=self._disturbed)

    def _generated(self, measured: Measurement, request: Request, *, live: bool) -> tuple[int, ...] | None:
        """Ids of what was generated, if they are known.

        Those of a forced reply are the forced ones; else the engine's own. Where it gives none, the ids that its
        template makes of the reply are taken if they are as many as were generated. A request that failed may have
        ended anywhere, in its prefill even.
        """
        if measured.error is not None:
            return None
        if request.forced is not None:
            return _of_forced(request.forced, measured.evidence.generated_tokens)
        if measured.reply.token_ids is not None or not live:
            return measured.reply.token_ids
        return generated_ids(self.engine, request, measured)


def generated_ids(engine: Engine, request: Request, measured: Measurement) -> tuple[int, ...] | None:
    """The ids of a free reply as the engine's template writes it, if that has as many tokens as were generated."""
    count, ended = measured.evidence.generated_tokens, measured.reply.stop_reason != "length"
    if count is None or not ended or not isinstance(engine, Forcer):
        return None
    try:
        written = engine.forced(request, message_of(measured.reply))
    except EngineError:
        return None
    if written is None or len(written.token_ids) + 1 != count:
        return None
    return (*written.token_ids, written.end_token_id)


def message_of(reply: Reply) -> JsonObject:
    """A reply as the assistant message that an agent puts into its history, with the engine's own call ids."""
    message: JsonObject = {"role": "assistant", "content": reply.text.get("content", "")}
    if reply.text.get("reasoning"):
        message["reasoning_content"] = reply.text["reasoning"]
    if reply.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.calls
        ]
    return message


def _rendering(engine: Engine, request: Request) -> Prompt | None:
    """The prompt, if it can be shown. What the engine refuses here it refuses again, on record, as a request."""
    try:
        return engine.render(request)
    except EngineError:
        return None


def _prepared(engine: Engine, request: Request, reply: JsonObject) -> tuple[Request, Prompt | None, Forcing]:
    """Render the prompt and force the reply, or ask for about as many tokens as it has."""
    try:
        prompt = engine.render(request)
        forced = engine.forced(request, reply) if isinstance(engine, Forcer) else None
        if forced is not None:
            return msgspec.structs.replace(request, forced=forced), prompt, "token_ids"
        after = engine.render(msgspec.structs.replace(request, messages=(*request.messages, reply)))
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


def _of_forced(forced: Forced, count: int | None) -> tuple[int, ...] | None:
    """The ids of a forced reply, checked against how many were generated."""
    if count is not None and count < len(forced.token_ids):
        return None
    return (*forced.token_ids, forced.end_token_id)[:count]


def _rendered(prompt: Prompt | None, generated: tuple[int, ...] | None) -> Rendered | None:
    if prompt is None:
        return None
    return Rendered(prompt.text, prompt.token_ids, array("i", generated) if generated is not None else None)


def _length(measured: Measurement, *, continued: bool) -> int | None:
    """Tokens of this request that the next one of its conversation begins with, by the engine's counts."""
    prompt, generated = measured.evidence.prompt_tokens, measured.evidence.generated_tokens
    if not continued:
        return prompt
    return None if prompt is None or generated is None else prompt + generated
