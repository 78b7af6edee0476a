"""What a comparison of quants will take, roughly, and how much of it is worth that. Pure.

Counts of tokens over rates: predicted ones where there are any, else what the bytes of a token allow on a slow memory.
It decides how much is measured by default and what is said before anything runs; it is no figure of a report.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from harness.quant.base import Candidate, Predicted, Wanted
from harness.quant.depths import DepthPlan, fitting
from harness.quant.plan import Amount, Step
from harness.sessions import Session, Turn
from profiler.quality.scoring import FLOOR_CHUNKS

__all__ = [
    "AMOUNTS", "BUDGET_S", "Costs", "Speed", "default_tasks", "fitting_amount", "longest_tokens", "session_tokens",
    "speed_of",
]  # fmt: skip

BUDGET_S: Final = 120.0
"""By default as much is measured as fits into this, and the least amount where none does."""

_SLOW_MEMORY_BYTES_PER_S: Final = 8e9
_MOST_DECODE, _MOST_PREFILL = 1000.0, 4000.0
"""Small models are bound by what each token and each request costs besides."""
_PREFILL_OF_DECODE: Final = 8.0
_DISK_BYTES_PER_S: Final = 1e9

_LOAD_S, _REQUEST_S, _DISPATCH_S = 1.5, 0.01, 0.3
_ANCHORS: Final = 5
_ANCHOR_TOKENS, _ANCHOR_REPLY = 250, 16
_POSITION_TOKENS, _CALL_TOKENS = 120, 30
_TASK_TOKENS, _TASK_TURNS = 900, 4
_CHARACTERS_PER_TOKEN: Final = 3.0
_ROOM_TOKENS: Final = 1024
"""Left free for replies, and since tokens are only estimated."""

_KINDS: Final = ("select", "chain4", "arguments", "recover", "chain2")
"""Toolbench's kinds that a small model can do, easy and medium in turn."""


class Speed(NamedTuple):
    """Rates to count with, tokens per second, and the bytes to load."""

    prefill_per_s: float
    decode_per_s: float
    file_bytes: int


class Costs(NamedTuple):
    """Seconds of each step, by the rates of its candidate. `session_tokens` of all sessions: read, and generated."""

    speeds: dict[str, Speed]
    amount: Amount
    session_tokens: tuple[int, int]
    scored_by_position: bool = False

    def of(self, step: Step) -> float:
        """Seconds of a step."""
        speed, amount = self.speeds[step.candidate], self.amount
        if step.kind == "load":
            return (
                _LOAD_S
                + speed.file_bytes / _DISK_BYTES_PER_S
                + _time(speed, _ANCHORS * _ANCHOR_TOKENS, _ANCHORS * _ANCHOR_REPLY, _ANCHORS)
            )
        if step.kind == "rates":
            depths = amount.depths
            read = sum(depth + depths.prefill_tokens for depth in depths.depths_tokens)
            return _time(speed, read, depths.decode_tokens * len(depths.depths_tokens), 2)
        if step.kind == "calls":
            return _time(speed, amount.positions * _POSITION_TOKENS, amount.positions * _CALL_TOKENS, amount.positions)
        if step.kind == "task":
            return _DISPATCH_S + _time(speed, _TASK_TOKENS, _TASK_TURNS * _CALL_TOKENS, _TASK_TURNS)
        if step.kind == "cache":
            return _time(speed, *self.session_tokens, 1)
        tokens = amount.chunks * amount.chunk_tokens
        if self.scored_by_position:
            return _LOAD_S + _time(speed, tokens, 0, tokens // 2)
        # The first chunks are scored again, token by token, for the noise floor.
        return _LOAD_S + _time(speed, tokens, FLOOR_CHUNKS * amount.chunk_tokens, 0)

    def total_s(self, steps: Iterable[Step]) -> float:
        """Seconds of all."""
        return sum(map(self.of, steps))


def speed_of(candidate: Candidate, predicted: Predicted | None) -> Speed:
    """The rates to count with for a candidate."""
    model = candidate.model
    said = predicted.speed if predicted is not None else None
    point = said.points[0] if said is not None and said.basis == "calibrated" and said.points else None
    read = model.active_bytes or model.tensor_bytes
    decode = point.decode_tokens_per_s if point is not None else None
    decode = min(_MOST_DECODE, decode or _SLOW_MEMORY_BYTES_PER_S / max(1, read))
    prefill = point.prefill_tokens_per_s if point is not None else None
    return Speed(min(_MOST_PREFILL, prefill or _PREFILL_OF_DECODE * decode), decode, model.tensor_bytes)


def session_tokens(sessions: Sequence[Session]) -> tuple[int, int]:
    """About how many tokens a replay reads and generates, if its cache works half of the time."""
    read = generated = 0
    for session in sessions:
        sizes = [_prompt_characters(turn) for turn in session.turns]
        read += max(sizes, default=0) + sum(sizes) // 4
        generated += sum(len(str(turn.reply)) for turn in session.turns)
    return round(read / _CHARACTERS_PER_TOKEN), round(generated / _CHARACTERS_PER_TOKEN)


def default_tasks(count: int) -> tuple[str, ...]:
    """So many of toolbench's tasks, of all kinds in turn."""
    names = (f"toolbench/{kind}-{number}" for number in range(1, 6) for kind in _KINDS)
    return tuple(itertools.islice(names, count))


_DEPTHS: Final = DepthPlan(depths_tokens=(0, 2048), prefill_tokens=512, decode_tokens=48)
_SESSIONS: Final = ("append-only", "interleaved", "title-call")
"""Short and with an intact prompt each: what is lost in them, the engine lost."""

AMOUNTS: Final = (
    Amount(5, DepthPlan((0, 4096)), _SESSIONS, default_tasks(20), 48, 32, position_tasks=default_tasks(16)),
    Amount(5, _DEPTHS, _SESSIONS, default_tasks(12), 32, 16, position_tasks=default_tasks(12)),
    Amount(4, _DEPTHS, _SESSIONS[:2], default_tasks(10), 24, 12, position_tasks=default_tasks(8)),
    Amount(3, DepthPlan((0,), 256, 32), _SESSIONS[:1], default_tasks(10), 16, 6, position_tasks=default_tasks(5)),
)
"""What is measured by default, the most first."""


def fitting_amount(amount: Amount, wanted: Wanted, sessions: Mapping[str, Session]) -> Amount:
    """The amount without the sessions for which a slot's context has no room."""
    fit = tuple(
        name
        for name in amount.sessions
        if name in sessions and longest_tokens(sessions[name]) + _ROOM_TOKENS <= wanted.context_tokens
    )
    return msgspec.structs.replace(amount, sessions=fit, depths=fitting(amount.depths, wanted.context_tokens))


def longest_tokens(session: Session) -> int:
    """About how many tokens the longest prompt of a session has."""
    return round(max(map(_prompt_characters, session.turns)) / _CHARACTERS_PER_TOKEN)


def _prompt_characters(turn: Turn) -> int:
    return sum(len(str(message)) for message in turn.messages) + len(str(turn.tools))


def _time(speed: Speed, read_tokens: int, generated_tokens: int, requests: int) -> float:
    return read_tokens / speed.prefill_per_s + generated_tokens / speed.decode_per_s + requests * _REQUEST_S
