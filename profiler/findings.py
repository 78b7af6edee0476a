"""What a run lost, by cause: tokens and seconds of every losing request, shared out once, and the sums. Pure but for
the reading of the run's files.

Prompt-side causes of one request share the tokens from where each begins to where the next does; what a change took
out of the prompt was not evaluated again and costs nothing. Engine-side causes take what they account for, the first of
the others the rest. Sums over causes are therefore the loss, and fixing the first cause alone saves its own share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from profiler.causes import causes_of
from profiler.causes.base import Cause
from profiler.causes.cases import cases_of_run
from profiler.causes.catalogue import kind_of
from profiler.pricing import Loss, PrefillModel, Price, fit_prefill, samples_of
from profiler.records import CacheVerdict, RequestRecord
from profiler.store import StoredRun, read_load_log
from profiler.verdict import LAST_TOKEN

__all__ = [
    "CauseTotal",
    "Charge",
    "Explained",
    "Finding",
    "Findings",
    "charges_of",
    "find",
    "findings_in",
    "findings_of",
]


class Charge(msgspec.Struct, frozen=True):
    """A cause with the tokens it is charged with, and their price where a run tells one."""

    cause: Cause
    losses: tuple[Loss, ...]
    price: Price | None

    @property
    def tokens(self) -> int:
        """Tokens evaluated again because of this cause."""
        return sum(loss.tokens for loss in self.losses)


class Finding(msgspec.Struct, frozen=True):
    """One request that lost something, and what each of its causes is charged with. The prompts are let go."""

    record: RequestRecord
    charges: tuple[Charge, ...]

    @property
    def tokens(self) -> int:
        """Tokens lost on both sides."""
        return sum(charge.tokens for charge in self.charges)


Explained = tuple[RequestRecord, Sequence[Cause]]
"""A request that lost something, and its causes. Its prompts are let go."""


class CauseTotal(msgspec.Struct, frozen=True):
    """A cause over the whole run. `price` is `None` where no price could be told."""

    code: str
    requests: int
    tokens: int
    price: Price | None


class Findings(msgspec.Struct, frozen=True):
    """What a run lost. `totals` are ordered by seconds, then by tokens; `model` is what prices the tokens."""

    findings: tuple[Finding, ...]
    totals: tuple[CauseTotal, ...]
    price: Price | None
    model: PrefillModel | None


def find(path: Path, run: StoredRun, *, sessions: frozenset[str] | None = None) -> Findings:
    """The findings of the run in folder `path`, of some of its sessions or of all; every request tells the price.

    Raises:
        StoreError: its bodies or prompts cannot be read.
    """
    model = fit_prefill(*samples_of(run.requests))
    load_log = read_load_log(path)
    cases = cases_of_run(path, run.requests, run.info.facts, load_log, run.anchors)
    wanted = (case for case in cases if sessions is None or case.step.record.session in sessions)
    return findings_of(((case.step.record, causes_of(case)) for case in wanted), model)


def findings_of(explained: Iterable[Explained], model: PrefillModel | None) -> Findings:
    """The findings of requests whose causes are known, priced by `model`."""
    return _summed(
        tuple(Finding(record, charges_of(record.verdict, causes, model)) for record, causes in explained), model
    )


def findings_in(found: Findings, session: str) -> Findings:
    """The part of the findings that is of one session, by the same price."""
    return _summed(tuple(one for one in found.findings if one.record.session == session), found.model)


def _summed(found: tuple[Finding, ...], model: PrefillModel | None) -> Findings:
    every = [charge for finding in found for charge in finding.charges]
    return Findings(found, _totals(every, model), _price(model, every), model)


def charges_of(verdict: CacheVerdict, causes: Sequence[Cause], model: PrefillModel | None) -> tuple[Charge, ...]:
    """What each of a request's causes is charged with, and its price by `model`."""
    return tuple(
        Charge(cause, losses, model.price(losses) if model is not None else None)
        for cause, losses in _shared(verdict, causes)
    )


def _shared(verdict: CacheVerdict, causes: Sequence[Cause]) -> list[tuple[Cause, tuple[Loss, ...]]]:
    prompt = [cause for cause in causes if kind_of(cause.code).side == "prompt"]
    engine = [cause for cause in causes if kind_of(cause.code).side == "engine"]
    return [*_shared_prompt(verdict, prompt), *_shared_engine(verdict, engine)]


def _shared_prompt(verdict: CacheVerdict, causes: Sequence[Cause]) -> list[tuple[Cause, tuple[Loss, ...]]]:
    """Each cause from its token to the next one's, less what it took out of the prompt; together never more than was
    evaluated.

    A request that had only extended the sequence before would have evaluated its last token, which was sampled alone,
    and what is behind it. This one evaluated P - L. The difference is prev - 1 - L, less the tokens by which the
    changes made the prompt shorter.
    """
    lcp, prev, prompt = verdict.lcp_tokens, verdict.prev_tokens, verdict.prompt_tokens
    if not causes or lcp is None or prev is None or prompt is None:
        return [(cause, ()) for cause in causes]
    ordered = sorted(causes, key=lambda cause: cause.token if cause.token is not None else lcp)
    end = max(lcp, prev - LAST_TOKEN)
    starts = [
        lcp,
        *(min(max(cause.token or lcp, lcp), end) for cause in ordered[1:]),
        end,
    ]
    shared: list[tuple[Cause, tuple[Loss, ...]]] = []
    depth = lcp
    for cause, (start, stop) in zip(ordered, pairwise(starts), strict=True):
        tokens = min(max(0, stop - start - cause.shrunk_tokens), prompt - depth)
        shared.append((cause, (Loss(depth, tokens),) if tokens else ()))
        depth += tokens
    return shared


def _shared_engine(verdict: CacheVerdict, causes: Sequence[Cause]) -> list[tuple[Cause, tuple[Loss, ...]]]:
    """From C to min(L, P - 1): known parts from the end, the rest to the first cause that names no part."""
    cached, reusable = verdict.cached_tokens, verdict.reusable_tokens
    if not causes or cached is None or reusable is None:
        return [(cause, ()) for cause in causes]
    end = reusable
    shared: list[tuple[Cause, tuple[Loss, ...]]] = []
    rest = next((cause for cause in causes if cause.tokens is None), causes[0])
    for cause in causes:
        if cause is rest:
            continue
        tokens = min(cause.tokens or 0, end - cached)
        end -= tokens
        shared.append((cause, (Loss(end, tokens),) if tokens else ()))
    left = end - cached
    return [(rest, (Loss(cached, left),) if left > 0 else ()), *shared]


def _totals(charges: Sequence[Charge], model: PrefillModel | None) -> tuple[CauseTotal, ...]:
    codes = list(dict.fromkeys(charge.cause.code for charge in charges))
    totals = [_total(code, [c for c in charges if c.cause.code == code], model) for code in codes]
    return tuple(sorted(totals, key=lambda total: (-(total.price.s if total.price else 0.0), -total.tokens)))


def _total(code: str, charges: Sequence[Charge], model: PrefillModel | None) -> CauseTotal:
    tokens = sum(charge.tokens for charge in charges)
    return CauseTotal(code, len(charges), tokens, _price(model, charges))


def _price(model: PrefillModel | None, charges: Iterable[Charge]) -> Price | None:
    if model is None:
        return None
    return model.price(loss for charge in charges for loss in charge.losses)
