"""Task folders for tests: texts by their relative paths, and the smallest task that can be verified."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.tasks.base import Harness
from harness.tasks.draft import Draft, write_draft

SHELL_VERIFIER = """import os, subprocess, sys
sys.exit(subprocess.run(["sh", "-c", {script!r}], env=os.environ).returncode)
"""


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write texts by their relative paths; folders are made as needed."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def draft(harness: Harness, script: str = "true") -> Draft:
    """A task whose verifier is a shell script, with one file to change and one test."""
    return Draft(
        name="sums/one", title="a “title”", seed=9, difficulty="easy", harness=harness, verifier_timeout_s=5.0,
        instructions={"": "Write a number."}, verifier=SHELL_VERIFIER.format(script=script), solution={},
        trajectories={}, hidden={"expected.txt": "1"},
        workspace={"answer.txt": "0", "tests/test_it.py": "assert True\n"},
    )  # fmt: skip


def write_task(folder: Path, harness: Harness, script: str = "true") -> None:
    """Write that task."""
    write_draft(draft(harness, script), folder)
