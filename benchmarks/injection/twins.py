"""What a lost token was said to cost, against what it cost: each session beside its repaired twin, interleaved.

Both are sent to the same engine process, one after the other and in turns; the seconds that dyno's findings charge the
injected session with are compared with the prefill time that it took more than its twin, by the engine's own clock.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Final

import msgspec

from benchmarks.injection.case import ACT, Case, Made
from benchmarks.injection.running import Launches, Place, run_info, send, size_of, target_of
from profiler.findings import Charge, Findings, find
from profiler.pricing import PrefillModel
from profiler.records import RequestRecord
from profiler.store import RunWriter, read_run

__all__ = ["Twin", "errors", "twins"]

CASES_PER_RUN: Final = 6
"""Cases that share an engine process and a run, whose requests tell the price together."""


class Twin(msgspec.Struct, frozen=True):
    """One case: what was said and what was measured, in seconds, and the tokens lost.

    `measured_s` is the sum over requests of the median over rounds; `each_s` holds the difference in each round.
    """

    name: str
    code: str
    lost_tokens: int
    said_s: tuple[float, ...]
    measured_s: float
    each_s: tuple[float, ...]

    @property
    def said(self) -> float:
        """Median of what was said."""
        return statistics.median(self.said_s)

    @property
    def error(self) -> float:
        """What was said over what was measured, minus 1."""
        return self.said / self.measured_s - 1


def errors(found: Iterable[Twin]) -> dict[str, float | int]:
    """Median and quartiles of the relative errors, without and with their sign."""
    signed = [twin.error for twin in found]
    if len(signed) < 2:
        return {"cases": len(signed)}
    low, middle, high = statistics.quantiles([abs(e) for e in signed], n=4, method="inclusive")
    below, _, above = statistics.quantiles(signed, n=4, method="inclusive")
    return {
        "cases": len(signed),
        "median": round(middle, 3),
        "quartile_low": round(low, 3),
        "quartile_high": round(high, 3),
        "worst": round(max(abs(e) for e in signed), 3),
        "signed_median": round(statistics.median(signed), 3),
        "signed_quartile_low": round(below, 3),
        "signed_quartile_high": round(above, 3),
    }


def twins(place: Place, cases: Sequence[Case], rounds: int, say: Callable[[str], None]) -> Iterator[Twin]:
    """Every case that has a twin, by target; each run of `CASES_PER_RUN` cases is sent in `rounds` rounds.

    Raises:
        EngineError: an engine cannot be started, or is gone.
    """
    by_target: dict[str, list[tuple[Case, Made]]] = {}
    for case in cases:
        made = case.made(size_of(case.engine))
        # A restart is no part of a prefill, and a request that was given up has no time.
        if made.repaired is not None and not any(t.parameters.get(ACT) in ("restart", "cancel") for t in made.turns):
            by_target.setdefault(target_of(place, case.engine, case.kind, case.form), []).append((case, made))
    for target, group in by_target.items():
        for start in range(0, len(group), CASES_PER_RUN):
            with closing(Launches()) as launches:
                yield from _run(place, launches, target, group[start : start + CASES_PER_RUN], rounds, say)


def _run(
    place: Place,
    launches: Launches,
    target: str,
    group: Sequence[tuple[Case, Made]],
    rounds: int,
    say: Callable[[str], None],
) -> Iterator[Twin]:
    launched = launches.get(target)
    folder = place.runs / "twins"
    shutil.rmtree(folder, ignore_errors=True)
    writer = RunWriter.create(place.runs, run_info("twins", target, launched.engine.facts(), "twins"))
    sent = 0
    for number in range(rounds):
        for index, (case, made) in enumerate(group):
            pair = (("i", made.turns), ("r", made.repaired or ()))
            # Which of the two comes first changes, so that drift falls on both.
            for name, turns in pair if (number + index) % 2 else pair[::-1]:
                sent = send(launched, _session(name, index, number), turns, writer, sent)
            say(f"round {number + 1}/{rounds} {case.name}")
    writer.close("complete")
    run = read_run(folder)
    found = find(folder, run)
    for index, (case, _) in enumerate(group):
        yield _twin(case, index, rounds, found, run.requests)
    shutil.rmtree(folder)


def _session(name: str, index: int, number: int) -> str:
    return f"{name}{index:02d}{number}"


def _twin(case: Case, index: int, rounds: int, found: Findings, records: Sequence[RequestRecord]) -> Twin:
    said: list[float] = []
    tokens = 0
    for number in range(rounds):
        # What the twin loses in its turn is lost by both.
        charges, also = (_charges(found, _session(name, index, number)) for name in "ir")
        tokens = sum(charge.tokens for charge in charges) - sum(charge.tokens for charge in also)
        if found.model is not None:
            said.append(_price(found.model, charges) - _price(found.model, also))
    times = {name: [_prefills(records, _session(name, index, number)) for number in range(rounds)] for name in "ir"}
    each = [sum(injected) - sum(repaired) for injected, repaired in zip(times["i"], times["r"], strict=True)]
    typical = {name: sum(map(statistics.median, zip(*seen, strict=True))) for name, seen in times.items()}
    return Twin(
        case.name, case.form.code, tokens, tuple(said), (typical["i"] - typical["r"]) / 1e9,
        tuple(ns / 1e9 for ns in each),
    )  # fmt: skip


def _charges(found: Findings, session: str) -> list[Charge]:
    return [charge for finding in found.findings if finding.record.session == session for charge in finding.charges]


def _price(model: PrefillModel, charges: Iterable[Charge]) -> float:
    return model.price(loss for charge in charges for loss in charge.losses).s


def _prefills(records: Sequence[RequestRecord], session: str) -> list[int]:
    """Prefill times of a session's requests, in order."""
    return [record.evidence.prefill_ns or 0 for record in records if record.session == session]
