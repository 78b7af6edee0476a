"""What `dyno explain --json` prints: a run's losses by cause and in seconds, the worst requests, the fixes. Pure.

The structs are the document; `explain` fills them from the findings. Nothing is measured here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from backends.base import Facts, JsonObject
from profiler.causes.base import Proof
from profiler.causes.catalogue import kind_of
from profiler.causes.levers import Lever, levers_of
from profiler.findings import CauseTotal, Charge, Finding, Findings
from profiler.pricing import Price
from profiler.records import Confidence, RequestRecord, RunInfo

__all__ = ["CauseRow", "ExplainDocument", "Fix", "LossRow", "explain"]

UNEXPLAINED = ("P0", "E0")


class CauseRow(msgspec.Struct, frozen=True):
    """A cause over the run. `lost_s` with its 95 % interval is what its tokens took to evaluate; `None`: not known."""

    code: str
    name: str
    title: str
    side: str
    requests: int
    tokens: int
    lost_s: float | None
    low_s: float | None
    high_s: float | None
    confidence: dict[Confidence, int]
    sessions: dict[str, int]


class LossPart(msgspec.Struct, frozen=True):
    """One cause of one request, with its evidence."""

    code: str
    name: str
    text: str
    confidence: Confidence
    tokens: int
    lost_s: float | None
    proofs: tuple[Proof, ...]


class LossRow(msgspec.Struct, frozen=True):
    """One request that lost something; tokens are those evaluated again, by all its causes.

    `alike` counts the further requests of its conversation with the same main cause, `alike_s` what they lost.
    """

    request_id: int
    session: str
    conversation: str
    turn: int
    repeat: int
    cache_class: str
    prompt_tokens: int | None
    cached_tokens: int | None
    lcp_tokens: int | None
    prev_tokens: int | None
    tokens: int
    lost_s: float | None
    causes: tuple[LossPart, ...]
    alike: int = 0
    alike_s: float | None = None


class Fix(msgspec.Struct, frozen=True):
    """A lever against a cause. `saves_s` is what the cause took in this run: an upper bound for what the lever saves.

    `options`, `parameters` and `rewrite` are what `dyno fix` sets to try it; all empty where only the user can.
    """

    codes: tuple[str, ...]
    text: str
    where: str
    also: str
    saves_s: float | None
    saves_tokens: int
    testable: bool
    options: dict[str, str]
    parameters: JsonObject
    rewrite: str | None


class ExplainDocument(msgspec.Struct, frozen=True):
    """Why a run lost what it lost.

    `priced_by` says whose prefill times the seconds come from (`engine`, `ttft`), `None` where there were too few;
    `explained_share` is the share of the lost tokens that a rule explains.
    """

    schema: int
    run: str
    target: str
    engine: str
    build: str | None
    requests: int
    losing_requests: int
    lost_tokens: int
    lost_s: float | None
    low_s: float | None
    high_s: float | None
    explained_share: float | None
    priced_by: str | None
    priced_from_requests: int
    causes: tuple[CauseRow, ...]
    worst: tuple[LossRow, ...]
    fixes: tuple[Fix, ...]
    notes: tuple[str, ...] = ()


def explain(
    info: RunInfo, records: Sequence[RequestRecord], found: Findings, *, worst: int = 5, notes: tuple[str, ...] = ()
) -> ExplainDocument:
    """The document of a run's findings.

    With its `worst` requests, one for each conversation and main cause; for a negative number with all of them.
    """
    tokens = sum(total.tokens for total in found.totals)
    explained = sum(total.tokens for total in found.totals if total.code not in UNEXPLAINED)
    ranked = sorted(found.findings, key=lambda f: (-(_seconds(f) or 0.0), -f.tokens, f.record.request_id))
    return ExplainDocument(
        schema=1,
        run=info.run_id,
        target=info.target,
        engine=info.facts.engine,
        build=info.facts.build,
        requests=len(records),
        losing_requests=len(found.findings),
        lost_tokens=tokens,
        lost_s=found.price.s if found.price else None,
        low_s=found.price.low_s if found.price else None,
        high_s=found.price.high_s if found.price else None,
        explained_share=explained / tokens if tokens else None,
        priced_by=found.model.source if found.model else None,
        priced_from_requests=found.model.samples if found.model else 0,
        causes=tuple(_cause_row(total, found) for total in found.totals),
        worst=tuple(map(loss_row, ranked)) if worst < 0 else _worst(ranked, worst),
        fixes=_fixes(found, info.facts),
        notes=notes,
    )


def _worst(ranked: Sequence[Finding], number: int) -> tuple[LossRow, ...]:
    """The costliest request of every group that is alike, and how many more there are."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in ranked:
        record = finding.record
        main = max(finding.charges, key=lambda charge: charge.tokens).cause.code if finding.charges else ""
        groups.setdefault((record.session, record.conversation, main), []).append(finding)
    rows: list[LossRow] = []
    for first, *others in list(groups.values())[:number]:
        lost = [_seconds(other) for other in others]
        alike_s = sum(s for s in lost if s is not None) if all(s is not None for s in lost) else None
        rows.append(msgspec.structs.replace(loss_row(first), alike=len(others), alike_s=alike_s))
    return tuple(rows)


def loss_row(finding: Finding) -> LossRow:
    """One request with its causes, the costliest first."""
    record, verdict = finding.record, finding.record.verdict
    charges = sorted(finding.charges, key=lambda charge: -charge.tokens)
    return LossRow(
        request_id=record.request_id,
        session=record.session,
        conversation=record.conversation,
        turn=record.turn,
        repeat=record.repeat,
        cache_class=verdict.cache_class,
        prompt_tokens=verdict.prompt_tokens,
        cached_tokens=verdict.cached_tokens,
        lcp_tokens=verdict.lcp_tokens,
        prev_tokens=verdict.prev_tokens,
        tokens=finding.tokens,
        lost_s=_seconds(finding),
        causes=tuple(_part(charge) for charge in charges),
    )


def _part(charge: Charge) -> LossPart:
    cause = charge.cause
    return LossPart(
        code=cause.code,
        name=kind_of(cause.code).name,
        text=cause.text,
        confidence=cause.confidence,
        tokens=charge.tokens,
        lost_s=charge.price.s if charge.price else None,
        proofs=cause.proofs,
    )


def _seconds(finding: Finding) -> float | None:
    prices = [charge.price for charge in finding.charges]
    return sum(price.s for price in prices if price) if all(price is not None for price in prices) else None


def _cause_row(total: CauseTotal, found: Findings) -> CauseRow:
    kind = kind_of(total.code)
    with_it = [(f, c) for f in found.findings for c in f.charges if c.cause.code == total.code]
    price = total.price
    return CauseRow(
        code=total.code,
        name=kind.name,
        title=kind.title,
        side=kind.side,
        requests=total.requests,
        tokens=total.tokens,
        lost_s=price.s if price else None,
        low_s=price.low_s if price else None,
        high_s=price.high_s if price else None,
        confidence=dict(Counter(charge.cause.confidence for _, charge in with_it)),
        sessions=dict(Counter(finding.record.session for finding, _ in with_it)),
    )


def _fixes(found: Findings, facts: Facts) -> tuple[Fix, ...]:
    """The levers of every cause, one row a lever: what it would save is the sum over the causes that it works on."""
    rows: dict[str, tuple[Lever, list[CauseTotal]]] = {}
    for total in found.totals:
        for lever in levers_of(total.code, facts.engine):
            rows.setdefault(lever.text, (lever, []))[1].append(total)
    fixes = [_fix(lever, totals) for lever, totals in rows.values()]
    return tuple(sorted(fixes, key=lambda fix: (-(fix.saves_s or 0.0), -fix.saves_tokens, not fix.testable)))


def _fix(lever: Lever, totals: Sequence[CauseTotal]) -> Fix:
    prices: list[Price | None] = [total.price for total in totals]
    known = all(price is not None for price in prices)
    return Fix(
        codes=tuple(total.code for total in totals),
        text=lever.text,
        where=lever.where,
        also=lever.also,
        saves_s=sum(price.s for price in prices if price) if known else None,
        saves_tokens=sum(total.tokens for total in totals),
        testable=lever.testable,
        options=lever.options,
        parameters=lever.parameters,
        rewrite=lever.rewrite,
    )
