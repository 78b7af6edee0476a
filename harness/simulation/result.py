"""From simulated settings to the document: ranks, what the best saves, where another one is better, what to doubt."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.simulation.compare import Compared, Simulated, agreement_of, price_of_run, priced, saving
from harness.simulation.input import Workload
from profiler.pricing import PrefillModel
from profiler.simulate_document import (
    Elsewhere,
    LeftOut,
    Limit,
    Outcome,
    RequestRow,
    Saving,
    SettingRow,
    SimulateDocument,
    Verdict,
    WorkloadRow,
)

__all__ = ["document_of", "in_words"]

SCHEMA = 1
"""Version of the document. History: 1, the first one."""
NEGLIGIBLE_SHARE = 0.001
"""Settings that differ by less than this share of the prompt tokens are as good as each other: a few tokens of a
template's head, found or not."""
BELIEVED_SHARE = 0.95
"""Of a run's requests, so many must be predicted within the engine's step for other settings to be believed."""


def document_of(
    compared: Compared, *, complete: bool = True, requests: bool = False, notes: Sequence[str] = ()
) -> SimulateDocument:
    """The document of simulated settings; `complete` is False if some are missing, `requests` adds a row for each."""
    priced_by, model = price_of_run(compared.workloads)
    ranked = _ranked(compared)
    defaults = {s.setting.engine: s for s in compared.simulated if s.setting.is_default and s.problem is None}
    workloads = tuple(map(_workload_row, compared.workloads))
    verdict = _verdict(ranked, compared, defaults, model)
    shown = _shown(ranked) if requests else ()
    return SimulateDocument(
        schema=SCHEMA,
        fidelity="simulate",
        complete=complete,
        workloads=workloads,
        verdict=verdict,
        settings=tuple(_row(each, defaults, model) for each in ranked),
        limit=_limit(compared.limit, model),
        left_out=tuple(
            LeftOut(s.setting.engine, s.options, s.setting.is_default, s.setting.is_own, s.problem)
            for s in compared.simulated
            if s.problem is not None
        ),
        priced_by=priced_by,
        notes=tuple(dict.fromkeys((*_notes(compared.workloads, workloads), *notes))),
        requests=tuple(row for one in shown for row in _requests(one, compared)),
    )


def in_words(engine: str, options: Mapping[str, str], *, several: bool = True) -> str:
    """A setting as it is written in a target: `llama-server slots=1 cache_ram=0`."""
    named = " ".join(f"{key}={value}" for key, value in options.items()) or "defaults"
    return f"{engine} {named}" if several else named


class Ranked(NamedTuple):
    """A setting with its rank; those that differ by a negligible number of tokens have the same."""

    rank: int
    one: Simulated


def _ranked(compared: Compared) -> list[Ranked]:
    """The fewest evaluated tokens first; of those as good, the defaults, a run's own, then what changes least."""
    among = [one for one in compared.simulated if one.problem is None]
    margin = NEGLIGIBLE_SHARE * compared.limit.totals.prompt_tokens
    every = sorted(map(_evaluated, among))
    return sorted((Ranked(1 + bisect_left(every, _evaluated(one) - margin), one) for one in among), key=_order)


def _order(ranked: Ranked) -> tuple[int, bool, bool, int, int]:
    rank, one = ranked
    return rank, not one.setting.is_default, not one.setting.is_own, len(one.options), _evaluated(one)


def _evaluated(one: Simulated) -> int:
    return sum(loss.tokens for loss in one.evaluated)


def _verdict(
    ranked: Sequence[Ranked], compared: Compared, defaults: Mapping[str, Simulated], model: PrefillModel | None
) -> Verdict:
    if not ranked:
        why = next((s.problem for s in compared.simulated if s.problem), "no setting was simulated")
        return Verdict("unknown", f"no setting can be compared: {why}", None, {}, None, None, ())
    best = ranked[0].one
    default = defaults.get(best.setting.engine)
    own = next((one for _, one in ranked if one.setting.is_own), None)
    outcome, reason = _judged(ranked, compared)
    return Verdict(
        outcome=outcome,
        reason=reason,
        engine=best.setting.engine,
        options=best.options,
        against_defaults=_saving(model, default, best) if default is not None else None,
        against_own=_saving(model, own, best) if own is not None else None,
        elsewhere=tuple(_elsewhere(ranked, compared)) if outcome != "no_difference" else (),
    )


def _judged(ranked: Sequence[Ranked], compared: Compared) -> tuple[Outcome, str]:
    best = ranked[0].one
    several = len({one.setting.engine for one in compared.simulated}) > 1
    name = in_words(best.setting.engine, best.options, several=several)
    over = _evaluated(best) - _evaluated(compared.limit)
    negligible = NEGLIGIBLE_SHARE * compared.limit.totals.prompt_tokens
    least = "as little as any cache could" if over <= negligible else f"{over:,} more than a cache that forgets nothing"
    evaluates = f"{_evaluated(best):,} tokens to evaluate, {least}"
    ties = sum(rank == 1 for rank, _ in ranked)
    others = "" if ties <= 1 else "; another does as well" if ties == 2 else f"; {ties - 1} others do as well"
    if len(ranked) == 1:
        return "no_difference", f"{name} is the only setting compared: {evaluates}"
    if ties == len(ranked):
        return "no_difference", f"all {ties} settings come to the same: {evaluates}"
    if best.setting.is_default:
        return "defaults_best", f"nothing beats {name}: {evaluates}{others}"
    return "better", f"{name} loses least: {evaluates}{others}"


def _elsewhere(ranked: Sequence[Ranked], compared: Compared) -> Iterator[Elsewhere]:
    """Sessions in which another setting of the best one's engine evaluates less."""
    best = ranked[0].one
    for session, tokens in best.sessions.items():
        asks = (ask for workload in compared.workloads for ask in workload.counted)
        negligible = NEGLIGIBLE_SHARE * sum(len(ask.sent.prompt) for ask in asks if ask.session == session)
        rivals = [one for _, one in ranked if one.setting.engine == best.setting.engine]
        rival = min(rivals, key=lambda one: one.sessions[session])
        if rival.sessions[session] < tokens - negligible:
            yield Elsewhere(session, rival.setting.engine, rival.options, tokens - rival.sessions[session])


def _row(ranked: Ranked, defaults: Mapping[str, Simulated], model: PrefillModel | None) -> SettingRow:
    rank, one = ranked
    evaluated, default = _evaluated(one), defaults.get(one.setting.engine)
    price = priced(model, one.evaluated)
    return SettingRow(
        rank=rank,
        engine=one.setting.engine,
        options=one.options,
        is_default=one.setting.is_default,
        is_own=one.setting.is_own,
        evaluated_tokens=evaluated,
        reused_tokens=one.totals.prompt_tokens - evaluated,
        reused_share=one.totals.reused_share,
        hits=one.totals.hits,
        partial=one.totals.partial,
        full_misses=one.totals.full_misses,
        prefill_s=price.s if price is not None else None,
        saved=_saving(model, default, one) if default is not None else None,
        sessions=one.sessions,
    )


def _saving(model: PrefillModel | None, without: Simulated, with_it: Simulated) -> Saving:
    tokens, share, price = saving(model, without, with_it)
    if price is None:
        return Saving(tokens, share, None, None, None)
    return Saving(tokens, share, price.s, price.low_s, price.high_s)


def _limit(limit: Simulated, model: PrefillModel | None) -> Limit:
    evaluated = _evaluated(limit)
    price = priced(model, limit.evaluated)
    return Limit(evaluated, limit.totals.prompt_tokens - evaluated, price.s if price is not None else None)


def _workload_row(workload: Workload) -> WorkloadRow:
    lengths = [len(ask.sent.prompt) for ask in workload.counted]
    return WorkloadRow(
        name=workload.name,
        kind="run" if workload.tokens == "run" else "sessions",
        tokens=workload.tokens,
        sessions=tuple(dict.fromkeys(ask.session for ask in workload.counted)),
        requests=len(lengths),
        prompt_tokens=sum(lengths),
        longest_prompt_tokens=max(lengths, default=0),
        agreement=agreement_of(workload),
    )


def _notes(workloads: Sequence[Workload], rows: Sequence[WorkloadRow]) -> Iterator[str]:
    for workload, row in zip(workloads, rows, strict=True):
        yield from workload.notes
        if workload.tokens == "scripted":
            yield "tokens by the scripted tokenizer: shares are right, absolute counts are not (--model counts exactly)"
        agreement = row.agreement
        if agreement is not None and agreement.share is not None and agreement.share < BELIEVED_SHARE:
            yield f"the model does not reproduce the run {row.name}: do not rely on what it says of other settings"


def _shown(ranked: Sequence[Ranked]) -> Iterator[Simulated]:
    """The best setting, the defaults of its engine, and runs' own settings."""
    for number, (_, one) in enumerate(ranked):
        of_best = one.setting.engine == ranked[0].one.setting.engine
        if not number or one.setting.is_own or (one.setting.is_default and of_best):
            yield one


def _requests(one: Simulated, compared: Compared) -> Iterator[RequestRow]:
    reusable = (answer.cached_tokens or 0 for answers in compared.limit.predicted for answer in answers)
    asks = (ask for workload in compared.workloads for ask in workload.asks)
    predicted = (answer for answers in one.predicted for answer in answers)
    for ask, said, most in zip(asks, predicted, reusable, strict=True):
        if ask.counted:
            yield RequestRow(
                engine=one.setting.engine,
                options=one.options,
                session=ask.session,
                conversation=ask.conversation,
                turn=ask.turn,
                prompt_tokens=len(ask.sent.prompt),
                reusable_tokens=most,
                cached_tokens=said.cached_tokens,
                measured_tokens=ask.measured_tokens,
                slot=said.slot,
                why=said.why,
            )
