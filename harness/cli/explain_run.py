"""From a stored run to its explanation. The flow behind `dyno explain` and `dyno check`; prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from profiler.explanation import ExplainDocument, explain
from profiler.findings import find
from profiler.records import RequestRecord
from profiler.run_names import UnknownRun
from profiler.store import StoredRun, read_run


def explanation_of(path: Path, *, worst: int = 5, sessions: Sequence[str] | None = None) -> ExplainDocument:
    """The explanation of the run in folder `path`, of some of its sessions or of all. Raises as `explained` does."""
    return explained(path, worst=worst, sessions=sessions)[0]


def explained(
    path: Path, *, worst: int = 5, sessions: Sequence[str] | None = None
) -> tuple[ExplainDocument, list[RequestRecord]]:
    """The explanation of a run, or of some of its sessions, and the requests that it is about.

    Raises:
        UnknownRun: it has no such session.
        StoreError: the run cannot be read.
    """
    stored = read_run(path)
    known = list(dict.fromkeys(record.session for record in stored.requests))
    missing = next((name for name in sessions or () if name not in known), None)
    if missing is not None:
        raise UnknownRun(f"the run {path.name} has no session {missing!r}", hint=f"its sessions: {', '.join(known)}")
    records = [r for r in stored.requests if not sessions or r.session in sessions]
    found = find(path, stored, sessions=frozenset(sessions) if sessions else None)
    notes = explained_notes(path, stored, records)
    return explain(stored.info, records, found, worst=worst, notes=notes), records


def explained_notes(path: Path, stored: StoredRun, records: Sequence[RequestRecord]) -> tuple[str, ...]:
    """What an explanation of these requests of the run in folder `path` lacks, a line each."""
    notes = list(stored.notes)
    if stored.requests and not (path / "prompts.zst").exists():
        notes.append("this run is from before prompts were kept: what changed in them cannot be shown; measure again")
    unknown = sum(r.verdict.cache_class == "unknown" for r in records)
    if unknown:
        notes.append(f"{unknown} of {len(records)} requests cannot be judged: the server does not say what it reused")
    return tuple(notes)
