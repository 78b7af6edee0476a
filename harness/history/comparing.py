"""Two sets of stored runs against each other: what forbids it, and the effect on every metric. Pure.

Nothing here was randomised: what differs between the sides besides what was changed is not known. So every fact that an
experiment would keep equal must be, each metric stands for itself with an interval, and no verdict is given.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from harness.experiment.document import metric_row
from harness.experiment.plan import PlanError
from harness.history.facts import Fact, check_words, differing, exempt, facts_of, fewest_words
from harness.history.stored import StoredWork
from harness.history.units import METRICS, Side, Unit, doubtful_requests, side_of, unit_kind
from harness.stats import Comparison, Observation, Pair, compare, holm, pair_up
from profiler.compare_document import SCHEMA, CompareDocument, CompareRow, FactRow, SideRow

__all__ = ["Named", "compared", "observed"]

_SHOWN: Final = 4
_CONTENT: Final = "content"
"""The word that lets sessions or tasks of one name differ in what they hold."""
_SETTING: Final = "setting"
"""The word that lets one side hold dispatches under several settings, as the loads of an experiment do."""


class Named(NamedTuple):
    """A run and the name to show for it."""

    name: str
    work: StoredWork


class _Difference(NamedTuple):
    who: str
    name: str
    a: Fact
    b: Fact


def compared(a: Sequence[Named], b: Sequence[Named], although: Sequence[str] = ()) -> CompareDocument:
    """B against A.

    Raises:
        PlanError: a fact differs that must be equal, and is not named in `although`; nothing is in both, or a run is;
            a word of `although` means no fact.
    """
    twice = {one.name for one in a} & {one.name for one in b}
    if twice:
        raise PlanError(f"{sorted(twice)[0]} is on both sides", hint="name each run once")
    works = [one.work for one in (*a, *b)]
    facts = {one.name: _facts(one) for one in (*a, *b)}
    check_words(although, facts.values(), _CONTENT, _SETTING)
    unit = unit_kind(works)
    first, second = observed(a, b, unit)
    found = [*_between(a, b, facts), *_contents(first, second, unit)]
    _refuse([one for one in found if exempt(one.name, although) is None])
    both = _units(first) & _units(second)
    if not both:
        hint = f"A holds {_list(_units(first))}; B holds {_list(_units(second))}"
        raise PlanError(f"no {unit} of A is also in B: there is nothing to compare", hint=hint)
    seen = (*first.observations, *second.observations)
    comparisons = [compare(seen, "A", "B", metric) for metric in METRICS.values()]
    told = [one for one in comparisons if one.main.pairs]
    adjusted = holm({one.metric.name: one.main.p for one in told})
    pairs = pair_up(seen, "A", "B").pairs
    return CompareDocument(
        schema=SCHEMA,
        unit=unit,
        a=_side("A", a, first),
        b=_side("B", b, second),
        both=tuple(sorted(both)),
        only_a=tuple(sorted(_units(first) - _units(second))),
        only_b=tuple(sorted(_units(second) - _units(first))),
        differs=_settings(a, b),
        although=_allowed(found, although),
        metrics=tuple(_row(one, pairs, adjusted) for one in told),
        notes=tuple(f"{one.name}: {note}" for one in (*a, *b) for note in one.work.notes),
    )


def observed(a: Sequence[Named], b: Sequence[Named], unit: Unit | None = None) -> tuple[Side, Side]:
    """The observations of both sides."""
    kind = unit or unit_kind(one.work for one in (*a, *b))
    return side_of("A", [one.work for one in a], kind), side_of("B", [one.work for one in b], kind)


def _facts(one: Named) -> dict[str, Fact]:
    return facts_of(one.work.run.info, one.work.run.requests, one.work.dispatches, one.work.cache_state)


def _between(a: Sequence[Named], b: Sequence[Named], facts: dict[str, dict[str, Fact]]) -> Iterator[_Difference]:
    """All differences: within each side, and of the first runs of both."""
    for side, runs in (("A", a), ("B", b)):
        settings = sorted({one.started.setting for run in runs for one in run.work.dispatches})
        for setting in settings[1:]:
            yield _Difference(f"two dispatches of {side}", _SETTING, settings[0], setting)
        for one in runs[1:]:
            for name, (left, right) in differing(facts[runs[0].name], facts[one.name]).items():
                yield _Difference(f"two runs of {side}", name, left, right)
    for name, (left, right) in differing(facts[a[0].name], facts[b[0].name]).items():
        yield _Difference("A and B", name, left, right)


def _contents(a: Side, b: Side, unit: Unit) -> Iterator[_Difference]:
    for name in sorted(a.contents.keys() & b.contents.keys()):
        if a.contents[name] != b.contents[name]:
            yield _Difference(f"the {unit} {name} of A and B", _CONTENT, a.contents[name][:12], b.contents[name][:12])


def _refuse(found: Sequence[_Difference]) -> None:
    if not found:
        return
    first = [one for one in found if one.who == found[0].who]
    said = "; ".join(f"{one.name} is {one.a!r} and {one.b!r}" for one in first[:_SHOWN])
    more = f"; and {len(first) - _SHOWN} more" if len(first) > _SHOWN else ""
    words = " ".join(f"--although {word!r}" if " " in word else f"--although {word}" for word in _words(found))
    hint = f"to compare them all the same, and have it said: {words}"
    raise PlanError(f"{found[0].who} cannot be compared: {said}{more}", hint=hint)


def _words(found: Iterable[_Difference]) -> tuple[str, ...]:
    return fewest_words(one.name for one in found)


def _allowed(found: Iterable[_Difference], although: Sequence[str]) -> tuple[FactRow, ...]:
    rows = [FactRow(one.name, one.a, one.b, exempt(one.name, although) or "") for one in found]
    return tuple(dict.fromkeys(rows))


def _units(side: Side) -> set[str]:
    return {one.task for one in side.observations if not one.excluded}


def _list(units: Iterable[str]) -> str:
    names = sorted(units)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "") or "none"


def _side(name: Any, runs: Sequence[Named], side: Side) -> SideRow:
    outcomes = [one for one in side.observations if not one.excluded]
    judged = [one for one in outcomes if one.success is not None]
    info = runs[0].work.run.info
    return SideRow(
        name=name,
        runs=tuple(one.name for one in runs),
        target=info.target,
        build=info.facts.build,
        setting=_setting(runs),
        units=len(_units(side)),
        outcomes=len(outcomes),
        excluded=len(side.observations) - len(outcomes),
        verified=len(judged),
        passed=sum(bool(one.success) for one in judged),
        requests=sum(len(one.work.run.requests) for one in runs),
        doubtful=sum(doubtful_requests(one.work) for one in runs),
    )


def _setting(runs: Sequence[Named]) -> str | None:
    return ", ".join(sorted({one.started.setting for run in runs for one in run.work.dispatches})) or None


def _settings(a: Sequence[Named], b: Sequence[Named]) -> dict[str, tuple[str, str]]:
    """Levers that are not the same on both sides, each with its values."""
    left, right = _levers(a), _levers(b)
    names = dict.fromkeys((*left, *right))
    return {name: (left.get(name, "–"), right.get(name, "–")) for name in names if left.get(name) != right.get(name)}


def _levers(runs: Sequence[Named]) -> dict[str, str]:
    """The values of every lever over the dispatches of a side."""
    values: dict[str, dict[str, None]] = {}
    for run in runs:
        for one in run.work.dispatches:
            for name, value in {**one.started.levers, "agent": one.started.agent}.items():
                values.setdefault(name, {})[msgspec.json.encode(value).decode().strip('"')] = None
    return {name: ", ".join(found) for name, found in values.items()}


def _row(comparison: Comparison, pairs: Sequence[Pair], adjusted: dict[str, float | None]) -> CompareRow:
    metric = comparison.metric
    row = metric_row(comparison.main, metric, exploratory=True, adjusted_p=adjusted.get(metric.name))
    values = [(_value(pair.baseline, metric.name), _value(pair.treatment, metric.name)) for pair in pairs]
    known = [(left, right) for left, right in values if left is not None and right is not None]
    return CompareRow(row, _median(left for left, _ in known), _median(right for _, right in known))


def _value(seen: Observation, name: str) -> float | None:
    if name == METRICS["success"].name:
        return None if seen.success is None else float(seen.success)
    if name == METRICS["time_to_success_s"].name:
        return seen.time_s if seen.success else None
    return seen.score if name == "score" else seen.measures.get(name)


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None
