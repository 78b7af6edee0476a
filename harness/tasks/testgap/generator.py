"""Leaves four gaps in the tests of a service, and writes the task around it: to fill them with tests that kill mutants.

The boot guard, whose settings are read at import, is always one of them; the other three are drawn by the seed from
those that the domain has. What is not left out stays in the tests as it is. Nothing is run here: that the mutants of a
gap survive without its tests, and die with them, was measured, and a test measures it again.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from harness.tasks.base import Baselines, Harness, Tests
from harness.tasks.draft import Draft, write_draft
from harness.tasks.testgap.service import Gap, Service, gaps_of, make_service
from harness.tasks.testgap.template import GAP_PLACE
from harness.tasks.testgap.trajectories import OpenGap, trajectories

__all__ = ["FEWEST_MUTANTS", "GAPS", "MUTANTS_PER_GAP", "PAUSE_S", "build", "draw"]

GAPS = 4
MUTANTS_PER_GAP = 6
FEWEST_MUTANTS = 3
PAUSE_S = 0.7
"""How long a slow test sleeps; the whole suite sleeps nine times as long."""

_TRICKY = "guard"
_VERIFIER = Path(__file__).parent / "assets" / "verify.py.txt"
_RULES = """Rules:

- Add and change files in `tests/` alone. `{package}/` and `tests/conftest.py` must stay as they are.
- All tests must pass on the code as it is. A test is worth something if it fails once the code is made wrong.
- Keep to the way in which the tests around yours are written. No new dependencies, no sleeping.

When you are done, submit with a short summary of what you tested.
"""


def build(instance: str, seed: int, folder: Path) -> None:
    """Write the task's folder."""
    service = make_service(instance.rpartition("-")[0], PAUSE_S)
    chosen = draw(Random(f"{instance}:{seed}"), service)
    gaps = [OpenGap(f"gap-{number}", place, _marker(number, gap), gap) for number, (place, gap) in enumerate(chosen, 1)]
    markers = {gap.gap.name: gap.marker for gap in gaps}
    tests = {path: _with_gaps(text, service, markers) for path, text in service.tests.items()}
    whole = {path: _with_gaps(text, service, {}) for path, text in service.tests.items()}
    mutants = [
        {"gap": gap.number, "file": mutant.file, "before": mutant.before, "after": mutant.after}
        for gap in gaps
        for mutant in gap.gap.mutants
    ]
    write_draft(
        Draft(
            name=f"testgap/{instance}",
            title=f"four gaps in the tests of {service.title}",
            seed=seed,
            difficulty="medium",
            harness=_harness(service, gaps),
            instructions=_instructions(service, gaps),
            verifier=_VERIFIER.read_text(encoding="utf-8"),
            solution={gap.path: whole[gap.path] for gap in gaps},
            trajectories=trajectories(service, tests, gaps),
            workspace={"README.md": service.readme, **service.sources, **tests},
            hidden={"mutants.json": json.dumps(mutants, indent=1) + "\n"},
            verifier_timeout_s=300.0,
        ),
        folder,
    )


def draw(random: Random, service: Service) -> list[tuple[str, Gap]]:
    """Four gaps with the files that they are in, in the order of the files, each with the mutants that are run.

    A mutant that tests of another gap kill is run only if that gap is open too: what is left of the tests must leave
    every mutant alive. A draw that leaves a gap too few is drawn again.
    """
    others = [name for name in service.gaps if name != _TRICKY]
    while True:
        random.shuffle(others)
        chosen = {_TRICKY, *others[: GAPS - 1]}
        closed = service.gaps.keys() - chosen
        drawn: list[tuple[str, Gap]] = []
        for name, path in gaps_of(service).items():
            if name in chosen:
                mutants = [mutant for mutant in service.gaps[name].mutants if closed.isdisjoint(mutant.also)]
                random.shuffle(mutants)
                gap = msgspec.structs.replace(service.gaps[name], mutants=tuple(mutants[:MUTANTS_PER_GAP]))
                drawn.append((path, gap))
        if all(len(gap.mutants) >= FEWEST_MUTANTS for _, gap in drawn):
            return drawn


def _marker(number: int, gap: Gap) -> str:
    lines = textwrap.wrap(f"TODO(gap-{number}): {gap.wanted}", 110)
    return "".join(f"# {line}\n" for line in lines)


def _with_gaps(text: str, service: Service, markers: dict[str, str]) -> str:
    """A test file, with a comment in the place of each open gap and the tests in that of the others."""
    parts = GAP_PLACE.split(text)
    places = [markers.get(part) or service.gaps[part].tests for part in parts[1::2]]
    pieces = [piece.strip("\n") for pair in zip(parts[0::2], [*places, ""], strict=True) for piece in pair]
    return "\n\n\n".join(piece for piece in pieces if piece) + "\n"


def _instructions(service: Service, gaps: Sequence[OpenGap]) -> dict[str, str]:
    rules = _RULES.format(package=service.package)
    listed = "\n".join(f"- `{gap.path}`, TODO({gap.number}): {gap.gap.wanted}" for gap in gaps)
    about = f"`{service.package}` is a service for {service.title}, with tests in `tests/`."
    return {
        "": f"{about} Four places in them are marked with TODO. Fill exactly these four gaps:\n\n{listed}\n\n{rules}",
        "open": (
            f"{about} They leave something to be desired. Find out which rules of the service they do not check, and"
            f" improve them.\n\n{rules}"
        ),
        "broad": (
            f"{about} Audit the whole suite. Read every module and every test, judge for each function and each setting"
            " whether its normal cases, its limits and its failures are checked, list what you find, and bring the"
            f" suite to the standard of a service that guards other people's accounts.\n\n{rules}"
        ),
    }


def _harness(service: Service, gaps: Sequence[OpenGap]) -> Harness:
    first = gaps[0]
    return Harness(
        scopes=("bounded", "open", "broad"),
        protected=(
            f"{service.package}/**", "README.md", "**/conftest.py", "pytest.ini", ".pytest.ini", "pyproject.toml",
            "tox.ini", "setup.cfg", "sitecustomize.py", "usercustomize.py",
        ),
        allowed=("tests/**",),
        baseline=Baselines(nop=0.0),
        tests=Tests(
            suite="python -m pytest -q -p no:cacheprovider",
            file="python -m pytest -q -p no:cacheprovider {file}",
            test="python -m pytest -q -p no:cacheprovider {test}",
            names=f"{first.path}::{first.first_test}",
        ),
    )  # fmt: skip
