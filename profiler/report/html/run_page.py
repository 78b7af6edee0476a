"""The page of a run: a cache run, or dispatches of an agent. Documents in, one HTML text out; no file is touched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from profiler.dispatch_document import DispatchDocument
from profiler.document import CacheDocument
from profiler.explanation import ExplainDocument, LossRow
from profiler.records import RunInfo
from profiler.report.cache import losses_line, session_rows, verdict_line, warning_lines
from profiler.report.causes import verdict_line as loss_line
from profiler.report.dispatch import TURN_HEADS, WORD_HEADS, turn_cells, what_line
from profiler.report.dispatch import verdict_line as dispatch_line
from profiler.report.figures import UNKNOWN, count, rate, seconds, share
from profiler.report.html.cache_map import cache_map, cause_colours, shown_losses
from profiler.report.html.causes_chart import causes_chart
from profiler.report.html.drawing import Drawing
from profiler.report.html.rendering import Verdict, limited, rendered, verdict_of
from profiler.report.html.residency_chart import residency_chart
from profiler.report.html.timeline_chart import timeline_chart
from profiler.report.memory import memory_lines, size
from profiler.report.server import server_lines
from profiler.timeline import Timeline

__all__ = ["RunPage", "drawings_of", "run_page", "verdicts_of"]

_MOST_TURNS: Final = 400
_MOST_DISPATCHES: Final = 20
_MOST_SESSIONS: Final = 100
_MOST_DOUBTS: Final = 12


class RunPage(msgspec.Struct, frozen=True):
    """All that the page of a run shows. `dispatches` are empty for a run without agents.

    `explanation` holds every losing request, `worst` the costliest of each conversation and main cause.
    """

    info: RunInfo
    cache: CacheDocument
    dispatches: tuple[DispatchDocument, ...]
    explanation: ExplainDocument
    worst: tuple[LossRow, ...]
    timeline: Timeline


def drawings_of(page: RunPage) -> list[Drawing]:
    """The charts of the page, in their order. Raises ChartsMissing."""
    losses, requests = page.explanation.worst, page.timeline.requests
    made = [
        timeline_chart(page.timeline),
        cache_map(requests, losses),
        causes_chart(page.explanation.causes, cause_colours(losses)),
        residency_chart(page.timeline.memory, page.cache.residency),
    ]
    return [one for one in made if one is not None]


def run_page(page: RunPage) -> str:
    """The page. Raises ChartsMissing: the extra `charts` is not installed."""
    explained = page.explanation
    losses = shown_losses(page.timeline.requests, explained.worst)
    heads, sessions = session_rows(page.cache)
    return rendered(
        "run",
        drawings_of(page),
        run=page.info.run_id,
        heading=_heading(page),
        verdicts=verdicts_of(page),
        beside=_beside(page),
        tiles=_tiles(page),
        doubts=_doubts(page),
        hint=_hint(len(explained.worst), len(losses)),
        losses=losses,
        worst=page.worst,
        colours=cause_colours(explained.worst),
        fixes=explained.fixes,
        session_heads=heads,
        sessions=[] if page.dispatches else sessions[:_MOST_SESSIONS],
        sessions_left=max(0, len(sessions) - _MOST_SESSIONS),
        dispatches=[_dispatch(one) for one in page.dispatches[:_MOST_DISPATCHES]],
        **_settings(page),
        environment=_environment(page),
        guards=_guards(page),
        footer=_footer(page),
    )  # fmt: skip


def _hint(losing: int, shown: int) -> str:
    left = f" Of {losing:,} losing requests, {losing - shown:,} are left out: of every bar the costliest is here."
    return "Pick a bar to see here what changed." + (left if losing > shown else "")


def _heading(page: RunPage) -> str:
    tasks = list(dict.fromkeys(one.started.task for one in page.dispatches))
    engine = page.info.facts.model or page.info.target
    what = ", ".join(tasks[:3]) + (f" and {len(tasks) - 3} more" if len(tasks) > 3 else "") if tasks else "Prompt cache"
    return f"{what} on {engine}, {page.info.facts.engine}"


def verdicts_of(page: RunPage) -> list[Verdict]:
    """The verdict on the cache; or those on the dispatches, and what they lost."""
    if not page.dispatches:
        return [verdict_of(verdict_line(page.cache))]
    lost = [verdict_of(loss_line(page.explanation))] if page.timeline.requests else []
    return [*(verdict_of(dispatch_line(one)) for one in page.dispatches[:_MOST_DISPATCHES]), *lost]


def _beside(page: RunPage) -> list[str]:
    if not page.dispatches:
        return [losses_line(page.cache).plain]
    left = len(page.dispatches) - _MOST_DISPATCHES
    more = [f"{left} more dispatches are left out of this page."] if left > 0 else []
    return [*dict.fromkeys(what_line(one).plain for one in page.dispatches), *more]


def _tiles(page: RunPage) -> list[tuple[str, str, str]]:
    marks = page.timeline.requests
    known = [mark for mark in marks if mark.prompt_tokens is not None and mark.cached_tokens is not None]
    prompt = sum(mark.prompt_tokens or 0 for mark in known)
    reused = sum(mark.cached_tokens or 0 for mark in known)
    explained, residency = page.explanation, page.cache.residency
    failed = sum(mark.error is not None for mark in marks)
    tiles = [("requests", f"{len(marks):,}", f"{failed} failed" if failed else "")]
    if known:
        tiles.append(("reused", share(reused / prompt if prompt else None), f"of {prompt:,} prompt tokens"))
        lost = f"{count(explained.lost_tokens)} tokens, {share(explained.explained_share)} explained"
        again = seconds(explained.lost_s) if explained.lost_tokens else "nothing"
        tiles.append(("evaluated again", again, lost if explained.lost_tokens else ""))
    prefill, decode = _rates(page)
    tiles += [("prefill", rate(prefill), "tokens a second")] if prefill is not None else []
    tiles += [("decode", rate(decode), "tokens a second")] if decode is not None else []
    if residency is not None and residency.must_have_peak_bytes is not None:
        tiles.append(("memory, peak", size(residency.must_have_peak_bytes), "must have"))
    return tiles


def _rates(page: RunPage) -> tuple[float | None, float | None]:
    """Σ tokens / Σ time of prefill, over what was evaluated, and of decode after the first token."""
    evaluated = prefill_s = generated = decode_s = 0.0
    for mark in page.timeline.requests:
        if mark.prefill_s and mark.prompt_tokens is not None and mark.cached_tokens is not None:
            evaluated, prefill_s = evaluated + mark.prompt_tokens - mark.cached_tokens, prefill_s + mark.prefill_s
        if mark.generated_tokens and mark.generated_tokens > 1 and mark.decode_s:
            generated, decode_s = generated + mark.generated_tokens - 1, decode_s + mark.decode_s
    return evaluated / prefill_s if prefill_s else None, generated / decode_s if decode_s > 0 else None


def _doubts(page: RunPage) -> list[str]:
    lines = [line for line in warning_lines(page.cache).plain.split("\n") if line]
    lines += [guard.text for one in page.dispatches for guard in one.doubts]
    lines += [note for one in page.dispatches for note in one.notes] + list(page.explanation.notes)
    unique = list(dict.fromkeys(line.removeprefix("* ").removeprefix("! ") for line in lines))
    return limited(unique, _MOST_DOUBTS)


def _dispatch(one: DispatchDocument) -> dict[str, Any]:
    rows = [turn_cells(row) for row in one.turns]
    words = [head for head in TURN_HEADS if head in WORD_HEADS or head == "turn"]
    order = sorted(range(len(TURN_HEADS)), key=lambda at: TURN_HEADS[at] not in words)
    used = [at for at in order if any(cells[at] for cells in rows)]
    totals = one.totals
    return {
        "heading": f"{one.started.task}: turn by turn",
        "word_heads": sum(TURN_HEADS[at] in words for at in used),
        "time_heads": ["where the time went", "took", "of all"],
        "times": [
            [name, seconds(value / 1e9), share(value / totals.wall_ns if totals.wall_ns else None)]
            for name, value in (
                ("prefill", totals.prefill_ns), ("decode", totals.decode_ns), ("tools", totals.tool_ns),
                ("harness and the rest", totals.overhead_ns), ("all", totals.wall_ns),
            )
            if value is not None
        ],
        "detections": [(found.code, found.evidence) for found in one.detections],
        "final_message": one.final_message,
        "changed_files": one.changed_files,
        "turn_heads": [TURN_HEADS[at] for at in used],
        "turns": [[cells[at] for at in used] for cells in rows[:_MOST_TURNS]],
        "left_out": max(0, len(rows) - _MOST_TURNS),
    }  # fmt: skip


def _settings(page: RunPage) -> dict[str, Any]:
    """The levers in force; with several dispatches those in which they differ apart."""
    levers: Sequence[dict[str, Any]] = [one.started.levers for one in page.dispatches]
    if not levers:
        plain = {key: value for key, value in page.info.settings.items() if key != "sessions"}
        return {"differing_heads": [], "differing": [], "settings": _pairs({**plain, **page.info.facts.settings})}
    names = list(dict.fromkeys(name for one in levers for name in one))
    differing = [name for name in names if len({repr(one.get(name)) for one in levers}) > 1]
    shown = page.dispatches[:_MOST_DISPATCHES]
    rows = [[name, *(_word(one.started.levers.get(name)) for one in shown)] for name in differing]
    same = {name: levers[0].get(name) for name in names if name not in differing}
    heads = ["lever", *(one.started.dispatch_id for one in shown)]
    return {"differing_heads": heads, "differing": rows, "settings": _pairs({**same, **page.info.facts.settings})}


def _pairs(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, _word(value)) for name, value in values.items()]


def _word(value: Any) -> str:
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value) or "none"


def _environment(page: RunPage) -> list[tuple[str, str]]:
    facts, machine = page.info.facts, page.info.machine
    named = {
        "engine": f"{facts.engine} {facts.build or ''}".strip(), "model": facts.model,
        "architecture": facts.architecture, "quant": facts.quant, "target": page.info.target,
        "context": None if facts.context_tokens is None else f"{facts.context_tokens:,} tokens",
        "slots": facts.slots, "cache": facts.cache_kind, "system": machine.system, "processor": machine.cpu,
        "cores": f"{machine.cores_physical or UNKNOWN} physical, {machine.cores_logical or UNKNOWN} logical",
        "memory": size(machine.memory_bytes), "GPU": ", ".join(machine.gpus) or None,
    }  # fmt: skip
    told = [(name, str(value)) for name, value in named.items() if value is not None]
    return told + [(name, version) for name, version in page.info.versions.items()]


def _guards(page: RunPage) -> list[str]:
    """What the watcher saw, by code, and what the server does not report."""
    codes = [code for mark in page.timeline.requests for code in mark.doubts]
    seen = [f"{code.replace('_', ' ')}: during {codes.count(code)} requests" for code in dict.fromkeys(codes)]
    return [*seen, *(guard.text for guard in page.cache.doubts), *server_lines(page.cache)]


def _footer(page: RunPage) -> str:
    clocks = {"engine": "the engine’s own prefill times", "ttft": "times to the first token"}
    explained = page.explanation
    priced = "Nothing here tells the price of a token"
    if explained.priced_by is not None:
        priced = f"Tokens priced by {clocks[explained.priced_by]} of {explained.priced_from_requests} requests"
    memory = "; ".join(memory_lines(page.cache.residency)) or "memory was not read"
    return f"{priced} · {memory} · dyno explain {page.info.run_id}"
