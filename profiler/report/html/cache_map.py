"""The map of a run's cache: a bar for each request, made of what was reused, lost by cause and new. Pure.

Where there are more requests than bars that can be told apart, a bar is the mean of several in a row, and says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from profiler.causes.catalogue import kind_of
from profiler.explanation import LossRow
from profiler.report.html.drawing import PLAIN_ZERO, WIDTH, Choice, Drawing, altair, drawn, rows
from profiler.timeline import RequestMark

__all__ = ["MOST_BARS", "MOST_LOSSES", "cache_map", "cause_colours", "shown_losses"]

MOST_BARS: Final = 360
MOST_LOSSES: Final = 500
"""Requests whose difference is on the page."""
_NAMED_CAUSES: Final = 4
"""So many causes of each side have a colour of their own; the eye keeps no more apart."""
_FIRST, _LAST, _UNKNOWN = "reused", "new text", "not told what was reused"


def cause_colours(losses: Sequence[LossRow]) -> dict[str, tuple[str, str]]:
    """For each code its words and its colour, those that cost most tokens with one of their own."""
    tokens: Counter[str] = Counter()
    for row in losses:
        for part in row.causes:
            tokens[part.code] += part.tokens
    named: dict[str, tuple[str, str]] = {}
    for side in ("prompt", "engine"):
        codes = [code for code, _ in tokens.most_common() if kind_of(code).side == side]
        for number, code in enumerate(codes):
            own = number < _NAMED_CAUSES
            words = f"{code} {kind_of(code).name.replace('_', ' ')} ({side})" if own else f"other causes ({side})"
            named[code] = words, f"@{side[0]}{number + 1 if own else _NAMED_CAUSES + 1}"
    return named


def cache_map(requests: Sequence[RequestMark], losses: Sequence[LossRow]) -> Drawing | None:
    """The chart; `None` where nothing was sent. Bars stand in the order in which requests were sent."""
    if not requests:
        return None
    by_id = {row.request_id: row for row in losses}
    colours = cause_colours(losses)
    groups = _groups(requests)
    step = len(groups[0])
    values: list[dict[str, Any]] = []
    bars: list[dict[str, Any]] = []
    for number, group in enumerate(groups, 1):
        tokens = _tokens(group, by_id, colours)
        base = 0.0
        for part, amount in tokens.items():
            mean = amount / len(group)
            values.append(
                {
                    "n": number,
                    "low": round(base, 1),
                    "high": round(base + mean, 1),
                    "part": part,
                    "tokens": round(mean, 1),
                }
            )
            base += mean
        bars.append(_bar(number, group, by_id, base))
    top = max(bar["top"] for bar in bars) or 1.0
    data = {"parts": values, "bars": [{**bar, "most": round(top * 1.04, 1)} for bar in bars]}
    one, notes = ("a request", "request"), tuple[str, ...]()
    if step > 1:
        one = f"the mean of {step} requests in a row", f"groups of {step} requests"
        notes = (f"{len(requests):,} requests in {len(groups)} bars of {step}: single requests are not drawn",)
    return Drawing(
        name="cache-map",
        title="Cache map",
        about=f"A bar is {one[0]}, in the order in which they were sent, and its height is the prompt. Click a bar, or "
        "move with the arrow keys and press Enter, to see the difference of the prompts that proves the cause.",
        said=f"What {len(requests):,} prompts were made of: reused, lost by cause, new",
        spec=_spec(
            _scale(values, colours),
            one[1],
            failed=any(bar["failed"] for bar in bars),
        ),
        choices=(Choice("", data),),
        notes=notes,
        least_width=min(900, 130 + 3 * len(groups)),
        picks=True,
    )


def shown_losses(requests: Sequence[RequestMark], losses: Sequence[LossRow]) -> tuple[LossRow, ...]:
    """The losses that a page can show whole, in their order: the costliest of every bar, then the costliest of all."""
    if len(losses) <= MOST_LOSSES:
        return tuple(losses)
    by_id = {row.request_id: row for row in losses}
    tops = (_costliest(group, by_id)[:1] for group in _groups(requests))
    chosen = {row.request_id for top in tops for row in top}
    others = (row.request_id for row in losses if row.request_id not in chosen)
    chosen.update(islice(others, max(0, MOST_LOSSES - len(chosen))))
    return tuple(row for row in losses if row.request_id in chosen)


def _groups(requests: Sequence[RequestMark]) -> list[Sequence[RequestMark]]:
    """The requests of each bar, as many in each but the last."""
    step = -(-len(requests) // MOST_BARS)
    return [requests[n : n + step] for n in range(0, len(requests), step)]


def _costliest(group: Sequence[RequestMark], by_id: dict[int, LossRow]) -> list[LossRow]:
    lost = [by_id[mark.request_id] for mark in group if mark.request_id in by_id]
    return sorted(lost, key=lambda row: (-(row.lost_s or 0.0), -row.tokens))


def _tokens(
    group: Sequence[RequestMark], by_id: dict[int, LossRow], colours: dict[str, tuple[str, str]]
) -> dict[str, int]:
    """The tokens of some requests by what they were, in the order in which they are stacked."""
    tokens: Counter[str] = Counter()
    for mark in group:
        if mark.prompt_tokens is None:
            continue
        if mark.cached_tokens is None:
            tokens[_UNKNOWN] += mark.prompt_tokens
            continue
        left = mark.prompt_tokens - mark.cached_tokens
        tokens[_FIRST] += mark.cached_tokens
        loss = by_id.get(mark.request_id)
        for part in loss.causes if loss else ():
            take = min(part.tokens, left)
            tokens[colours[part.code][0]] += take
            left -= take
        tokens[_LAST] += left
    order = [_FIRST, *dict.fromkeys(words for words, _ in colours.values()), _LAST, _UNKNOWN]
    return {part: tokens[part] for part in order if tokens[part]}


def _bar(number: int, group: Sequence[RequestMark], by_id: dict[int, LossRow], top: float) -> dict[str, Any]:
    lost = _costliest(group, by_id)
    first = group[0]
    said = f"request {first.request_id}, {first.session}/{first.conversation}, turn {first.turn + 1}"
    if len(group) > 1:
        said = f"requests {first.request_id} to {group[-1].request_id}, {len(lost)} of {len(group)} lost something"
    else:
        said += f": {first.cache_class.replace('_', ' ')}"
        if first.cached_tokens is not None and first.prompt_tokens is not None:
            said += f", {first.cached_tokens:,} of {first.prompt_tokens:,} tokens reused"
        said += f"; {first.error}" if first.error else ""
    return {
        "n": number,
        "top": round(top, 1),
        "said": said,
        "failed": any(mark.error for mark in group),
        "id": lost[0].request_id if lost else group[0].request_id,
        "causes": ", ".join(dict.fromkeys(part.code for row in lost for part in row.causes)) or "none",
    }


def _scale(values: Sequence[dict[str, Any]], colours: dict[str, tuple[str, str]]) -> dict[str, list[str]]:
    known = {_FIRST: "@reused", **dict(colours.values()), _LAST: "@new", _UNKNOWN: "@unknown"}
    there = {value["part"] for value in values}
    used = {part: colour for part, colour in known.items() if part in there}
    return {"domain": list(used), "range": list(used.values())}


def _spec(scale: dict[str, list[str]], title: str, *, failed: bool) -> dict[str, Any]:
    alt = altair()
    at = alt.param(name="at", value=-1)
    across = (
        alt.X("left:Q", title=title)
        .axis(grid=False, tickMinStep=1, format="d", tickCount=10)
        .scale(nice=False, zero=False)
    )
    right = alt.X2("right:Q")
    up = alt.Y("zero:Q", title="prompt tokens").axis(tickCount=5, format="~s", labelExpr=PLAIN_ZERO)
    place = {"left": "datum.n - 0.5", "right": "datum.n + 0.5"}
    inset = {"left": "datum.n - 0.42", "right": "datum.n + 0.42"}
    tips = [alt.Tooltip("said:N", title="bar"), alt.Tooltip("causes:N", title="causes")]
    wide = rows("bars").transform_calculate(**place).mark_rect(color="@text", cursor="pointer")
    wide = wide.encode(
        across, right, up, alt.Y2("most:Q"), tooltip=tips,
        opacity=alt.condition("datum.n == at", alt.value(0.22), alt.value(0.0)),
    ).transform_calculate(zero="0").add_params(at)  # fmt: skip
    parts = rows("parts").transform_calculate(**inset).mark_rect(cursor="pointer").encode(
        across, right, alt.Y("low:Q"), alt.Y2("high:Q"),
        color=alt.Color("part:N", title=None).scale(**scale),
        tooltip=[alt.Tooltip("part:N", title="part"), alt.Tooltip("tokens:Q", format=",")],
    )  # fmt: skip
    layers = [wide, parts]
    if failed:
        crosses = rows("bars").transform_filter("datum.failed").mark_text(text="×", dy=-6, color="@bad", fontSize=14)
        layers.append(crosses.encode(alt.X("n:Q"), alt.Y("top:Q")))
    return drawn(alt.layer(*layers).properties(width=WIDTH, height=260))
