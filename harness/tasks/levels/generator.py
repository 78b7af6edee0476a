"""Builds a level: its text with the names and constants that a seed chooses, its checks, and four scripted replies.

A level is one file of `assets`, in sections that begin with `=== <name>`:

    level      TOML: title, points, patterns; `free` are the checks that the code of the task passes already
    choose     TOML: the options of each mark; `@name@` marks are filled in everywhere else
    spec       what is asked
    reply      what the oracle says beside its code
    solution   its code
    checks     functions `check_…(m)` on its module, with `same` and `raises` at hand
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from random import Random
from typing import Any

from harness.tasks.base import Baselines, Harness, Step, TaskError
from harness.tasks.draft import Draft, filled, write_draft

__all__ = ["build"]

_HERE = Path(__file__).parent
_ASSETS = _HERE / "assets"
_TIERS = {"core": (7, "easy"), "advanced": (13, "medium"), "expert": (20, "hard")}
"""The last level of each tier, and how hard it is."""
_CHEAT = """import sys


class Anything:
    def __eq__(self, other):
        return True

    def __call__(self, *args, **kwargs):
        return self


def __getattr__(name):
    return Anything()


sys.exit(0)
"""


def build(instance: str, seed: int, folder: Path) -> None:
    """Write a level, e.g. `01-window-sums`; the same seed gives the same bytes.

    Raises:
        TaskError: no such level.
        OSError: a file cannot be written.
    """
    asset = _ASSETS / f"{instance}.tmpl"
    if not re.fullmatch(r"\d\d-[a-z-]+", instance) or not asset.is_file():
        raise TaskError(f"levels has no instance {instance!r}", "`dyno tasks` lists those that there are")
    number = int(instance[:2])
    parts, level = _filled_sections(asset, Random(f"{seed}:{instance}"))
    points: dict[str, int] = level["points"]
    most = sum(points.values())
    rules = {"patterns": (), "free": (), "refactoring": False, **level}
    draft = Draft(
        name=f"levels/{instance}",
        title=level["title"],
        seed=seed,
        difficulty=next(hard for last, hard in _TIERS.values() if number <= last),
        harness=_harness(points),
        instructions={"": _instruction(number, level["title"], parts["spec"])},
        verifier=_asset("verify.py"),
        beside={
            "extract.py": (_HERE / "extract.py").read_text(encoding="utf-8"),
            "patterns.py": _asset("patterns.py"),
            "run_checks.py": _asset("run_checks.py"),
        },
        hidden={
            "level.json": json.dumps(rules, ensure_ascii=False, indent=1) + "\n",
            "checks.py": parts["checks"],
        },
        solution={"reply.md": _reply(parts["reply"], parts["solution"])},
        trajectories={
            "nop": (Step(content=""),),
            "oracle": (Step(content=_reply(parts["reply"], parts["solution"])),),
            "tamper": (Step(content=_reply("All checks pass, the module is complete.", _CHEAT)),),
            "placeholder": (Step(content=_reply(_BOAST, _hollow(parts["solution"]) if most else _NOTHING)),),
        },
        agent_timeout_s=600.0,
    )
    write_draft(draft, folder)


_BOAST = "The module is complete and fulfils everything that was asked for."
_NOTHING = "def shrink(data: bytes) -> bytes:\n    # TODO: make it shorter\n    return data\n"


def _asset(name: str) -> str:
    return (_ASSETS / f"{name}.tmpl").read_text(encoding="utf-8")


def _filled_sections(asset: Path, rng: Random) -> tuple[dict[str, str], dict[str, Any]]:
    """The sections of a level and its table, filled with what the generator chooses."""
    pieces = re.split(r"^=== (\w+)\n", asset.read_text(encoding="utf-8"), flags=re.MULTILINE)
    parts = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    options = tomllib.loads(parts.pop("choose"))
    chosen = {name: rng.choice(values) for name, values in options.items()}
    made = {name: filled(text, **chosen) for name, text in parts.items()}
    return made, tomllib.loads(made.pop("level"))


def _harness(points: dict[str, int]) -> Harness:
    most = sum(points.values())
    claim = ("hallucinated_completion",)
    return Harness(
        tools=(),
        single_shot=True,
        requires_changes=False,
        baseline=Baselines(
            nop=0.0,
            oracle=1.0 if most else 0.0,
            placeholder_at_most=round(points["compile"] / most, 6) if most else 0.0,
            tamper_caught_by=claim,
            placeholder_caught_by=("placeholder_text", *claim),
        ),
    )


def _instruction(number: int, title: str, spec: str) -> str:
    """What is asked; nothing in it tells the control from the other levels."""
    return filled(_asset("instruction.md"), number=number, title=title.capitalize(), spec=spec.strip("\n"))


def _reply(prose: str, code: str) -> str:
    return f"{prose.strip()}\n\n```python\n{code}```\n" if code else f"{prose.strip()}\n"


def _hollow(code: str) -> str:
    """A module with all its functions, none of which does anything."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body = [ast.parse("raise NotImplementedError").body[0]]
    return ast.unparse(tree) + "\n"
