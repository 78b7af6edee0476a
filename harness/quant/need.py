"""Which candidates the user cannot have, and why: failed, does not fit, too slow.

Measurement outweighs prediction, but for memory only as far as the context was filled: what the rest of it takes is
added, by prediction.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from harness.quant.base import CandidateResult, Wanted
from harness.quant.figures import figures_of
from harness.quant.memory import FullContext, full_context

__all__ = ["Excluded", "Why", "excluded_by_need"]

Why = Literal["failed", "does not fit", "too slow"]
_UNFIT: Final = frozenset(("does_not_fit", "fits_with_smaller_kv", "fits_with_less_context"))
_GIB: Final = 1 << 30


class Excluded(msgspec.Struct, frozen=True):
    """A candidate that cannot be had as it was asked for; `predicted` where nothing but a prediction says so."""

    name: str
    why: Why
    reason: str
    predicted: bool


def excluded_by_need(result: CandidateResult, wanted: Wanted) -> Excluded | None:
    """Why the user cannot have it; `None` where he can."""
    name = result.candidate.name
    if result.failed is not None:
        return Excluded(name, "failed", result.failed, False)
    return _too_large(result, wanted) or _too_slow(result, wanted)


def _too_large(result: CandidateResult, wanted: Wanted) -> Excluded | None:
    name, limit = result.candidate.name, wanted.memory_bytes
    found = full_context(result, wanted)
    if found is None:
        return None
    # A load that went well with a part of the context shows that it fits a limit, not that all of it fits the machine.
    decides = found.measured and (limit is not None or not found.growth_bytes)
    if not decides and result.predicted is not None and result.predicted.fit.answer in _UNFIT:
        return Excluded(name, "does not fit", result.predicted.fit.text, True)
    if limit is None or found.bytes <= limit:
        return None
    return Excluded(name, "does not fit", f"{_needs(found)} of {_gib(limit)}", not found.measured)


def _needs(found: FullContext) -> str:
    if not found.measured:
        return f"would need {_gib(found.bytes)}, predicted,"
    if not found.growth_bytes:
        return f"needs {_gib(found.bytes)}, measured,"
    measured = found.bytes - found.growth_bytes
    return f"needs {_gib(measured)}, measured, and {_gib(found.growth_bytes)} for the rest of the context, predicted,"


def _too_slow(result: CandidateResult, wanted: Wanted) -> Excluded | None:
    least = wanted.least_decode_per_s
    decode = figures_of(result, wanted).get("decode_per_s")
    if least is None or decode is None or decode.value >= least:
        return None
    span = f" [{decode.low:.3g} … {decode.high:.3g}, {decode.n} repeats]" if decode.told else ""
    near = "; the interval holds the limit" if decode.told and decode.high >= least else ""
    reason = f"decodes {decode.value:.3g}{span} tokens/s ({decode.found} tokens of context) of {least:g} wanted{near}"
    return Excluded(result.candidate.name, "too slow", reason, decode.found.startswith("predicted"))


def _gib(value_bytes: int) -> str:
    return f"{value_bytes / _GIB:.2f} GiB"
