"""Simulate many settings on the same workloads and say which loses least. Prints nothing.

Settings are compared by the tokens that have to be evaluated. One that refuses a request, or for which C is not known
of one, is left out: its sum would be of other requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from harness.simulation.input import Workload
from harness.simulation.play import Limit, Totals, granularity_tokens, limits_of, play, totals_of
from harness.simulation.requests import Ask
from harness.simulation.settings import LIMIT, SIZES, Setting, differing, options_of
from profiler.policies import Predicted, load
from profiler.pricing import Loss, PrefillModel, Price
from profiler.simulate_document import Agreement, Difference

__all__ = ["Compared", "Comparison", "Simulated", "agreement_of", "price_of_run", "priced", "saving"]

SHOWN_DIFFERENCES: Final = 5
Losses = tuple[Loss, ...]


class Simulated(msgspec.Struct, frozen=True):
    """One setting on all workloads: `predicted` has a tuple for each, a prediction for each of its requests.

    `options` are what differs from the engine's defaults, as typed; `problem` says why it cannot be compared.
    """

    setting: Setting
    options: dict[str, str]
    predicted: tuple[tuple[Predicted, ...], ...]
    totals: Totals
    sessions: dict[str, int]
    evaluated: Losses
    problem: str | None = None


class Compared(NamedTuple):
    """Workloads, the settings that were simulated on them, and the cache that forgets nothing."""

    workloads: tuple[Workload, ...]
    limit: Simulated
    simulated: tuple[Simulated, ...]


class _Prepared(NamedTuple):
    workload: Workload
    limits: tuple[Limit, ...]


class Comparison:
    """Settings to be simulated on workloads, those that come to the same options once; `settings` are the others.

    `given` are the options that the user varies.

    Raises:
        UnknownEngine, TargetError: as `options_of`.
    """

    def __init__(self, workloads: Sequence[Workload], settings: Sequence[Setting], given: Sequence[str] = ()) -> None:
        self._given = given
        self._prepared = [_Prepared(w, limits_of(ask.sent for ask in w.asks)) for w in workloads]
        options = (load(LIMIT).Options(),) * len(workloads)
        self._limit = _simulated(Setting(LIMIT, {}), self._prepared, options, given)
        self._options: dict[tuple[str, tuple[msgspec.Struct, ...]], Setting] = {}
        for setting in settings:
            key = setting.engine, tuple(_options(setting, workload, given) for workload in workloads)
            known = self._options.setdefault(key, setting)
            own = known.is_own or setting.is_own
            self._options[key] = msgspec.structs.replace(known, is_own=own)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What `run` simulates, in order."""
        return tuple(self._options.values())

    def run(self) -> Iterator[Simulated]:
        """Simulate the settings one after the other."""
        for (_, options), setting in self._options.items():
            yield _simulated(setting, self._prepared, options, self._given)

    def compared(self, simulated: Sequence[Simulated]) -> Compared:
        """Those settings that were simulated beside the limit."""
        workloads = tuple(workload for workload, _ in self._prepared)
        return Compared(workloads, self._limit, tuple(simulated))


def agreement_of(workload: Workload) -> Agreement | None:
    """The policy of a run's engine, under the run's own settings, beside what it measured; `None` without a run."""
    if workload.engine is None:
        return None
    if workload.own is None:
        return _not_compared(workload, f"no policy models {workload.engine}")
    predicted = play((a.sent for a in workload.asks), workload.engine, _options_alone(workload))
    pairs = [
        (ask, said, ask.measured_tokens, said.cached_tokens)
        for ask, said in zip(workload.asks, predicted, strict=True)
        if ask.counted
    ]
    both = [(a, p, m, c) for a, p, m, c in pairs if m is not None and c is not None]
    if not both:
        return _not_compared(workload, "its engine does not say what it reused", len(pairs))
    off = [(a, p, m, c) for a, p, m, c in both if abs(m - c) > workload.granularity_tokens]
    return Agreement(
        engine=workload.engine,
        settings=workload.own,
        compared=len(both),
        agreeing=len(both) - len(off),
        exact=sum(m == c for _, _, m, c in both),
        unknown=len(pairs) - len(both),
        share=(len(both) - len(off)) / len(both),
        granularity_tokens=workload.granularity_tokens,
        reason=None,
        differing=tuple(Difference(a.request_id or 0, c, m, p.why) for a, p, m, c in off[:SHOWN_DIFFERENCES]),
    )


def price_of_run(workloads: Iterable[Workload]) -> tuple[str | None, PrefillModel | None]:
    """The run whose prefill times price tokens: the one with most samples, `None` where no run tells them."""
    models = [(w.model.samples, w.name, w.model) for w in workloads if w.model is not None]
    if not models:
        return None, None
    _, name, model = max(models, key=lambda found: found[:2])
    return name, model


def priced(model: PrefillModel | None, losses: Losses) -> Price | None:
    """The seconds of evaluating these tokens."""
    return None if model is None else model.price(losses)


def saving(
    model: PrefillModel | None, without: Simulated, with_it: Simulated
) -> tuple[int, float | None, Price | None]:
    """What one setting saves against another: tokens, their share of what is evaluated without it, seconds.

    Request by request, it evaluates what lies between the two C less, at the depth where that lies.
    """
    pairs = list(zip(without.evaluated, with_it.evaluated, strict=True))
    differences = tuple(Loss(old.depth_tokens, new.depth_tokens - old.depth_tokens) for old, new in pairs)
    tokens = sum(loss.tokens for loss in differences)
    before = sum(loss.tokens for loss in without.evaluated)
    return tokens, tokens / before if before else None, priced(model, differences)


def _simulated(
    setting: Setting, prepared: Sequence[_Prepared], options: tuple[msgspec.Struct, ...], given: Sequence[str]
) -> Simulated:
    engine = setting.engine
    predicted = tuple(
        play((ask.sent for ask in workload.asks), engine, chosen)
        for (workload, _), chosen in zip(prepared, options, strict=True)
    )
    rows = list(_rows(prepared, predicted))
    step = max((granularity_tokens(engine, o) for o in options), default=1) if engine != LIMIT else 1
    cached = [said.cached_tokens or 0 for _, said, _ in rows]
    evaluated = tuple(Loss(c, len(ask.sent.prompt) - c) for (ask, _, _), c in zip(rows, cached, strict=True))
    sessions: dict[str, int] = {}
    for (ask, _, _), loss in zip(rows, evaluated, strict=True):
        sessions[ask.session] = sessions.get(ask.session, 0) + loss.tokens
    return Simulated(
        setting,
        {} if engine == LIMIT else _shown(engine, options, given),
        predicted,
        totals_of(((ask.sent, said, limit) for ask, said, limit in rows), step),
        sessions,
        evaluated,
        _problem(rows),
    )


def _rows(
    prepared: Sequence[_Prepared], predicted: Sequence[tuple[Predicted, ...]]
) -> Iterator[tuple[Ask, Predicted, Limit]]:
    for (workload, limits), answers in zip(prepared, predicted, strict=True):
        for ask, said, limit in zip(workload.asks, answers, limits, strict=True):
            if ask.counted:
                yield ask, said, limit


def _problem(rows: Sequence[tuple[Ask, Predicted, Limit]]) -> str | None:
    unknown = [said.why for _, said, _ in rows if said.cached_tokens is None]
    if not unknown:
        return None
    return f"{len(unknown)} of {len(rows)} requests are not served, or not predicted: {unknown[0]}"


def _shown(engine: str, options: tuple[msgspec.Struct, ...], given: Sequence[str]) -> dict[str, str]:
    """What differs from the defaults in any of the workloads; sizes and facts only where the user varies them."""
    shown: dict[str, str] = {}
    for each in options:
        shown |= differing(engine, each, given)
    return shown


def _options(setting: Setting, workload: Workload, given: Sequence[str]) -> msgspec.Struct:
    """A setting's options for a workload: what its run keeps, the facts of its model, and the setting itself."""
    return options_of(setting.engine, setting.options, workload.facts, _kept(setting, workload, given))


def _kept(setting: Setting, workload: Workload, given: Sequence[str]) -> Mapping[str, str]:
    """A run's own settings on its engine; its context and batches alone for the defaults, unless they are varied."""
    if setting.is_own or workload.engine != setting.engine:
        return {}
    own = workload.own or {}
    return {key: own[key] for key in own if not setting.is_default or (key in SIZES and key not in given)}


def _options_alone(workload: Workload) -> msgspec.Struct:
    assert workload.engine is not None, "asked for runs alone"
    return options_of(workload.engine, workload.own or {}, workload.facts)


def _not_compared(workload: Workload, reason: str, unknown: int = 0) -> Agreement:
    engine, own = workload.engine or "", workload.own or {}
    return Agreement(engine, own, 0, 0, 0, unknown, None, workload.granularity_tokens, reason, ())
