"""From the rows and records of a run to its verdict: is the prompt cache stable, and what was lost in all? Pure.

What is only bounded (C inferred from the time to the first token) is carried as its two ends, and a verdict is given
where both lead to the same one. A request of such a run without bounds may have reused nothing or all: intervals are
withheld where they are wide, so above all for misses, and leaving those out would make a cache look better than it is.
Nothing is summed over what is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from profiler.document import SessionRow, Verdict
from profiler.probe_records import Probe
from profiler.records import CacheVerdict, RequestRecord, RunInfo
from profiler.verdict import floor_tokens

__all__ = [
    "MIN_CONTINUATIONS",
    "exact",
    "is_inferring",
    "judged_of",
    "lost",
    "seconds",
    "share_bounds",
    "stability",
]

STABLE_FULL_MISS_RATE: Final = 0.05
STABLE_REUSE: Final = 0.95
MIN_CONTINUATIONS: Final = 10
"""Below this many judged continuations no verdict is given: one miss more or less would turn it."""

Bounds = tuple[float, float]


def stability(rows: Sequence[SessionRow], records: Sequence[RequestRecord], info: RunInfo) -> Verdict:
    """The verdict over the sessions that no prompt-side fault of a harness was put into, or over all if all had one."""
    inferring = is_inferring(info)
    clean = tuple(row.name for row in rows if row.side != "prompt")
    judged = clean or tuple(row.name for row in rows)
    chosen = [r for r in records if r.session in judged]
    continuations = [r for r in chosen if r.verdict.continuation and not r.error]
    counted = judged_of(chosen, inferring=inferring)
    known = [r for r in counted if r.verdict.continuation and not r.error]
    rate = _full_misses(known)
    reusable = share_bounds(known, lambda verdict: verdict.reusable_tokens)
    history = share_bounds(known, lambda verdict: verdict.history_tokens)
    reused = reusable or history
    lost_s = seconds(lost(counted, lambda verdict: verdict.lost_ns))
    replays = len({(r.session, r.repeat) for r in chosen})
    doubt = _figure_doubt(info.probe, records) if info.probe is not None else None
    if doubt is not None:
        stable, reason = None, doubt
    elif rate is None or reused is None:
        silent = "this engine does not say how many tokens it reused"
        stable, reason = None, silent if continuations else "no continuation was measured"
    elif len(known) < MIN_CONTINUATIONS:
        stable, reason = None, _too_few(len(known), len(continuations))
    else:
        stable, reason = _stable(len(known), rate, reused, "reusable tokens" if reusable else "history")
        reason += _basis(inferring=inferring, of_history=reusable is None)
    return Verdict(
        stable=stable,
        reason=reason,
        judged_sessions=judged,
        continuations=len(known),
        full_miss_rate=exact(rate),
        reuse_efficiency=exact(reusable),
        lost_s=lost_s,
        lost_prompt_side_s=seconds(lost(counted, lambda verdict: verdict.lost_prompt_side_ns)),
        lost_engine_side_s=seconds(lost(counted, lambda verdict: verdict.lost_engine_side_ns)),
        lost_s_per_dispatch=lost_s / replays if lost_s is not None and replays else None,
        judged_on=None if reused is None else "reusable" if reusable else "history",
        reused_low=None if reused is None else reused[0],
        reused_high=None if reused is None else reused[1],
    )


def is_inferring(info: RunInfo) -> bool:
    """Whether what was reused is inferred in this run, where the engine does not say it."""
    return info.calibration is not None and info.calibration.fit is not None


def judged_of(records: Iterable[RequestRecord], *, inferring: bool) -> list[RequestRecord]:
    """The requests whose class or bounds are known; with `inferring` all continuations that came to their end."""
    return [
        r
        for r in records
        if r.verdict.cache_class != "unknown"
        or r.verdict.cached_low_tokens is not None
        or (inferring and r.verdict.continuation and r.error is None)
    ]


def share_bounds(judged: Iterable[RequestRecord], whole: Callable[[CacheVerdict], int | None]) -> Bounds | None:
    """Σ C / Σ whole over requests that were judged, least and most: twice the same where C is reported.

    C beyond the whole (a warm engine) counts as the whole. `None` where nothing is known.
    """
    low = high = total = 0
    for verdict in (r.verdict for r in judged):
        tokens = whole(verdict)
        if tokens is not None:
            least, most = verdict.cached_bounds_tokens or (0, tokens)
            low += min(least, tokens)
            high += min(most, tokens)
            total += tokens
    return (low / total, high / total) if total else None


def exact(bounds: Bounds | None) -> float | None:
    """The one value that both bounds are; `None` where they differ."""
    return bounds[0] if bounds is not None and bounds[0] == bounds[1] else None


def lost(judged: Iterable[RequestRecord], of: Callable[[CacheVerdict], int | None]) -> int | None:
    """A loss summed over requests that were judged; `None` where that of one is not known, or there are none."""
    losses = [of(r.verdict) for r in judged]
    known = [loss for loss in losses if loss is not None]
    return sum(known) if known and len(known) == len(losses) else None


def seconds(duration_ns: int | None) -> float | None:
    """A duration in s from ns."""
    return None if duration_ns is None else duration_ns / 1e9


def _full_misses(known: Sequence[RequestRecord]) -> Bounds | None:
    """The share of full misses, least and most: what is only bounded may be one if its lower end is in the floor."""
    certain = sum(r.verdict.cache_class == "full_miss" for r in known)
    possible = certain + sum(r.verdict.cache_class == "unknown" and _may_be_full_miss(r.verdict) for r in known)
    return (certain / len(known), possible / len(known)) if known else None


def _may_be_full_miss(verdict: CacheVerdict) -> bool:
    low, prompt = verdict.cached_low_tokens, verdict.prompt_tokens
    return low is None or prompt is None or low <= floor_tokens(prompt)


def _too_few(known: int, measured: int) -> str:
    if known == measured:
        return f"only {known} continuations were measured, {MIN_CONTINUATIONS} are needed"
    return f"only {known} of {measured} continuations could be judged, {MIN_CONTINUATIONS} are needed"


def _stable(known: int, rate: Bounds, reuse: Bounds, whole: str) -> tuple[bool | None, str]:
    reused = f"{_shown(reuse)} of the {whole} {'were' if whole.endswith('s') else 'was'} reused"
    if rate[0] > STABLE_FULL_MISS_RATE:
        limit = f"(up to {STABLE_FULL_MISS_RATE:.0%} is stable)"
        return False, f"{_shown(rate)} of {known} continuations lost the whole cache {limit}"
    if reuse[1] < STABLE_REUSE:
        return False, f"{reused} (from {STABLE_REUSE:.0%} on is stable)"
    both = f"{reused}, {_shown(rate)} of {known} continuations were full misses"
    if reuse[0] >= STABLE_REUSE and rate[1] <= STABLE_FULL_MISS_RATE:
        return True, both
    return None, f"the times leave it open: {both}"


def _shown(bounds: Bounds) -> str:
    low, high = (f"{bound:.1%}" for bound in bounds)
    return low if low == high else f"{low} to {high}"


def _basis(*, inferring: bool, of_history: bool) -> str:
    """What the verdict rests on, where that is not the engine's own word on prompts that it shows."""
    said: list[str] = []
    if inferring:
        said.append("what was reused is inferred from the time to the first token")
    if of_history:
        said.append("judged on history reuse, because the prompts are not shown")
    return f" ({'; '.join(said)})" if said else ""


def _figure_doubt(probe: Probe, records: Sequence[RequestRecord]) -> str | None:
    """Why the count of cached tokens may be none: it never differed, not even between a cold prompt and its repeat."""
    if probe.cached not in ("always_0", "always_the_same"):
        return None
    said = {r.verdict.cached_tokens for r in records} | {probe.cached_tokens.repeat}
    if len(said - {None}) > 1:
        return None
    return (
        f"this server says that {probe.cached_tokens.repeat} tokens were cached, also of an identical repeat: "
        "its cache is off, or the figure is none"
    )
