"""Runs in order of time with their key figures, each against the earlier runs that it can be compared with. Pure.

Comparable is what did the same work under the same setting, with every fact equal that must be
(`harness.history.facts`), and came to its end. Facts that are named in `although` may differ: so a new build is seen
against the old one, and is said to be that.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from harness.history.errors import QueryError
from harness.history.facts import check_words, exempt
from profiler.history_document import SCHEMA, FigureRow, HistoryDocument, HistoryRow

__all__ = ["FIGURES", "QUESTION", "history_of"]

FIGURES: Final = (
    "cached_share", "lost_s", "lost_tokens", "prefill_tokens_per_s", "decode_tokens_per_s", "ttft_s",
    "time_to_success_s", "passed_share", "peak_memory_bytes",
)  # fmt: skip
"""What `--metric` names: columns of `runs`, and `passed_share`, the passed of the verified dispatches."""

USUAL: Final = ("cached_share", "lost_s", "prefill_tokens_per_s", "decode_tokens_per_s", "ttft_s", "peak_memory_bytes")

_SHOWN: Final = (
    "run", "started_at", "status", "target", "engine", "build", "model", "quant", "fidelity", "setting", "requests",
    "errors", "dispatches", "verified", "passed",
)  # fmt: skip
_ASKED: Final = (*_SHOWN, "work", "facts", *(name for name in FIGURES if name != "passed_share"))
QUESTION: Final = f"SELECT {', '.join(_ASKED)} FROM runs ORDER BY started_at, run"
"""What is asked of the tables; `history_of` takes the rows."""


def history_of(
    rows: Iterable[Sequence[Any]],
    *,
    model: str | None = None,
    target: str | None = None,
    metrics: Sequence[str] = (),
    although: Sequence[str] = (),
    last: int | None = None,
    unkept: int = 0,
    notes: Sequence[str] = (),
) -> HistoryDocument:
    """The document of the answer to `QUESTION`.

    `model` and `target` are parts of their names, or patterns with `*`.

    Raises:
        QueryError: there is no such metric.
        PlanError: there is no such fact.
    """
    wanted = metrics or USUAL
    unknown = next((name for name in wanted if name not in FIGURES), None)
    if unknown is not None:
        raise QueryError(f"there is no metric {unknown!r}", hint=f"metrics: {', '.join(FIGURES)}")
    runs = [dict(zip(_ASKED, row, strict=True)) for row in rows]
    facts = [_facts(run["facts"]) for run in runs]
    check_words(although, facts)
    earlier: dict[str, list[dict[str, Any]]] = {}
    shown: list[HistoryRow] = []
    for run, fact in zip(runs, facts, strict=True):
        run["passed_share"] = run["passed"] / run["verified"] if run["verified"] else None
        before = earlier.setdefault(_key(run, fact, although), [])
        if _means(model, run["model"]) and _means(target, run["target"]):
            shown.append(_row(run, tuple(_figure(name, run[name], [one[name] for one in before]) for name in wanted)))
        if run["status"] == "complete":
            before.append(run)
    return HistoryDocument(
        schema=SCHEMA,
        runs=tuple(shown[-last:] if last else shown),
        runs_in_all=len(shown),
        although=tuple(although),
        unkept=unkept,
        notes=tuple(notes),
    )


def _row(run: Mapping[str, Any], figures: tuple[FigureRow, ...]) -> HistoryRow:
    began = run["started_at"]
    said: dict[str, Any] = {name: run[name] for name in _SHOWN if name != "started_at"}
    at = began.isoformat(timespec="seconds") + "Z" if isinstance(began, datetime) else None
    return HistoryRow(**said, started_at=at, figures=figures)


def _figure(name: str, value: float | None, earlier: Iterable[float | None]) -> FigureRow:
    known = [one for one in earlier if one is not None]
    if value is None or not known:
        return FigureRow(name, value, len(known), None, None, None, None, None)
    median, low, high = statistics.median(known), min(known), max(known)
    ratio = value / median if median > 0 else None
    return FigureRow(name, value, len(known), median, low, high, ratio, not low <= value <= high)


def _key(run: Mapping[str, Any], facts: Mapping[str, Any], although: Sequence[str]) -> str:
    """Equal for runs that can be compared."""
    held = {name: value for name, value in facts.items() if not although or exempt(name, although) is None}
    return msgspec.json.encode([run["work"], run["setting"], held], order="deterministic").decode()


def _facts(text: str | None) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any]) if text else {}


def _means(pattern: str | None, name: str | None) -> bool:
    if pattern is None:
        return True
    words = pattern.casefold()
    return name is not None and fnmatchcase(name.casefold(), words if "*" in words else f"*{words}*")
