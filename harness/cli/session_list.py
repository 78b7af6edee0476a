"""List the bundled sessions, and write others from the generator. The work behind `dyno sessions`."""

from __future__ import annotations

import difflib
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from harness.session_maker.generator import KINDS, fewest_turns, generate
from harness.sessions import Session, SessionError, bundled_sessions, write_session
from profiler.report.json_document import print_json


def list_sessions(kinds: list[str], *, json_output: bool) -> None:
    """Print the bundled sessions: name, turns, size of the last request, what each provokes and on which side."""
    _check(kinds)
    chosen = [s for s in bundled_sessions() if not kinds or s.name in kinds]
    if json_output:
        rows = [
            {
                "name": s.name,
                "title": s.title,
                "turns": len(s.turns),
                "largest_request_bytes": _largest_bytes(s),
                "provokes": s.provokes,
                "side": s.side,
            }
            for s in chosen
        ]
        print_json({"sessions": rows})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for head in ("session", "turns", "largest request", "provokes", "side"):
        table.add_column(head, justify="right" if head in ("turns", "largest request") else "left", no_wrap=True)
    for s in chosen:
        table.add_row(s.name, str(len(s.turns)), f"{_largest_bytes(s) / 1000:.1f} kB", s.provokes or "?", s.side or "?")
    Console(highlight=False).print(table)


def write_sessions(folder: Path, kinds: list[str], *, seed: int, turns: int | None, scale: float) -> None:
    """Write generated sessions as `folder/<kind>.jsonl` and print their paths.

    Raises:
        SessionError: an unknown kind, or a folder that cannot be written.
    """
    _check(kinds)
    for kind in kinds or KINDS:
        if turns is not None and turns < fewest_turns(kind):
            hint = f"give --turns {fewest_turns(kind)} or more, or other kinds with --kind"
            raise SessionError(Path(kind), None, f"{turns} turns are too few for this kind", hint)
    bundled_turns = {s.name: len(s.turns) for s in bundled_sessions()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds or KINDS:
            path = folder / f"{kind}.jsonl"
            write_session(generate(kind, seed=seed, turns=turns or bundled_turns[kind], scale=scale), path)
            print(path)
    except OSError as error:
        hint = "give a folder that can be written"
        raise SessionError(folder, None, f"cannot be written: {error.strerror}", hint) from error


def _check(kinds: list[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, 1)
            hint = f"did you mean {near[0]}?" if near else f"kinds: {', '.join(KINDS)}"
            raise SessionError(Path(kind), None, "no such kind of session", hint)


def _largest_bytes(session: Session) -> int:
    return max(len(msgspec.json.encode([turn.messages, turn.tools])) for turn in session.turns)
