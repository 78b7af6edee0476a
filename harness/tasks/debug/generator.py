"""Plants ten faults in a working todo list, so that exactly 13 of its 35 tests fail; writes the task around it.

Faults are drawn from `assets/faults.toml`: one for each function, no test broken by two of them. Every instance and
seed draws its own ten. Nothing is run here: which tests a fault breaks was measured, and a test measures it again.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from harness.tasks.base import Baselines, Harness, Tests
from harness.tasks.debug.faults import Fault, planted
from harness.tasks.debug.trajectories import fix_notes, trajectories
from harness.tasks.draft import Draft, write_draft

__all__ = ["BUGS", "FAILING", "build", "draw", "faults", "project"]

BUGS = 10
FAILING = 13
_ASSETS = Path(__file__).parent / "assets"
_PROTECTED = (
    "tests/**", "README.md", "**/conftest.py", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg",
    "sitecustomize.py", "usercustomize.py",
)  # fmt: skip
_RULES = """Change the program, not its tests: everything in `tests/` and the README must stay as it is.

When all 35 tests pass, write `FIX_NOTES.md`. Name each function that you repaired and say in a line what was wrong with
it. End the notes with a line `took: N minutes`: how long the whole work took you. Then submit.
"""


class _File(msgspec.Struct):
    fault: tuple[Fault, ...]


def build(instance: str, seed: int, folder: Path) -> None:
    """Write the task's folder."""
    chosen = draw(Random(f"{instance}:{seed}"), faults())
    pristine = project()
    broken = planted(pristine, chosen)
    names = sorted(test for path, text in pristine.items() for test in _tests_in(path, text))
    failing = sorted(name for fault in chosen for name in fault.breaks)
    expected = {
        "failing": failing,
        "passing": [name for name in names if name not in failing],
        "functions": [fault.function for fault in chosen],
    }
    modules = {path: text for path, text in pristine.items() if path.endswith(".py") and "/" not in path}
    write_draft(
        Draft(
            name=f"debug/{instance}",
            title=f"ten planted bugs in a todo list, {instance}",
            seed=seed,
            difficulty="medium",
            harness=_HARNESS,
            instructions=_instructions(failing),
            verifier=(_ASSETS / "verify.py.txt").read_text(encoding="utf-8"),
            solution={**modules, "FIX_NOTES.md": fix_notes(chosen)},
            trajectories=trajectories(pristine, chosen),
            workspace=broken,
            hidden={
                "expected.json": json.dumps(expected, indent=1) + "\n",
                **{path: text for path, text in pristine.items() if path.startswith("tests/")},
            },
        ),
        folder,
    )


def faults() -> tuple[Fault, ...]:
    """All faults that can be planted."""
    held = tomllib.loads((_ASSETS / "faults.toml").read_text(encoding="utf-8"))
    return msgspec.convert(held, _File).fault


def project() -> dict[str, str]:
    """The working project: texts by their relative paths."""
    files = [file for file in _ASSETS.rglob("*.txt") if file.name != "verify.py.txt"]
    return {
        file.relative_to(_ASSETS).as_posix().removesuffix(".txt"): file.read_text(encoding="utf-8")
        for file in sorted(files)
    }


def draw(random: Random, known: Sequence[Fault]) -> tuple[Fault, ...]:
    """Ten faults of ten functions in all four files, whose broken tests do not overlap and are 13."""
    deck = list(known)
    while True:
        random.shuffle(deck)
        chosen: list[Fault] = []
        broken: set[str] = set()
        for fault in deck:
            fits = len(broken) + len(fault.breaks) <= FAILING and broken.isdisjoint(fault.breaks)
            if len(chosen) < BUGS and fits and fault.function not in {other.function for other in chosen}:
                chosen.append(fault)
                broken |= set(fault.breaks)
        if len(chosen) == BUGS and len(broken) == FAILING and len({fault.file for fault in chosen}) == 4:
            return tuple(sorted(chosen, key=lambda fault: (fault.file, fault.function)))


def _tests_in(path: str, text: str) -> list[str]:
    if not path.startswith("tests/"):
        return []
    return [f"{path.removeprefix('tests/')}::{name}" for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)]


def _instructions(failing: Sequence[str]) -> dict[str, str]:
    listed = "\n".join(f"- `tests/{name}`" for name in failing)
    what = "This project, a todo list for the command line, was in order until somebody changed it in ten places."
    return {
        "": f"{what} Repair it.\n\nThese {len(failing)} of its 35 tests fail:\n\n{listed}\n\n{_RULES}",
        "open": f"{what} Some of its 35 tests fail. Find out which, and repair the program.\n\n{_RULES}",
        "broad": (
            f"{what} Review the whole project: read every file and every test, compare the program with its README,"
            f" judge each function, and repair whatever is wrong until the whole suite passes.\n\n{_RULES}"
        ),
    }


_HARNESS = Harness(
    scopes=("bounded", "open", "broad"),
    protected=_PROTECTED,
    notes_file="FIX_NOTES.md",
    baseline=Baselines(nop=0.0),
    tests=Tests(
        suite="python -m pytest -q -p no:cacheprovider",
        file="python -m pytest -q -p no:cacheprovider {file}",
        test="python -m pytest -q -p no:cacheprovider {test}",
        names="tests/test_entry.py::test_intervals",
    ),
)
