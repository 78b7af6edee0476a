"""A verdict and its figures in words: no percentage without its interval, no interval without its n."""

from __future__ import annotations

from harness.stats.base import Estimate
from harness.stats.verdict import Declaration, GuardResult, Verdict

__all__ = ["describe", "figure", "sentence"]


def sentence(verdict: Verdict) -> str:
    """The verdict in a line or two, with what it rests on and what would decide it."""
    name, main = verdict.declaration.primary.name, verdict.primary.main
    rests = f"{name} {describe(main)}"
    arm, other = verdict.treatment, verdict.baseline
    if verdict.word == "equivalent":
        words = f"{arm} is equivalent to {other} within {_margin(verdict.declaration)}: {rests}"
    elif verdict.word == "cannot tell":
        words = f"cannot tell {arm} from {other}: {rests}; {_more(verdict)}"
    else:
        words = f"{arm} is {verdict.word} than {other}: {rests}"
    if main.tasks == 1:
        words += " (of this task alone)"
    return ". ".join([words, *(_guarded(each) for each in verdict.guards if each.state != "held")]) + "."


def describe(estimate: Estimate) -> str:
    """The figure, its interval and its n, as in `× 0.75 [0.63 … 0.89] (95 %, 12 pairs, 6 tasks; t over tasks)`."""
    of = "dispatch" if estimate.scale == "rate" else "pair"
    n = f"{_several(estimate.pairs, of)}, {_several(estimate.tasks, 'task')}"
    if estimate.interval is None or estimate.value is None:
        why = "; ".join((estimate.method, *estimate.notes)) if estimate.notes else estimate.method
        return f"not told ({n}; {why})" if estimate.p is None else f"p = {estimate.p:.2g} ({n}; {why})"
    span = f"[{_bound(estimate, estimate.interval.low)} … {_bound(estimate, estimate.interval.high)}]"
    share = f"{estimate.interval.confidence * 100:.4g} %"
    label = "won less lost " if estimate.scale == "net wins" else ""
    return f"{label}{figure(estimate, estimate.value)} {span} ({share}, {n}; {estimate.method})"


def figure(estimate: Estimate, value: float) -> str:
    """A value on the estimate's scale: `× 0.75`, `−0.17`, `0.83`."""
    if estimate.scale == "ratio":
        return f"× {value:,.0f}" if value >= 1000 else f"× {value:.3g}"
    digits = ",.0f" if abs(value) >= 1000 else ".3g"
    return f"{value:+{digits}}".replace("-", "−") if estimate.scale in {"difference", "net wins"} else f"{value:.2f}"


def _bound(estimate: Estimate, value: float | None) -> str:
    return "no bound" if value is None else figure(estimate, value).removeprefix("× ")


def _margin(declaration: Declaration) -> str:
    ratio = declaration.primary.kind in {"time to success", "ratio"}
    return f"{declaration.margin * 100:.3g} %" if ratio else f"{declaration.margin:.3g}"


def _more(verdict: Verdict) -> str:
    if verdict.more_blocks is not None:
        blocks = f"about {verdict.more_blocks} more blocks would"
        return f"{blocks}, or {verdict.more_tasks} more tasks" if verdict.more_tasks is not None else blocks
    if verdict.more_tasks is not None:
        return f"more blocks of these tasks would not, about {verdict.more_tasks} more tasks would"
    return "how much more would decide cannot be told either"


def _guarded(result: GuardResult) -> str:
    main, guard = result.comparison.main, result.guard
    if result.state == "broken":
        return f"Against it: {guard.metric.name} {describe(main)}, and the guard allows {guard.margin:.3g}"
    needed = f"about {result.pairs_needed}" if result.pairs_needed is not None else "more than can be planned"
    limit = f"that {guard.metric.name} does not get worse by more than {guard.margin:.3g}"
    return f"Not shown: {limit} ({_several(main.pairs, 'pair')}; needs {needed})"


def _several(number: int, what: str) -> str:
    plural = "es" if what.endswith("ch") else "s"
    return f"{number} {what}{'' if number == 1 else plural}"
