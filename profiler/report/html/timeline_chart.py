"""The timeline of a run's sessions or dispatches: a lane for each slot, tools, prompts and memory below. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from profiler.report.html.drawing import PLAIN_ZERO, WIDTH, Choice, Drawing, altair, drawn, rows
from profiler.timeline import CallMark, MemoryMark, RequestMark, Timeline

__all__ = ["MOST_OF_ONE", "MOST_PARTS", "timeline_chart"]

MOST_OF_ONE: Final = 400
"""Requests of one session that are drawn: more cannot be told apart on a screen."""
MOST_PARTS: Final = 12
_MOST_SAMPLES: Final = 240
_NARROWEST: Final = 900
"""The part of the whole width that the narrowest mark takes."""

_KINDS: Final = {
    "reused": "@reused",
    "new text": "@new",
    "again (lost)": "@again",
    "decode": "@decode",
    "tool": "@tool",
    "waiting, or not told": "@wait",
}


def timeline_chart(timeline: Timeline) -> Drawing | None:
    """The chart; a choice for each session and repeat, the one that lost most first. `None` where nothing was sent."""
    parts = _parts(timeline.requests)
    if not parts:
        return None
    shown = sorted(parts, key=lambda part: -_lost(part))[:MOST_PARTS]
    choices = tuple(_choice(part, timeline) for part in shown)
    notes = (
        [f"{len(parts) - len(shown)} more sessions, which lost less, are left out"] if len(parts) > len(shown) else []
    )
    longest = max(len(part) for part in shown)
    if longest > MOST_OF_ONE:
        notes.append(f"Of a session its first {MOST_OF_ONE} requests are drawn; the longest has {longest:,}")
    return Drawing(
        name="timeline",
        title="Timeline",
        about="A lane for each slot of the engine, tools below it. Then what each prompt was made of, over the time "
        "that it took to its first token; then the engine’s memory. Click a bar to see why it lost tokens.",
        said=f"Timeline of {len(shown)} sessions in lanes of prefill, decode and tools",
        spec=_spec(any(choice.data["memory"] for choice in choices), _lanes(choices), _used(choices)),
        choices=choices,
        notes=tuple(notes),
        least_width=min(900, 240 + 4 * min(longest, MOST_OF_ONE)),
        picks=True,
    )


def _parts(requests: Sequence[RequestMark]) -> list[list[RequestMark]]:
    def of(mark: RequestMark) -> tuple[str, int]:
        return mark.session, mark.repeat

    return [list(marks) for _, marks in groupby(sorted(requests, key=of), of)]


def _used(choices: Sequence[Choice]) -> list[str]:
    seen = {row["kind"] for choice in choices for name in ("spans", "prompts") for row in choice.data[name]}
    return [kind for kind in _KINDS if kind in seen]


def _lanes(choices: Sequence[Choice]) -> int:
    return max(len({row["lane"] for row in choice.data["spans"]}) for choice in choices)


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
    kinds = ("waiting, or not told", "again (lost)", "new text", "decode")
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
    return {
        "lane": "tools",
        "order": 1_000_000,
        "what": what,
        "kind": "tool",
        "a": round(a, 4),
        "b": round(b, 4),
        "s": round(b - a, 4),
    }


def _prompt(mark: RequestMark, zero_s: float) -> list[dict[str, Any]]:
    if mark.prompt_tokens is None:
        return []
    a = mark.sent_s - zero_s
    b = (mark.first_s if mark.first_s is not None else mark.end_s) - zero_s
    place = {
        "id": mark.request_id,
        "a": round(a, 4),
        "b": round(b, 4),
        "what": f"{mark.conversation}, turn {mark.turn + 1}",
    }
    if mark.cached_tokens is None:
        return [
            {
                **place,
                "kind": "waiting, or not told",
                "low": 0,
                "high": mark.prompt_tokens,
                "tokens": mark.prompt_tokens,
            }
        ]
    lost = min(mark.lost_tokens or 0, mark.prompt_tokens - mark.cached_tokens)
    cuts = [0, mark.cached_tokens, mark.cached_tokens + lost, mark.prompt_tokens]
    parts = zip(("reused", "again (lost)", "new text"), cuts, cuts[1:], strict=False)
    return [
        {**place, "kind": kind, "low": low, "high": high, "tokens": high - low}
        for kind, low, high in parts
        if high > low
    ]


def _memory(samples: Sequence[MemoryMark], zero_s: float, end_s: float) -> list[dict[str, Any]]:
    """The samples of that time, thinned to the highest of each stretch."""
    known = [sample for sample in samples if _size(sample) is not None]
    inside = [sample for sample in known if zero_s <= sample.at_s <= end_s]
    # At one time one sample: two would stand on each other.
    late = not inside or inside[0].at_s > zero_s
    before = [sample for sample in known if sample.at_s < zero_s][-1:] if late else []
    step = max(1, -(-len(inside) // _MOST_SAMPLES))
    highest = [max(inside[n : n + step], key=lambda sample: _size(sample) or 0) for n in range(0, len(inside), step)]
    # What was read last holds until something else is read.
    drawn_samples = [*before, *highest]
    points = [
        {"t": max(0.0, round(s.at_s - zero_s, 3)), "mib": round((_size(s) or 0) / 2**20, 2)} for s in drawn_samples
    ]
    end = round(end_s - zero_s, 3)
    return [*points, *({**point, "t": end} for point in points[-1:] if point["t"] < end)]


def _size(sample: MemoryMark) -> int | None:
    return sample.rss_bytes if sample.must_have_bytes is None else sample.must_have_bytes


def _spec(memory: bool, lanes: int, used: list[str]) -> dict[str, Any]:
    alt = altair()
    left = {"minExtent": 62, "maxExtent": 62, "labelLimit": 58}
    across = alt.X("a:Q", title=None).axis(grid=False, labels=False, ticks=False).scale(nice=False)
    kinds = alt.Color("kind:N", title=None).scale(domain=used, range=[_KINDS[kind] for kind in used])
    tips = [
        alt.Tooltip("what:N", title="of"),
        alt.Tooltip("kind:N", title="what"),
        alt.Tooltip("s:Q", title="seconds", format=".3~f"),
    ]
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
    prompts = (
        rows("prompts")
        .mark_rect(cursor="pointer")
        .encode(
            alt.X("a:Q", title=None if memory else "seconds").axis(
                **(axis if not memory else {"grid": False, "labels": False, "ticks": False})
            ),
            alt.X2("b:Q"),
            alt.Y("low:Q", title="prompt tokens").axis(**left, tickCount=4, format="~s", labelExpr=PLAIN_ZERO),
            alt.Y2("high:Q"),
            color=kinds,
            tooltip=[
                alt.Tooltip("what:N", title="of"),
                alt.Tooltip("kind:N", title="what"),
                alt.Tooltip("tokens:Q", format=","),
            ],
        )
        .properties(width=WIDTH, height=120)
    )
    panels = [spans, prompts]
    if memory:
        panels.append(
            rows("memory")
            .mark_area(
                line={"color": "@faint", "strokeWidth": 1.5}, color="@wait", opacity=0.6, interpolate="step-after"
            )
            .encode(
                alt.X("t:Q", title="seconds").axis(**axis).scale(nice=False),
                alt.Y("mib:Q", title="MiB", stack=None).axis(**left, tickCount=3).scale(zero=True),
                tooltip=[alt.Tooltip("t:Q", title="seconds"), alt.Tooltip("mib:Q", title="MiB", format=",.0f")],
            )
            .properties(width=WIDTH, height=80)
        )
    chart = alt.vconcat(*panels, spacing=14).resolve_scale(x="shared")
    return drawn(chart)
