"""The verdict on an experiment: better, worse, equivalent within a margin, or that it cannot be told.

What decides was declared before the run: one primary metric with the margin inside which a difference does not matter,
and guards, whose fall forbids a «better». A difference is called one if the interval leaves out «none», equivalence is
two one-sided tests (the interval at 1 − 2·alpha lies inside the margin), and it goes before: what lies wholly inside
the margin does not matter, even if it is there. All else cannot be told, and is never called «no difference».
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from harness.stats.base import Comparison, Estimate, Interval, Metric, Observation, Pair
from harness.stats.compare import compare, effect_of, favours
from harness.stats.families import holm
from harness.stats.modes import Modes, find_modes
from harness.stats.order_effects import second_by_first, trend
from harness.stats.pairing import pair_up
from harness.stats.power import More, detectable_effect, more_needed, power_of_effect
from harness.stats.success import MOST_PAIRS, outcome_cells, pairs_to_rule_out

__all__ = [
    "SUCCESS", "TIME_TO_SUCCESS", "Declaration", "Guard", "GuardResult", "GuardState", "Verdict", "Word", "judge",
]  # fmt: skip

Word = Literal["better", "worse", "equivalent", "cannot tell"]
GuardState = Literal["held", "not shown", "broken"]

TIME_TO_SUCCESS: Final = Metric("time to verified success", "time to success")
SUCCESS: Final = Metric("success", "success", "higher")


class Guard(msgspec.Struct, frozen=True):
    """A metric that must not get worse by more than the margin: 0.1 is 10 points, or 10 % of a ratio."""

    metric: Metric = SUCCESS
    margin: float = 0.1


class Declaration(msgspec.Struct, frozen=True):
    """What was said before the run."""

    primary: Metric = TIME_TO_SUCCESS
    margin: float = 0.1
    guards: tuple[Guard, ...] = (Guard(),)
    declared: tuple[Metric, ...] = ()
    """Further metrics, whose p are corrected for each other."""
    exploratory: tuple[Metric, ...] = ()
    """Shown without correction, and as that."""
    alpha: float = 0.05
    comparisons: int = 1
    """How many treatments share the baseline: alpha is divided by it."""


class GuardResult(msgspec.Struct, frozen=True):
    """`held`: that it falls beyond the margin is ruled out. `broken`: the estimate lies beyond. Else: not shown."""

    guard: Guard
    comparison: Comparison
    """At 1 − 2·alpha, as for a one-sided test."""
    state: GuardState
    ruled_out: bool
    """That the margin holds is ruled out: the whole interval lies beyond."""
    pairs_needed: int | None = None
    """Where it is not shown: about how many pairs in all would show it, if they go on as they did; None: not feasible,
    or not known."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The word, and everything that it rests on. Ratios and differences are treatment against baseline."""

    baseline: str
    treatment: str
    word: Word
    declaration: Declaration
    primary: Comparison
    equivalence: Interval | None
    """The interval at 1 − 2·alpha to judge equivalence by; with failures that of the ratio cut off at the limit."""
    guards: tuple[GuardResult, ...]
    declared: tuple[Comparison, ...]
    adjusted_p: dict[str, float | None]
    """Holm's, over the primary and the declared metrics, by name."""
    exploratory: tuple[Comparison, ...]
    order: tuple[Estimate, ...]
    modes: Modes | None
    power: float | None
    """The chance, with the spread that was seen, to find an effect as large as the margin."""
    detectable: float | None
    """The smallest effect that is found with 80 %: a ratio below 1, a difference, or net wins."""
    more_blocks: int | None
    more_tasks: int | None
    reasons: tuple[str, ...]


def judge(observations: Iterable[Observation], baseline: str, treatment: str, declaration: Declaration) -> Verdict:
    """The verdict on the treatment.

    Raises:
        ValueError: an arm has two outcomes of one task in one block.
    """
    seen = tuple(observations)
    alpha = declaration.alpha / declaration.comparisons
    metric = declaration.primary
    primary = compare(seen, baseline, treatment, metric, 1 - alpha)
    at_margin = compare(seen, baseline, treatment, metric, 1 - 2 * alpha)
    narrow = (at_margin.cut_off or at_margin.main).interval
    guards = tuple(_guarded(seen, baseline, treatment, guard, alpha) for guard in declaration.guards)
    declared = tuple(compare(seen, baseline, treatment, each, 1 - alpha) for each in declaration.declared)
    by_primary, reasons = _word(primary, narrow, declaration.margin)
    decided = by_primary != "cannot tell"
    word, guarded = _with_guards(by_primary, guards)
    main = primary.main
    counted = main.scale == "net wins"  # which know no margin
    room = 0.0 if counted else _margin(metric, declaration.margin)
    error = main.spread / math.sqrt(main.tasks) if main.spread and main.tasks > 1 else None
    smallest = None if error is None else detectable_effect(error, main.tasks, alpha)
    if smallest is not None and counted and smallest > 1:
        smallest = None
    more = _more(primary, room, guards, decided, alpha) if word == "cannot tell" else More(None, None)
    pairs = pair_up(seen, baseline, treatment).pairs
    timed = metric if metric.kind in {"time to success", "ratio"} else None
    return Verdict(
        baseline=baseline,
        treatment=treatment,
        word=word,
        declaration=declaration,
        primary=primary,
        equivalence=narrow,
        guards=guards,
        declared=declared,
        adjusted_p=holm({each.metric.name: each.main.p for each in (primary, *declared)}),
        exploratory=tuple(compare(seen, baseline, treatment, each, 1 - alpha) for each in declaration.exploratory),
        order=(second_by_first(pairs, timed), trend(_of_both(seen, baseline, treatment), timed)) if timed else (),
        modes=find_modes(pairs, timed) if timed else None,
        power=None if error is None or counted else power_of_effect(room, error, main.tasks, alpha),
        detectable=smallest if smallest is None or main.scale != "ratio" else math.exp(-smallest),
        more_blocks=more.blocks,
        more_tasks=more.tasks,
        reasons=(*reasons, *guarded),
    )


def _of_both(seen: tuple[Observation, ...], *arms: str) -> tuple[Observation, ...]:
    return tuple(each for each in seen if each.arm in arms)


def _word(primary: Comparison, narrow: Interval | None, margin: float) -> tuple[Word, tuple[str, ...]]:
    interval, metric = primary.main.interval, primary.metric
    if interval is None:
        return "cannot tell", primary.main.notes or ("no interval",)
    within = _margin(metric, margin)
    low, high = _effects(primary.cut_off or primary.main, narrow)
    if -within < low and high < within:
        return "equivalent", ()
    low, high = _effects(primary.main, interval)
    if low > 0 or high < 0:
        return ("better" if favours(metric, primary.main, low if low > 0 else high) else "worse"), ()
    return "cannot tell", ("the interval holds «no difference», and more than the margin",)


def _with_guards(word: Word, guards: tuple[GuardResult, ...]) -> tuple[Word, tuple[str, ...]]:
    """A guard that is broken forbids «better» and «equivalent»; one that is ruled out makes it «worse»."""
    broken = tuple(each for each in guards if each.state == "broken")
    reasons = tuple(f"guard {each.guard.metric.name} {each.state}" for each in guards if each.state != "held")
    if any(each.ruled_out for each in broken):
        return "worse", reasons
    if broken and word != "worse":
        return "cannot tell", reasons
    return word, reasons


def _more(primary: Comparison, room: float, guards: tuple[GuardResult, ...], decided: bool, alpha: float) -> More:
    """What would decide; if only a guard stands against it, what would show on which side of its margin it is."""
    if not decided:
        effect = effect_of(primary.main)
        return More(None, None) if effect is None else more_needed(primary.main, effect, room, alpha)
    against = next(each for each in guards if each.state == "broken")
    main, margin = against.comparison.main, _margin(against.guard.metric, against.guard.margin)
    effect = effect_of(main)
    return More(None, None) if effect is None else more_needed(main, abs(effect) - margin, 0.0, alpha)


def _guarded(seen: tuple[Observation, ...], baseline: str, treatment: str, guard: Guard, alpha: float) -> GuardResult:
    comparison = compare(seen, baseline, treatment, guard.metric, 1 - 2 * alpha)
    effect, room = effect_of(comparison.main), _margin(guard.metric, guard.margin)
    low, high = _effects(comparison.main, comparison.main.interval)
    if effect is not None and not favours(guard.metric, comparison.main, 1.0):
        low, high, effect = -high, -low, -effect
    state: GuardState = "held" if low > -room else "broken" if effect is not None and effect < -room else "not shown"
    pairs = pair_up(seen, baseline, treatment).pairs if guard.metric.kind == "success" else ()
    needed = _pairs_needed(comparison.main, pairs, effect, low, room) if state == "not shown" else None
    return GuardResult(guard, comparison, state, high < -room, needed)


def _pairs_needed(main: Estimate, pairs: tuple[Pair, ...], effect: float | None, low: float, room: float) -> int | None:
    """About how many pairs would rule out a fall beyond the margin.

    The width over tasks falls with the root of their number; that of rates, which have one even where nothing varies,
    is Newcombe's.
    """
    if effect is None or main.interval is None or not math.isfinite(low) or effect <= -room:
        return None
    cells = outcome_cells(pairs)
    by_rates = pairs_to_rule_out(cells, room, main.interval.confidence) if any(cells) else 0
    by_tasks = math.ceil(main.pairs * ((effect - low) / (effect + room)) ** 2) if main.spread else 0
    return max(by_rates, by_tasks) if by_rates is not None and by_tasks <= MOST_PAIRS else None


def _margin(metric: Metric, margin: float) -> float:
    """The margin in the unit of effects: 10 % of a ratio reach from 1/1.1 to 1.1."""
    return math.log1p(margin) if metric.kind in {"time to success", "ratio"} else margin


def _effects(estimate: Estimate, interval: Interval | None) -> tuple[float, float]:
    """An interval's bounds as effects; without it they are infinite."""
    if interval is None:
        return -math.inf, math.inf
    low, high = interval.low, interval.high
    if estimate.scale == "ratio":
        low, high = (None if bound is None else math.log(bound) if bound > 0 else -math.inf for bound in (low, high))
    return (-math.inf if low is None else low), (math.inf if high is None else high)
