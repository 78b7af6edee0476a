"""Rules for the engine's side: the text was the same, and yet it was evaluated again. Pure.

First what the engine says itself (its log, a reload, a switch that is off): the first rule that speaks has the whole
loss. Then who else used the cache meanwhile, each with the tokens that it dropped; then what this kind of cache can do
at all, for what is left. What nobody explains beside a known part is named as such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from profiler.causes import engine_limits as limits
from profiler.causes import engine_neighbours as neighbours
from profiler.causes import engine_said as said
from profiler.causes.base import Case, Cause, Proof
from profiler.causes.engine_evidence import cause_of
from profiler.causes.engine_places import SLACK_TOKENS, trail

__all__ = ["engine_causes"]

Rule = Callable[[Case], Cause | None]

WHOLE: Final[tuple[Rule, ...]] = (
    said.reloaded,
    said.caching_off,
    said.adapter_changed,
    said.context_shifted,
    said.kv_purged,
    said.restore_failed,
    neighbours.pinned_slot_cleared,
    neighbours.parallel,
    said.cancelled,
    said.store_full,
)
"""Each explains the whole loss, in the order in which they are tried."""

REST: Final[tuple[Rule, ...]] = (
    neighbours.by_dyno,
    limits.sequential_path,
    limits.checkpoint_too_far,
    limits.not_trimmable,
    said.vision_path,
    limits.context_full,
)
"""What is left where no request, or not only another request, explains the loss."""


def engine_causes(case: Case) -> tuple[Cause, ...]:
    """The causes of the engine-side loss; empty where no rule speaks."""
    for rule in WHOLE:
        cause = rule(case)
        if cause is not None:
            return (cause,)
    parts = _parts(case)
    lost = case.step.record.verdict.lost_engine_side_tokens or 0
    left = lost - sum(part.tokens or 0 for part in parts)
    if parts and left <= SLACK_TOKENS:
        return _with_rest(parts)
    rest = _rest(case, left)
    if rest is not None:
        return (*parts, rest)
    if not parts:
        return ()
    text = f"{left} more tokens were evaluated again, which no rule explains."
    return (*parts, cause_of("E0", "unknown", text, Proof("count", text)))


def _parts(case: Case) -> tuple[Cause, ...]:
    """What is known of other requests, each with its tokens."""
    followed = trail(case)
    if followed is None:
        return ()
    lying = neighbours.other_slot(case, followed)
    return (*neighbours.taken(case, followed), *([lying] if lying is not None else []))


def _with_rest(parts: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """The parts, the deepest tokens first, as a loss is shared out; the last has the odd token or two as well."""
    *others, last = parts
    return (*others, msgspec.structs.replace(last, tokens=None))


def _rest(case: Case, left_tokens: int) -> Cause | None:
    """What explains the tokens that are left; blocks explain less than one."""
    step = case.facts.granularity_tokens
    if step is not None and left_tokens < step and (blocks := limits.block_granularity(case)) is not None:
        return blocks
    return next((cause for rule in REST if (cause := rule(case)) is not None), None)
