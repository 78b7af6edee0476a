"""From a stored run with agents to the documents of its dispatches. Prints them where that is asked for."""

from __future__ import annotations

from pathlib import Path

from profiler.dispatch_document import DispatchDocument, dispatch_document
from profiler.dispatch_store import StoredDispatch, dispatch_folder, holds_dispatches, read_dispatches
from profiler.findings import Findings, find, findings_in
from profiler.guards import judge
from profiler.records import Guard
from profiler.report.dispatch import print_dispatch
from profiler.report.json_document import print_json
from profiler.store import StoredRun, read_run

__all__ = ["dispatch_documents", "documents_of", "print_dispatches"]


def dispatch_documents(path: Path) -> tuple[DispatchDocument, ...]:
    """The documents of all dispatches of the run in folder `path`; none for a run without agents.

    Raises:
        StoreError: the run cannot be read.
    """
    if not holds_dispatches(path):
        return ()
    run = read_run(path)
    # Once for all of them: it reads every prompt of the run.
    return documents_of(path, run, find(path, run))


def documents_of(path: Path, run: StoredRun, found: Findings) -> tuple[DispatchDocument, ...]:
    """The documents of all dispatches of a run that was read, and of what it was found to have lost."""
    stored, notes = read_dispatches(path)
    return tuple(_document(run, found, one, (*run.notes, *notes)) for one in stored)


def print_dispatches(path: Path, *, json_output: bool) -> None:
    """Print the report of every dispatch of a run, or all as one JSON object; one alone is that object itself."""
    documents = dispatch_documents(path)
    if json_output and len(documents) != 1:
        print_json({"dispatches": documents})
        return
    for document in documents:
        print_dispatch(document, dispatch_folder(path, document.started.dispatch_id), json_output=json_output)


def _document(run: StoredRun, found: Findings, stored: StoredDispatch, notes: tuple[str, ...]) -> DispatchDocument:
    name = stored.started.dispatch_id
    requests = [record for record in run.requests if record.session == name]
    lost, doubts = findings_in(found, name), _doubts(run, stored)
    return dispatch_document(run.info.run_id, stored, requests, lost, doubts=doubts, notes=notes)


def _doubts(run: StoredRun, stored: StoredDispatch) -> tuple[Guard, ...]:
    if not stored.turns or not run.guards:
        return ()
    return tuple(judge(run.guards, (stored.started.started_ns, stored.turns[-1].ended_ns)))
