"""The race: which of the settings that are left goes on, by pairs on the same tasks in the same rounds. Pure.

A setting is out when its pairs against the leader show that it is worse, when a guard is broken against the current
setting, or when it is in the worse half at the end of a rung. The current setting runs along in every rung: what the
winner gains over it here is compared with what it gains on held-out tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from harness.stats import Declaration, Metric, Observation, compare, judge
from harness.stats.compare import effect_of, favours
from harness.tune.costs import cost_of, is_ratio, paired_cost

__all__ = ["Standing", "after_rung", "room_of", "standings"]


class Standing(msgspec.Struct, frozen=True):
    """How a setting stands: what it costs more than the current one (below 0: less), and why it is out, if it is.

    `believed` is the cost that it is ranked by: the measured one, drawn towards the prediction by as much as the noise
    of so few pairs asks for and the prediction has deserved.
    """

    arm: str
    cost: float | None
    believed: float | None
    pairs: int
    out: str | None = None


def standings(
    seen: Sequence[Observation],
    arms: Sequence[str],
    baseline: str,
    declared: Declaration,
    expected: Mapping[str, float | None] | None = None,
) -> list[Standing]:
    """The settings by what is believed of their cost, the best first; those that ended in nothing come last.

    `expected` are predicted costs against the current setting, by arm.
    """
    costs = {arm: paired_cost(seen, baseline, arm, declared.primary) for arm in arms}
    believed = _believed(seen, costs, baseline, declared, expected or {})
    found = [
        Standing(arm, cost, believed[arm], sum(one.arm == arm and not one.excluded for one in seen))
        for arm, cost in costs.items()
    ]
    return sorted(found, key=lambda one: (one.believed is None, one.believed or 0.0))


def after_rung(
    seen: Sequence[Observation],
    arms: Sequence[str],
    baseline: str,
    declared: Declaration,
    keep: int,
    expected: Mapping[str, float | None] | None = None,
) -> tuple[list[str], list[Standing]]:
    """Who goes on, at most `keep` of them, and all standings with the reason of those who are out.

    `arms` come in the order in which they are preferred: of those within half the margin of the best, the first go on.
    """
    order, near = _near_first(standings(seen, arms, baseline, declared, expected), arms, declared)
    table: list[Standing] = []
    going: list[str] = []
    leader: str | None = None
    for one in order:
        why = _out(seen, one, None if one.arm in near else leader, baseline, declared)
        if why is None and len(going) >= keep:
            why = "behind the others"
        if why is None:
            leader = leader or one.arm
            going.append(one.arm)
        table.append(msgspec.structs.replace(one, out=why))
    return going, table


def room_of(declared: Declaration) -> float:
    """The difference of costs that is none: half the margin of a ratio."""
    return math.log1p(declared.margin) / 2 if is_ratio(declared.primary) else 0.0


def _near_first(
    order: list[Standing], arms: Sequence[str], declared: Declaration
) -> tuple[list[Standing], frozenset[str]]:
    """Standings with those as good as the best in the order of preference, and the names of these."""
    limit = math.inf if order[0].believed is None else order[0].believed + room_of(declared)
    near = frozenset(one.arm for one in order if one.believed is not None and one.believed <= limit)
    first = sorted((one for one in order if one.arm in near), key=lambda one: list(arms).index(one.arm))
    return [*first, *(one for one in order if one.arm not in near)], near


def _believed(
    seen: Sequence[Observation],
    costs: Mapping[str, float | None],
    baseline: str,
    declared: Declaration,
    expected: Mapping[str, float | None],
) -> dict[str, float | None]:
    """Measured costs, drawn towards the predicted ones (empirical Bayes, about the arms' common error).

    The current setting's own noise is in all costs alike and ranks nothing, and a prediction that is wrong by the same
    for all arms is as good as one that is right.
    """
    known = {
        arm: (cost, told) for arm, cost in costs.items() if cost is not None and (told := expected.get(arm)) is not None
    }
    noise = _noise_variance(seen, list(costs), declared)
    if len(known) < 2 or noise is None:
        return dict(costs)
    shift = math.fsum(cost - told for cost, told in known.values()) / len(known)
    scatter = math.fsum((cost - told - shift) ** 2 for cost, told in known.values()) / (len(known) - 1)
    wrong = max(0.0, scatter - noise)
    weight = wrong / (wrong + noise) if wrong + noise > 0 else 1.0
    drawn = {arm: weight * cost + (1 - weight) * (told + shift) for arm, (cost, told) in known.items()}
    return {arm: drawn.get(arm, cost) for arm, cost in costs.items()}


def _noise_variance(seen: Sequence[Observation], arms: Sequence[str], declared: Declaration) -> float | None:
    """The variance of an arm's mean by noise alone: from what is left of costs without arm and task and round."""
    values: dict[str, dict[tuple[str, int], float]] = {}
    for one in seen:
        cost = cost_of(one, declared.primary) if one.arm in arms else None
        if cost is not None:
            values.setdefault(one.arm, {})[one.task, one.block] = cost
    met = {place for held in values.values() for place in held}
    places = [place for place in met if all(place in held for held in values.values())]
    freedom = (len(values) - 1) * (len(places) - 1)
    if freedom < 1:
        return None
    by_arm = {arm: math.fsum(held[place] for place in places) / len(places) for arm, held in values.items()}
    by_place = {place: math.fsum(held[place] for held in values.values()) / len(values) for place in places}
    middle = math.fsum(by_arm.values()) / len(by_arm)
    left = math.fsum(
        (held[place] - by_arm[arm] - by_place[place] + middle) ** 2 for arm, held in values.items() for place in places
    )
    return left / freedom / len(places)


def _out(
    seen: Sequence[Observation], one: Standing, leader: str | None, baseline: str, declared: Declaration
) -> str | None:
    if one.cost is None:
        return "no pair with the current setting has a value"
    against_current = judge(seen, baseline, one.arm, declared)
    broken = [result.guard.metric.name for result in against_current.guards if result.state == "broken"]
    if broken:
        return f"guard broken: {', '.join(broken)}"
    return f"worse than {leader}" if leader is not None and _is_worse(seen, leader, one.arm, declared.primary) else None


def _is_worse(seen: Sequence[Observation], leader: str, arm: str, metric: Metric) -> bool:
    """Whether the interval of an arm against the leader leaves out that it is as good."""
    main = compare(seen, leader, arm, metric).main
    if main.interval is None or main.interval.low is None or main.interval.high is None:
        return False
    bounds = (msgspec.structs.replace(main, value=bound) for bound in (main.interval.low, main.interval.high))
    low, high = (effect_of(bound) or 0.0 for bound in bounds)
    return (low > 0 or high < 0) and not favours(metric, main, low if low > 0 else high)
