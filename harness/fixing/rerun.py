"""Repeat a run's sessions with levers set: what to replay in which order, and the replay of one piece of it.

A piece is a block of sessions with some levers in force, on an engine of its own where dyno launches it: then both
sides start from the same empty cache, and two models are never in memory at once. A server that somebody else started
stays as it is: there every piece is salted, so that it finds nothing of the others. Pieces with and without a lever
alternate, so that a drift of the machine meets both. Stores nothing and compares nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from backends.base import Engine, JsonObject, Target
from harness.fixing.plan import FixPlan, PlannedLever
from harness.fixing.rewrites import rewrite, with_parameters
from harness.replay import Plan, replay
from harness.sending import Judged
from harness.sessions import Session, salted
from profiler.inversion import Calibration
from profiler.ledger import Ledger
from profiler.records import AnchorSample

__all__ = ["Piece", "Salt", "chain_of", "pieces_of", "replay_piece", "unchanged_by", "with_levers"]

Chain = tuple[PlannedLever, ...]


class Salt(msgspec.Struct, frozen=True):
    """How prompts are kept apart: by a `nonce`, if any; `shared`: the engine also serves the other pieces."""

    nonce: str | None
    shared: bool


class Piece(msgspec.Struct, frozen=True):
    """Sessions to replay in order, with these levers in force; none is the baseline."""

    levers: Chain
    sessions: tuple[Session, ...]
    repeat: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the levers in force."""
        return tuple(planned.row.number for planned in self.levers)


def chain_of(plan: FixPlan, block: Sequence[str], *, everywhere: bool) -> Chain:
    """The chosen levers that act on one of these sessions, in order; `everywhere`: all of them."""
    return tuple(planned for planned in plan.chosen if everywhere or set(planned.row.sessions) & set(block))


def pieces_of(
    plan: FixPlan, sessions: Mapping[str, Session], repeat: int, *, baseline: bool, everywhere: bool
) -> Iterator[Piece]:
    """What to replay, in order: each block without levers, then with the first, with the first two, and so on."""
    for number in range(repeat):
        for block in plan.blocks:
            chain = chain_of(plan, block, everywhere=everywhere)
            plain = tuple(sessions[name] for name in block)
            for length in range(0 if baseline else 1, len(chain) + 1):
                yield Piece(chain[:length], _set(plain, chain[:length]), number)


def unchanged_by(planned: PlannedLever, sessions: Sequence[Session]) -> bool:
    """Whether a lever that rewrites would leave all of these sessions as they are."""
    lever = planned.lever
    if lever.rewrite is None or lever.options or lever.parameters:
        return False
    return all(rewrite(session, lever.rewrite) == session for session in sessions)


def with_levers(target: Target, levers: Chain) -> Target:
    """The target with the launch options of these levers."""
    options: dict[str, str] = {}
    for planned in levers:
        options |= planned.lever.options
    # A key may be written with «-», and stands for the same option.
    plain = {key.replace("-", "_"): value for key, value in target.options.items()}
    return msgspec.structs.replace(target, options=plain | options) if options else target


def replay_piece(
    engine: Engine,
    piece: Piece,
    salt: Salt,
    ledger: Ledger,
    *,
    calibration: Calibration | None = None,
    on_anchor: Callable[[AnchorSample], None] = lambda _: None,
) -> Iterator[Judged]:
    """Replay a piece, and yield each record as soon as it is judged; request ids start at 1 in every session.

    Raises:
        EngineDied: the engine is gone; the record of the request that it failed on came first.
    """
    label = "+".join(map(str, piece.numbers)) or "baseline"
    for session in piece.sessions:
        sent = _salted(session, salt, label, piece.repeat)
        for record, kept in replay(engine, Plan((sent,)), ledger=ledger, calibration=calibration, on_anchor=on_anchor):
            yield msgspec.structs.replace(record, session=session.name, repeat=piece.repeat), kept


def _salted(session: Session, salt: Salt, label: str, repeat: int) -> Session:
    """The session as `dyno cache` would salt it; on a shared engine apart from every other piece, and named so."""
    if salt.shared:
        own = hashlib.sha256(f"{salt.nonce} {label} {repeat}".encode()).hexdigest()[:12]
        return msgspec.structs.replace(salted(session, own), name=f"{session.name} {own}")
    text = " ".join(filter(None, [salt.nonce, f"repeat {repeat}" if repeat else None]))
    return salted(session, text) if text else session


def _set(sessions: tuple[Session, ...], levers: Chain) -> tuple[Session, ...]:
    for planned in levers:
        lever = planned.lever
        if lever.rewrite is not None:
            sessions = tuple(rewrite(session, lever.rewrite) for session in sessions)
        if lever.parameters:
            parameters: JsonObject = lever.parameters
            sessions = tuple(with_parameters(session, parameters) for session in sessions)
    return sessions
