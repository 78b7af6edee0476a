"""What a candidate has to have of memory: predicted, measured, and so with a full context. Pure.

It is measured after a short prompt, and predicted for a full context: the two are compared only at what was filled, and
what the rest of the context takes is added to what was measured.
"""

from __future__ import annotations

import msgspec

from harness.quant.base import CandidateResult, Wanted
from profiler.fit.base import MemoryPrediction

__all__ = ["FullContext", "at_fill", "full_context", "measured_memory", "must_have", "predicted_memory"]


class FullContext(msgspec.Struct, frozen=True):
    """What a candidate has to have with a full context, with the file's pages that each token reads, bytes.

    `measured`: it is what was measured, with what was predicted for the part of the context that was not filled; else
    it is a prediction. `growth_bytes` is that part.
    """

    bytes: int
    measured: bool
    growth_bytes: int = 0


def must_have(result: CandidateResult) -> tuple[int | None, int | None]:
    """What cannot be dropped, bytes of host and GPU together: predicted with a full context, measured after loading."""
    known, seen = result.predicted, result.measured
    predicted = _held(known.memory) if known and known.memory.parts else None
    if seen is None or seen.must_have_bytes is None:
        return predicted, None
    return predicted, seen.must_have_bytes + (seen.device_bytes or 0)


def at_fill(result: CandidateResult, wanted: Wanted) -> int | None:
    """What was predicted to be held with so many tokens as were filled when it was measured; `None` if not known."""
    predicted, _ = must_have(result)
    filled = result.measured.filled_tokens if result.measured is not None else None
    if predicted is None or filled is None:
        return None
    if filled >= wanted.context_tokens:
        return predicted
    part = result.predicted.part_filled if result.predicted is not None else None
    if part is None or part.tokens >= wanted.context_tokens:
        return None
    held = _held(part.memory)
    # Nearly a straight line in what is filled, and the two are near each other.
    return held + round((predicted - held) * (filled - part.tokens) / (wanted.context_tokens - part.tokens))


def measured_memory(result: CandidateResult) -> int | None:
    """What it had to have when it was measured, with the file's pages that each token reads, bytes."""
    _, measured = must_have(result)
    return None if measured is None else measured + _pages(result)


def predicted_memory(result: CandidateResult) -> int | None:
    """What it would have to have with a full context, with the file's pages that each token reads, bytes."""
    predicted, _ = must_have(result)
    return None if predicted is None else predicted + _pages(result)


def full_context(result: CandidateResult, wanted: Wanted) -> FullContext | None:
    """What it has to have with a full context, by measurement where that and the rest of the context are known.

    Where it is not known how much was filled, or what the rest takes, the larger one of the two counts.
    """
    predicted, measured = predicted_memory(result), measured_memory(result)
    if measured is None:
        return None if predicted is None else FullContext(predicted, measured=False)
    filled = result.measured.filled_tokens if result.measured is not None else None
    if filled is not None and filled >= wanted.context_tokens:
        return FullContext(measured, measured=True)
    whole, part = must_have(result)[0], at_fill(result, wanted)
    if whole is not None and part is not None:
        growth_bytes = max(0, whole - part)
        return FullContext(measured + growth_bytes, measured=True, growth_bytes=growth_bytes)
    if predicted is not None and predicted > measured:
        return FullContext(predicted, measured=False)
    return FullContext(measured, measured=True)


def _held(prediction: MemoryPrediction) -> int:
    return prediction.must_have_bytes + prediction.device_bytes


def _pages(result: CandidateResult) -> int:
    """Pages of the file that may be dropped, and would at once be read again: without them the model crawls.

    By the plan where there is one: what is measured counts pages too that were read once, to be copied.
    """
    if result.predicted is not None and result.predicted.memory.parts:
        parts = result.predicted.memory.parts
        return sum(part.bytes for part in parts if part.place == "host" and part.reclaimable and not part.idle)
    return (result.measured.file_bytes or 0) if result.measured is not None else 0
