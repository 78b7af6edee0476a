"""Does it fit? The answer from predictions and what the machine can give. Pure: predictions come from a function.

What must lie in the host's memory is all that is held, and the pages of the file that are read for each token: an
engine whose weights are dropped from memory reads them from the disk again and again. Pages that lie idle, and what may
only grow, are not counted; they are said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from profiler.fit.amounts import amount
from profiler.fit.base import Allowance, FitVerdict, MemoryPrediction

__all__ = ["LEAST_CONTEXT_TOKENS", "arithmetic", "judge_fit", "needed_bytes"]

LEAST_CONTEXT_TOKENS: Final = 2048
"""A smaller context is no answer for an agent."""
STEP_TOKENS: Final = 256
"""Caches are padded to that many cells (`llama-context.cpp`)."""

_STRAIGHT_LINES: Final = 6
"""Questions by a straight line before halving: what is not linear ends no later."""

Predict = Callable[[str, int], MemoryPrediction]
"""The prediction with a type of KV cache and a context in tokens."""


def judge_fit(
    predict: Predict,
    allowance: Allowance,
    *,
    kv: str,
    context_tokens: int,
    smaller_kv: str | None = "q8_0",
    least_context_tokens: int = LEAST_CONTEXT_TOKENS,
) -> FitVerdict:
    """Try what was wanted, then a smaller cache type, then the largest context that fits, then spilling to the host.

    `smaller_kv` is `None` where there is none. A prediction without weights or cache is no ground for a yes.
    """
    wanted = predict(kv, context_tokens)
    if not _is_whole(wanted):
        return _without_all(wanted, allowance)
    if _fits(wanted, allowance):
        return FitVerdict("fits", f"fits: {_sum(wanted, allowance)}")
    if smaller_kv is not None and smaller_kv != kv:
        smaller = predict(smaller_kv, context_tokens)
        if _fits(smaller, allowance):
            text = f"fits with {smaller_kv} KV: {_sum(smaller, allowance)}"
            return FitVerdict("fits_with_smaller_kv", text, kv=smaller_kv)
    room_bytes = _room_bytes(wanted, allowance)
    largest = _largest_context(predict, allowance, kv, least_context_tokens, context_tokens, room_bytes)
    if largest is not None:
        text = f"fits with context ≤ {largest}: {_sum(predict(kv, largest), allowance)}"
        return FitVerdict("fits_with_less_context", text, context_tokens=largest)
    if _spills(wanted, allowance):
        over_bytes = wanted.device_bytes - (allowance.device_bytes or 0)
        text = f"spills: {amount(over_bytes)} of it must stay on the host, {_sum(wanted, allowance)}"
        return FitVerdict("spills", text)
    return FitVerdict("does_not_fit", f"does not fit: {_sum(wanted, allowance)}")


def needed_bytes(prediction: MemoryPrediction) -> int:
    """Host memory without which it crawls: what is held, and file pages that are read for each token."""
    idle_bytes = sum(p.bytes for p in prediction.parts if p.place == "host" and p.reclaimable and p.idle)
    return prediction.must_have_bytes + prediction.file_bytes - idle_bytes


def arithmetic(prediction: MemoryPrediction, allowance: Allowance) -> tuple[str, ...]:
    """The whole sum, a line for each part, then what is not known and what there is: for `--explain`."""
    lines: list[str] = []
    for part in prediction.parts:
        notes = [
            word
            for holds, word in (
                (part.at_most, "grows with use"),
                (part.idle, "lies idle"),
                (part.reclaimable and not part.idle, "reclaimable"),
            )
            if holds
        ]
        noted = f", {', '.join(notes)}" if notes else ""
        most = "≤ " if part.at_most else ""
        name = part.what.replace("_", " ")
        lines.append(f"{part.place} {name}: {most}{amount(part.bytes)} [{part.basis}{noted}] {part.arithmetic}")
    lines += [f"not counted: {missing}" for missing in prediction.missing]
    lines.append(f"needed: {_sum(prediction, allowance)}")
    lines.append(f"there is: {allowance.source}")
    return tuple(lines)


def _is_whole(prediction: MemoryPrediction) -> bool:
    kinds = {part.what for part in prediction.parts}
    return "weights" in kinds and bool(kinds & {"kv_cache", "recurrent_state"})


def _without_all(prediction: MemoryPrediction, allowance: Allowance) -> FitVerdict:
    """Where even the known part is too much, that is an answer."""
    if not _fits(prediction, allowance) and not _spills(prediction, allowance):
        return FitVerdict("does_not_fit", f"does not fit, without counting all: {_sum(prediction, allowance)}")
    return FitVerdict("unknown", f"cannot tell, not known: {'; '.join(prediction.missing) or 'weights'}")


def _fits(prediction: MemoryPrediction, allowance: Allowance) -> bool:
    return _room_bytes(prediction, allowance) >= 0


def _room_bytes(prediction: MemoryPrediction, allowance: Allowance) -> int:
    """What is left where it is tightest; less than 0 where it does not fit."""
    host_bytes, device_bytes = needed_bytes(prediction), prediction.device_bytes
    if allowance.unified:
        host_bytes += device_bytes
    room_bytes = allowance.host_bytes - host_bytes
    return min(room_bytes, (allowance.device_bytes or 0) - device_bytes) if device_bytes else room_bytes


def _spills(prediction: MemoryPrediction, allowance: Allowance) -> bool:
    """Whether it fits in host and GPU together. Memory that both share is not more for being divided."""
    if allowance.unified or not prediction.device_bytes or not allowance.device_bytes:
        return False
    over_bytes = prediction.device_bytes - allowance.device_bytes
    return over_bytes > 0 and needed_bytes(prediction) + over_bytes <= allowance.host_bytes


def _largest_context(
    predict: Predict, allowance: Allowance, kv: str, least_tokens: int, wanted_tokens: int, wanted_room_bytes: int
) -> int | None:
    """The largest context under the wanted one that fits, in steps; `None` if none from `least_tokens` on does.

    Memory is nearly linear in the context, so that a straight line between two answers leads to the next question.
    """
    low, high = -(-least_tokens // STEP_TOKENS), (wanted_tokens - 1) // STEP_TOKENS + 1
    if low >= high:
        return None
    low_room = _room_bytes(predict(kv, low * STEP_TOKENS), allowance)
    high_room = wanted_room_bytes
    if low_room < 0:
        return None
    asked = 0
    while high - low > 1:
        share = low_room / (low_room - high_room) if asked < _STRAIGHT_LINES else 0.5
        middle = min(high - 1, max(low + 1, low + int((high - low) * share)))
        room = _room_bytes(predict(kv, middle * STEP_TOKENS), allowance)
        low, low_room, high, high_room = (middle, room, high, high_room) if room >= 0 else (low, low_room, middle, room)
        asked += 1
    return low * STEP_TOKENS


def _sum(prediction: MemoryPrediction, allowance: Allowance) -> str:
    words = f"{amount(needed_bytes(prediction))} of {amount(allowance.host_bytes)} on the host"
    if prediction.device_bytes:
        words += f", {amount(prediction.device_bytes)} of {amount(allowance.device_bytes or 0)} on the GPU"
    if prediction.growth_bytes:
        words += f"; may grow by {amount(prediction.growth_bytes)}"
    return words
