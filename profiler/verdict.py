"""Judge what the cache did for one request: class, losses by side, their price. Pure; the engine's word against ours.

Symbols, in tokens: P prompt, C cached (the engine's count), L longest common prefix with any earlier sequence of the
load epoch, prev the length of the sequence that the prompt continues.

* prompt-side loss = prev - L: the text changed, so that no cache could have helped.
* engine-side loss = min(L, P - 1) - C: the text was the same and the engine did not reuse it.
  (Engines evaluate the last prompt token again, so P - 1 is the most that is asked of a cache. llama-cpp-python can
  reuse all P tokens of an identical prompt.)

Classes: the first request of a conversation is `cold` if it shares no more than the floor with anything earlier in this
epoch, else `branch`; a continuation is a `hit`, a `full_miss` (C at or below the floor: unrelated prompts share a
template head of a few tokens, so 0 is no test) or `partial`; `unknown` where C is not known, which is never a miss.

Where the engine shows no prompts, L is not known, and a continuation is judged on history reuse: on C against
min(prev, P - 1), with prev from the engine's own counts. What is lost is then known in all, but not by which side, and
a first request is `cold` or `unknown`. Where it does not report C either, bounds of C may be inferred from the time to
the first token (`profiler.inversion`): both ends are judged, and the verdict says what they agree on.

Seconds: the evaluated tokens of a request took its prefill time; the lost ones among them are charged their share.
A prompt that became shorter cannot lose more than it has, so the prompt side is charged for min(prev, P - 1) - L.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from backends.base import Evidence
from profiler.ledger import Match
from profiler.records import CacheClass, CacheVerdict, Confidence

if TYPE_CHECKING:
    from profiler.inversion import Interval

LAST_TOKEN = 1
"""The last generated token was sampled but never evaluated, so it is in no cache: not a loss."""
END_OF_TURN_TOKENS = 8
"""Tokens that a template may put differently at the end of a turn; a smaller prompt-side difference is no loss."""
FLOOR_TOKENS = 16
FLOOR_SHARE = 0.02
"""Up to max(16, 2 % of P) tokens are what any two prompts share (template heads of up to about 9 tokens, and a little
more): C at or below it is a full miss, and an L at or below it is nothing that an engine could lose."""

INFERRED: Final = "ttft_inferred"
"""The source of a C that the engine did not report, bounded by the time to the first token."""


def floor_tokens(prompt_tokens: int) -> int:
    """Cached tokens up to which a continuation counts as a full miss."""
    return max(FLOOR_TOKENS, int(FLOOR_SHARE * prompt_tokens))


def judge(
    match: Match,
    evidence: Evidence,
    *,
    granularity_tokens: int | None = 1,
    prefill_ns: int | None = None,
    inferred: Interval | str | None = None,
) -> CacheVerdict:
    """The verdict on one request. An L that is only a lower bound lowers the confidence.

    Args:
        match: how the prompt stands to earlier sequences; L and prev are `None` where the engine cannot render prompts.
        evidence: the engine's figures; one with a `conflict` is not used.
        granularity_tokens: step in which this engine can reuse; tolerance of the class `hit`, not of the losses.
        prefill_ns: time of the evaluated tokens; the engine's own, or the TTFT where it says none.
        inferred: bounds of C by the time to the first token, or why there are none; used only where the engine says
            neither C nor contradicts itself.
    """
    cached = None if evidence.conflict else evidence.cached_tokens
    step = granularity_tokens
    if evidence.conflict or evidence.prompt_tokens is None:
        return _unknown(match, evidence, cached, evidence.conflict or "not reported")
    if cached is not None:
        return _judge(match, evidence, cached, evidence.prompt_tokens, step, prefill_ns)
    if inferred is None or isinstance(inferred, str):
        return _unknown(match, evidence, None, f"not reported ({inferred})" if inferred else "not reported")
    low, high = (
        _judge(match, evidence, bound, evidence.prompt_tokens, step, prefill_ns)
        for bound in (inferred.low_tokens, inferred.high_tokens)
    )
    return _agreed(low, high)


def _judge(
    match: Match, evidence: Evidence, cached: int, prompt: int, granularity_tokens: int | None, prefill_ns: int | None
) -> CacheVerdict:
    """The verdict where C and P are known."""
    if match.lcp_tokens is None:
        return _judge_history(match, evidence, cached, prompt, granularity_tokens, prefill_ns)
    if match.prev_tokens is None:
        return _unknown(match, evidence, cached, "not reported")
    lcp, prev = match.lcp_tokens, match.prev_tokens
    if not match.exact:
        lcp, prev = _told_by_cache(lcp, prev, match.unknown_tokens, cached)
        match = msgspec.structs.replace(match, lcp_tokens=lcp, prev_tokens=prev)
    confidence: Confidence = "observed" if match.exact and granularity_tokens is not None else "inferred"
    note: str | None = None
    floor = floor_tokens(prompt)
    if not match.continuation and lcp <= floor:
        if cached > floor:
            note = f"{cached} tokens were cached before this run sent them; --cold starts sessions cold"
            return _unknown(match, evidence, cached, note)
        return _verdict("cold", match, evidence, cached, prompt_side=0, engine_side=0, confidence=confidence)

    reusable = min(lcp, prompt - 1)
    engine_side = reusable - cached if reusable > floor and reusable - cached > LAST_TOKEN else 0
    prompt_side = prev - lcp if match.continuation and prev - lcp > END_OF_TURN_TOKENS else 0
    if cached > lcp:
        note = f"the engine reused {cached - lcp} tokens more than this run's own sequences explain"
        confidence = "inferred"
    cache_class: CacheClass
    if not match.continuation:
        cache_class = "branch"
    elif not prompt_side and not engine_side:
        cache_class = "hit"
    elif cached <= floor:
        cache_class = "full_miss"
    elif not prompt_side and engine_side <= (granularity_tokens or 1):
        cache_class = "hit"
    else:
        cache_class = "partial"

    evaluated = prompt - cached
    recomputed = max(0, min(prev, prompt - 1) - lcp) if prompt_side else 0
    return _verdict(
        cache_class,
        match,
        evidence,
        cached,
        prompt_side=prompt_side,
        engine_side=engine_side,
        prompt_side_ns=_share_ns(prefill_ns, recomputed, evaluated),
        engine_side_ns=_share_ns(prefill_ns, engine_side, evaluated),
        confidence=confidence,
        note=note,
    )


def _told_by_cache(lcp: int, prev: int, unknown: int, cached: int) -> tuple[int, int]:
    """L and prev where the prompt holds a whole sequence whose generated ids are not known: what the engine reused of
    them is the same in both. Where it did not come so far, nothing tells whether they are, and prev is without them.
    """
    if cached <= lcp:
        return lcp, max(lcp, prev - unknown)
    return max(lcp, min(cached, prev)), prev


def _judge_history(
    match: Match, evidence: Evidence, cached: int, prompt: int, granularity_tokens: int | None, prefill_ns: int | None
) -> CacheVerdict:
    """The verdict where the prompts are not shown: C against what the conversation so far could have left."""
    floor = floor_tokens(prompt)
    if not match.continuation:
        if cached > floor:
            note = f"{cached} tokens were cached; the prompts are not shown, so that it is not known of which request"
            return _unknown(match, evidence, cached, note)
        return _verdict("cold", match, evidence, cached, unsplit=0, confidence="inferred")
    if match.prev_tokens is None:
        return _unknown(match, evidence, cached, "the length of the request before is not known")
    missing = min(match.prev_tokens, prompt - 1) - cached
    tolerated = END_OF_TURN_TOKENS + LAST_TOKEN
    cache_class: CacheClass
    if cached <= floor < match.prev_tokens:
        cache_class = "full_miss"
    elif missing <= tolerated + (granularity_tokens or 1):
        cache_class = "hit"
    else:
        cache_class = "partial"
    lost = missing if missing > tolerated else 0
    lost_ns = _share_ns(prefill_ns, lost, prompt - cached)
    return _verdict(cache_class, match, evidence, cached, unsplit=lost, unsplit_ns=lost_ns, confidence="inferred")


def _agreed(low: CacheVerdict, high: CacheVerdict) -> CacheVerdict:
    """What the verdicts for the least and the most that can have been cached have in common."""
    fewest, most = low.cached_tokens, high.cached_tokens
    known = low.cache_class if low.cache_class == high.cache_class else "unknown"
    losses = (
        "lost_prompt_side_tokens", "lost_engine_side_tokens", "lost_prompt_side_ns", "lost_engine_side_ns",
        "lost_unsplit_tokens", "lost_unsplit_ns",
    )  # fmt: skip
    agreed = {
        name: getattr(low, name) if known != "unknown" and getattr(low, name) == getattr(high, name) else None
        for name in losses
    }
    note = f"between {fewest} and {most} tokens were cached, by the time to the first token"
    why_unknown = low.note if low.cache_class == "unknown" == high.cache_class else "too wide for a class"
    return msgspec.structs.replace(
        low,
        cache_class=known,
        cached_tokens=None,
        cached_source=INFERRED,
        cached_low_tokens=fewest,
        cached_high_tokens=most,
        confidence="inferred" if known != "unknown" else "unknown",
        note=note if known != "unknown" else f"{note}: {why_unknown}",
        **agreed,
    )


def _unknown(match: Match, evidence: Evidence, cached: int | None, note: str) -> CacheVerdict:
    return _verdict("unknown", match, evidence, cached, confidence="unknown", note=note)


def _verdict(
    cache_class: CacheClass,
    match: Match,
    evidence: Evidence,
    cached: int | None,
    *,
    confidence: Confidence,
    prompt_side: int | None = None,
    engine_side: int | None = None,
    prompt_side_ns: int | None = None,
    engine_side_ns: int | None = None,
    unsplit: int | None = None,
    unsplit_ns: int | None = None,
    note: str | None = None,
) -> CacheVerdict:
    # A loss of no tokens costs no time, also where the prefill time is not known.
    return CacheVerdict(
        cache_class=cache_class,
        prompt_tokens=evidence.prompt_tokens,
        cached_tokens=cached,
        cached_source=evidence.sources.get("cached_tokens") if cached is not None else None,
        lcp_tokens=match.lcp_tokens,
        prev_tokens=match.prev_tokens,
        continuation=match.continuation,
        lost_prompt_side_tokens=prompt_side,
        lost_engine_side_tokens=engine_side,
        lost_prompt_side_ns=0 if prompt_side == 0 else prompt_side_ns,
        lost_engine_side_ns=0 if engine_side == 0 else engine_side_ns,
        confidence=confidence,
        note=note,
        lost_unsplit_tokens=unsplit,
        lost_unsplit_ns=0 if unsplit == 0 else unsplit_ns,
    )


def _share_ns(total_ns: int | None, part: int, whole: int) -> int | None:
    if part == 0:
        return 0
    return None if total_ns is None or whole <= 0 else round(total_ns * min(1.0, part / whole))
