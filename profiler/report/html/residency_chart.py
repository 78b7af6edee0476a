"""Where the memory of the engine was over a whole run: what it must have, file pages, swap, GPU. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from profiler.document import Residency
from profiler.report.html.drawing import WIDTH, Choice, Drawing, altair, drawn, rows
from profiler.report.memory import memory_lines
from profiler.timeline import MemoryMark

__all__ = ["MOST_POINTS", "residency_chart"]

MOST_POINTS: Final = 500
_KINDS: Final = {
    "must have": ("must_have_bytes", "@new"),
    "file pages (can be dropped)": ("file_bytes", "@reused"),
    "resident": ("rss_bytes", "@faint"),
    "swapped out": ("swap_bytes", "@again"),
    "GPU": ("gpu_bytes", "@decode"),
}


def residency_chart(samples: Sequence[MemoryMark], residency: Residency | None) -> Drawing | None:
    """The chart; `None` where memory was not read."""
    step = max(1, -(-len(samples) // MOST_POINTS))
    values = [value for n in range(0, len(samples), step) for value in _highest(samples[n : n + step])]
    # A line at zero says nothing, and its place in the legend would.
    there = {kind for kind in _KINDS if any(value["kind"] == kind and value["bytes"] for value in values)}
    values = [value for value in values if value["kind"] in there]
    if not values:
        return None
    unit, divisor = ("GiB", 2**30) if max(value["bytes"] for value in values) >= 2**30 else ("MiB", 2**20)
    rows_of = [{"t": v["t"], "kind": v["kind"], "size": round(v["bytes"] / divisor, 3)} for v in values]
    shades = {kind: colour for kind, (_, colour) in _KINDS.items() if kind in there}
    notes = (f"{len(samples):,} samples, the highest of every {step} drawn",) if step > 1 else ()
    return Drawing(
        name="residency",
        title="Residency",
        about="; ".join(memory_lines(residency)) or "What the engine’s processes held.",
        said="; ".join(memory_lines(residency)) or "Memory of the engine over the run",
        spec=_spec(shades, unit),
        choices=(Choice("", {"memory": rows_of}),),
        notes=notes,
    )


def _highest(samples: Sequence[MemoryMark]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for kind, (field, _) in _KINDS.items():
        sizes: list[int] = [size for one in samples if (size := getattr(one, field)) is not None]
        if sizes:
            found.append({"t": round(samples[0].at_s, 2), "kind": kind, "bytes": max(sizes)})
    return found


def _spec(shades: dict[str, str], unit: str) -> dict[str, Any]:
    alt = altair()
    lines = rows("memory").mark_line(interpolate="step-after", strokeWidth=2).encode(
        alt.X("t:Q", title="seconds").axis(grid=False, tickCount=10).scale(nice=False),
        alt.Y("size:Q", title=unit).axis(tickCount=5).scale(zero=True),
        color=alt.Color("kind:N", title=None).scale(domain=list(shades), range=list(shades.values())),
        tooltip=["kind:N", alt.Tooltip("t:Q", title="seconds"), alt.Tooltip("size:Q", title=unit)],
    )  # fmt: skip
    return drawn(lines.properties(width=WIDTH, height=180))
