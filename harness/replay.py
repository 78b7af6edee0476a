"""Replay recorded sessions on a real engine: turn by turn, render, match, force, measure, judge, store.

The engine does real prefill, caching and decoding; only the choice of tokens is the recording's (fidelity `rehearse`).
Where a reply cannot be forced, as many tokens as it had are generated freely, and the record says so. The next request
then holds the recorded reply, not the one that was generated: what it continues is the prompt alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from backends.base import Engine, EngineDied, Request
from harness.sending import Judged, Place, Sender
from harness.sessions import Session, salted
from profiler.anchor import measure_anchor
from profiler.calibration import GONE
from profiler.inversion import Calibration
from profiler.ledger import Ledger
from profiler.records import AnchorSample


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
    sender = Sender(engine, fidelity="rehearse", ledger=ledger, calibration=calibration, wall_clock=wall_clock)
    for repeat in range(plan.repeat):
        for session in plan.sessions:
            on_anchor(measure_anchor(engine, sender.ledger, f"{session.name} {repeat}"))
            for number, turn in enumerate(_cold(session, plan.nonce, repeat).turns):
                request = Request(turn.messages, turn.tools, turn.max_tokens, parameters=turn.parameters)
                place = Place(session.name, turn.conversation, number, repeat)
                record, kept = sender.send(request, place, reply=turn.reply)
                yield record, kept
                if record.error is not None and record.error.kind in GONE:
                    raise EngineDied(f"the engine is gone: {record.error.message}")


def _cold(session: Session, nonce: str | None, repeat: int) -> Session:
    salt = " ".join(filter(None, [nonce, f"repeat {repeat}" if repeat else None]))
    return salted(session, salt) if salt else session
