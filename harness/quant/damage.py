"""How much a quant is damaged, in bands of its KL divergence from the reference. A filter, not an order: see `Band`.

The thresholds come from published and own figures of a few models (one label of one model alone spans a factor of 5),
so they depend on the model, and what is said of a band says so. What stands below twice the measured floor is the
engine's own noise.
"""

from __future__ import annotations

from typing import Final, Literal

from scipy import stats

from profiler.quality.base import Estimate, Quality

__all__ = [
    "BAND_WORDS", "CHECK_KLD", "CONFIDENCE", "NEAR_LOSSLESS", "SILENT_KLD", "THRESHOLDS_TEXT", "VISIBLE_KLD", "Band",
    "band_of", "interval_of", "kld_text",
]  # fmt: skip

Band = Literal["indistinguishable", "silent", "check", "visible", "damaged", "drowned", "unmeasured"]
"""`indistinguishable`: below twice the floor. `silent`: benchmarks do not follow KLD here. `drowned`: below twice a
floor that is itself above the silent zone, so that nothing can be said."""

CONFIDENCE: Final = 0.95
SILENT_KLD: Final = 0.01
CHECK_KLD: Final = 0.05
VISIBLE_KLD: Final = 0.15
"""Upper ends of the bands `silent`, `check` and `visible`, nats a token."""

NEAR_LOSSLESS: Final[frozenset[Band]] = frozenset(("indistinguishable", "silent"))
"""Members of these are a tie as far as KLD goes."""

BAND_WORDS: Final[dict[Band, str]] = {
    "indistinguishable": "below twice the engine's own noise",
    "silent": "near-lossless",
    "check": "check it on agentic tasks",
    "visible": "visible damage",
    "damaged": "damaged",
    "drowned": "the engine's own noise is too high to tell",
    "unmeasured": "not measured",
}

THRESHOLDS_TEXT: Final = (
    f"KLD bands (up to {SILENT_KLD:g} near-lossless, {CHECK_KLD:g} check on tasks, {VISIBLE_KLD:g} visible damage) are "
    "from a few published models and depend on the model: they filter, they do not rank"
)


def band_of(quality: Quality | None) -> Band:
    """The band of a candidate, by the mean of its KLD and its own floor."""
    if quality is None:
        return "unmeasured"
    kld = quality.kld.value
    if quality.floor is not None and kld < 2 * quality.floor.value:
        return "drowned" if quality.floor.value > SILENT_KLD else "indistinguishable"
    if kld <= SILENT_KLD:
        return "silent"
    if kld <= CHECK_KLD:
        return "check"
    return "visible" if kld <= VISIBLE_KLD else "damaged"


def interval_of(estimate: Estimate) -> tuple[float, float] | None:
    """The interval of 95 % from a standard error over chunks, by Student's t; `None` where there is no error."""
    if estimate.standard_error is None or estimate.n_chunks < 2:
        return None
    half = estimate.standard_error * float(stats.t.ppf((1 + CONFIDENCE) / 2, estimate.n_chunks - 1))
    return estimate.value - half, estimate.value + half


def kld_text(quality: Quality) -> str:
    """The mean KLD with half its interval, its n and the floor, in words."""
    bounds = interval_of(quality.kld)
    half = f" ± {bounds[1] - quality.kld.value:.1g}" if bounds else ""
    return f"KLD {quality.kld.value:.2g}{half} nats a token ({_chunks(quality.kld.n_chunks)}; {_floor(quality.floor)})"


def _floor(floor: Estimate | None) -> str:
    return "its floor was not measured" if floor is None else f"floor {floor.value:.2g}"


def _chunks(n: int) -> str:
    return "1 chunk" if n == 1 else f"{n} chunks"
