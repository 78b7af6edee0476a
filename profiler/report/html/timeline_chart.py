"""The timeline of a run's sessions or dispatches: a lane for each slot, tools, prompts and memory below. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from profiler.report.html.drawing import WIDTH, Choice, Drawing, altair, drawn, rows
from profiler.timeline import CallMark, MemoryMark, RequestMark, Timeline

__all__ = ["MOST_OF_ONE", "MOST_PARTS", "timeline_chart"]

MOST_OF_ONE: Final = 400
"""Requests of one session that are drawn: more cannot be told apart on a screen."""
MOST_PARTS: Final = 12
_MOST_SAMPLES: Final = 240
_NARROWEST: Final = 900
"""The part of the whole width that the narrowest mark takes."""

_KINDS: Final = {
    "prefill of new text": "@new",
    "prefill again (lost)": "@again",
    "decode": "@decode",
    "waiting, or not told": "@wait",
    "tool": "@tool",
}
_TOKENS: Final = {"reused": "@reused", "evaluated: new": "@new", "evaluated again": "@again", "not told": "@unknown"}


def timeline_chart(timeline: Timeline) -> Drawing | None:
    """The chart; a choice for each session and repeat, the one that lost most first. `None` where nothing was sent."""
    parts = _parts(timeline.requests)
    if not parts:
        return None
    shown = sorted(parts, key=lambda part: -_lost(part))[:MOST_PARTS]
    choices = tuple(_choice(part, timeline) for part in shown)
    notes = [f"{len(parts) - len(shown)} more sessions lost less and are not drawn"] if len(parts) > len(shown) else []
    longest = max(len(part) for part in shown)
    if longest > MOST_OF_ONE:
        notes.append(f"of a session, its first {MOST_OF_ONE} requests are drawn; the longest has {longest:,}")
    return Drawing(
        name="timeline",
        title="Timeline",
        about="A lane for each slot of the engine, tools below it. Then what each prompt was made of, over the time "
        "that it took to its first token; then the engine’s memory. Click a bar to see why it lost tokens.",
        said=f"Timeline of {len(shown)} sessions in lanes of prefill, decode and tools",
        spec=_spec(any(choice.data["memory"] for choice in choices), len({r["lane"] for c in choices for r in c.data["spans"]})),
        choices=choices,
        notes=tuple(notes),
        least_width=460,
        picks=True,
    )


def _parts(requests: Sequence[RequestMark]) -> list[list[RequestMark]]:
    def of(mark: RequestMark) -> tuple[str, int]:
        return mark.session, mark.repeat

    return [list(marks) for _, marks in groupby(sorted(requests, key=of), of)]


def _lost(part: Sequence[RequestMark]) -> float:
    return sum(mark.lost_s or 0.0 for mark in part)


def _choice(part: list[RequestMark], timeline: Timeline) -> Choice:
    drawn_marks = part[:MOST_OF_ONE]
    zero_s, end_s = drawn_marks[0].sent_s, max(mark.end_s for mark in drawn_marks)
    several = {mark.repeat for mark in timeline.requests if mark.session == part[0].session}
    calls = [call for call in timeline.calls if call.session == part[0].session and call.start_s <= end_s + 60]
    repeat = f", repeat {part[0].repeat + 1}" if len(several) > 1 else ""
    spans = [span for mark in drawn_marks for span in _spans(mark, zero_s)]
    end_s = max([end_s, *(call.end_s for call in calls)])
    least_s = (end_s - zero_s) / _NARROWEST
    return Choice(
        f"{part[0].session}{repeat}",
        {
            "spans": _seen(spans + [_tool(call, zero_s) for call in calls], least_s),
            "prompts": _seen([row for mark in drawn_marks for row in _prompt(mark, zero_s)], least_s),
            "memory": _memory(timeline.memory, zero_s, end_s),
        },
    )


def _seen(marks: list[dict[str, Any]], least_s: float) -> list[dict[str, Any]]:
    """The marks, none so narrow that it could not be seen; what they say of their time stays as it was."""
    return [{**mark, "b": round(max(mark["b"], mark["a"] + least_s), 4)} for mark in marks]


def _spans(mark: RequestMark, zero_s: float) -> list[dict[str, Any]]:
    """The time of a request, cut where the engine's own times tell: waiting, prefill again, prefill, decode."""
    start, end = mark.sent_s - zero_s, mark.end_s - zero_s
    first = end if mark.first_s is None else mark.first_s - zero_s
    prefill = min(mark.prefill_s or 0.0, first - start)
    lost = min(mark.lost_s or 0.0, prefill)
    cuts = [start, first - prefill, first - prefill + lost, first, max(first, end)]
    kinds = ("waiting, or not told", "prefill again (lost)", "prefill of new text", "decode")
    about = {
        "id": mark.request_id,
        "lane": "requests" if mark.slot is None else f"slot {mark.slot}",
        "order": mark.slot or 0,
        "what": f"{mark.conversation}, turn {mark.turn + 1}: {mark.cache_class.replace('_', ' ')}",
    }
    pieces = zip(kinds, cuts, cuts[1:], strict=False)
    return [
        {**about, "kind": kind, "a": round(a, 4), "b": round(b, 4), "s": round(b - a, 4)}
        for kind, a, b in pieces
        if b - a > 1e-6
    ]


def _tool(call: CallMark, zero_s: float) -> dict[str, Any]:
    a, b = call.start_s - zero_s, call.end_s - zero_s
    what = call.name if call.ok else f"{call.name}: failed"
    return {"lane": "tools", "order": 1_000_000, "what": what, "kind": "tool", "a": round(a, 4), "b": round(b, 4), "s": round(b - a, 4)}


def _prompt(mark: RequestMark, zero_s: float) -> list[dict[str, Any]]:
    if mark.prompt_tokens is None:
        return []
    a = mark.sent_s - zero_s
    b = (mark.first_s if mark.first_s is not None else mark.end_s) - zero_s
    place = {"id": mark.request_id, "a": round(a, 4), "b": round(b, 4), "what": f"{mark.conversation}, turn {mark.turn + 1}"}
    if mark.cached_tokens is None:
        return [{**place, "part": "not told", "low": 0, "high": mark.prompt_tokens, "tokens": mark.prompt_tokens}]
    lost = min(mark.lost_tokens or 0, mark.prompt_tokens - mark.cached_tokens)
    cuts = [0, mark.cached_tokens, mark.cached_tokens + lost, mark.prompt_tokens]
    parts = zip(("reused", "evaluated again", "evaluated: new"), cuts, cuts[1:], strict=False)
    return [{**place, "part": part, "low": low, "high": high, "tokens": high - low} for part, low, high in parts if high > low]


def _memory(samples: Sequence[MemoryMark], zero_s: float, end_s: float) -> list[dict[str, Any]]:
    """The samples of that time, thinned to the highest of each stretch."""
    inside = [s for s in samples if zero_s <= s.at_s <= end_s and (s.must_have_bytes or s.rss_bytes) is not None]
    step = max(1, -(-len(inside) // _MOST_SAMPLES))
    highest = [
        max(inside[n : n + step], key=lambda s: s.must_have_bytes or s.rss_bytes or 0) for n in range(0, len(inside), step)
    ]
    return [
        {"t": round(s.at_s - zero_s, 3), "mib": round((s.must_have_bytes or s.rss_bytes or 0) / 2**20, 2)} for s in highest
    ]


def _spec(memory: bool, lanes: int) -> dict[str, Any]:
    alt = altair()
    left = {"minExtent": 62, "maxExtent": 62, "labelLimit": 58}
    across = alt.X("a:Q", title=None).axis(grid=False, labels=False, ticks=False).scale(nice=False)
    kinds = alt.Color("kind:N", title=None).scale(domain=list(_KINDS), range=list(_KINDS.values()))
    tips = [alt.Tooltip("what:N", title="of"), alt.Tooltip("kind:N", title="what"), alt.Tooltip("s:Q", title="seconds", format=".3~f")]
    spans = (
        rows("spans")
        .mark_bar(height={"band": 0.72}, cursor="pointer")
        .encode(
            across,
            alt.X2("b:Q"),
            alt.Y("lane:N", title=None, sort=alt.SortField("order")).axis(**left, ticks=False, domain=False),
            color=kinds,
            tooltip=tips,
        )
        .properties(width=WIDTH, height=max(2, lanes) * 30)
    )
    axis = {"grid": False, "tickCount": 10}
    colours = {"domain": list(_TOKENS), "range": list(_TOKENS.values())}
    prompts = (
        rows("prompts")
        .mark_rect(cursor="pointer")
        .encode(
            alt.X("a:Q", title=None if memory else "seconds").axis(**(axis if not memory else {"grid": False, "labels": False, "ticks": False})),
            alt.X2("b:Q"),
            alt.Y("low:Q", title="prompt tokens").axis(**left, tickCount=4, format="~s"),
            alt.Y2("high:Q"),
            color=alt.Color("part:N", title=None).scale(**colours),
            tooltip=[alt.Tooltip("what:N", title="of"), alt.Tooltip("part:N", title="what"), alt.Tooltip("tokens:Q", format=",")],
        )
        .properties(width=WIDTH, height=120)
    )
    panels = [spans, prompts]
    if memory:
        panels.append(
            rows("memory")
            .mark_area(line={"color": "@faint", "strokeWidth": 1.5}, color="@wait", opacity=0.6, interpolate="step-after")
            .encode(
                alt.X("t:Q", title="seconds").axis(**axis).scale(nice=False),
                alt.Y("mib:Q", title="MiB").axis(**left, tickCount=3).scale(zero=True),
                tooltip=[alt.Tooltip("t:Q", title="seconds"), alt.Tooltip("mib:Q", title="MiB", format=",.0f")],
            )
            .properties(width=WIDTH, height=80)
        )
    chart = alt.vconcat(*panels, spacing=14).resolve_scale(x="shared", color="independent")
    return drawn(chart)
