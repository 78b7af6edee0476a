"""`dyno ab` and `dyno aa` by the command line, and what they print, read. What they tell on the way goes to stderr."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiler.ab_document import AbDocument

ROOT = Path(__file__).parents[2]


def experiment(words: Sequence[str], runs: Path) -> AbDocument:
    """Do one and read its document. Raises SystemExit where the command does not end with success."""
    return msgspec.json.decode(_dyno([*words, "--json"], runs), type=AbDocument)


def as_shown(document: AbDocument, runs: Path) -> str:
    """The report of an experiment that has ended, as its user sees it."""
    return _dyno([document.kind, "--resume", document.experiment], runs)


def _dyno(words: Sequence[str], runs: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words, "--runs", str(runs)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"dyno {' '.join(words)} ended with {done.returncode}: {done.stdout[-500:]}")
    return done.stdout


def rounded(value: float | None, digits: int = 3) -> float | None:
    """A figure for a result file."""
    return None if value is None else round(value, digits)
