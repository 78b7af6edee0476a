"""Writes tasks of `spectree`: an assembled app to specify, the list of what it has, and a scorer of any tree."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from harness.tasks.base import Baselines, Harness, Step
from harness.tasks.draft import Draft, write_draft
from harness.tasks.spectree.app import App, assemble, forbidden_terms
from harness.tasks.spectree.documents import TEMPLATES, Documents
from harness.tasks.spectree.trajectories import trajectories

__all__ = ["build"]

_HERE = Path(__file__).parent
_VERIFIER_FILES = ("tree.py", "matching.py")
_PACKAGE = "from harness.tasks.spectree."

_FORM = """Write the specification with the create, update and delete tools: goals say why, features say what somebody
can do, requirements say what has to hold, each below its parent. The files are made for you in `speclan/`; the answer
names the id, and what comes below is created with that id as its parent. Give every goal, feature and requirement a
body in your own words. Describe what the code does and nothing that it does not do, and leave the code as it is.

When the tree is complete, submit, and say how many goals, features and requirements there are.
"""


def build(instance: str, seed: int, folder: Path) -> None:
    """Write the task's folder. An instance is a kind of app and a number (`habits-1`), which draws other features."""
    app = assemble(instance.rpartition("-")[0], Random(f"{instance}:{seed}"))
    steps = trajectories(app)
    write_draft(
        Draft(
            name=f"spectree/{instance}",
            title=f"specify {app.title} from its code, {instance}",
            seed=seed,
            difficulty="hard",
            harness=_HARNESS,
            instructions=_instructions(app),
            verifier=_alone("score.py"),
            beside={name: _alone(name) for name in _VERIFIER_FILES},
            solution={},
            trajectories=steps,
            workspace=app.files,
            hidden={"planted.json": _planted(app)},
        ),
        folder,
    )
    _write_solution(steps["oracle"], folder / "solution" / "files")


def _alone(name: str) -> str:
    """A module of the scorer as a file that needs no package around it."""
    return (_HERE / name).read_text(encoding="utf-8").replace(_PACKAGE, "from ")


def _planted(app: App) -> str:
    features = [
        {
            "key": feature.key,
            "title": feature.title,
            "evidence": [feature.file],
            "keywords": feature.keywords,
            "requirements": [
                {"title": requirement.title, "keywords": requirement.keywords} for requirement in feature.requirement
            ],
        }
        for feature in app.features
    ]
    held = {"schema": 1, "app": app.name, "features": features, "forbidden": forbidden_terms()}
    return json.dumps(held, ensure_ascii=False, indent=1) + "\n"


def _write_solution(steps: tuple[Step, ...], folder: Path) -> None:
    """The tree that the oracle's calls make."""
    documents = Documents(folder)
    for step in steps:
        for made in step.calls:
            if made.name.startswith("create_"):
                documents.create(made.name.removeprefix("create_"), **made.arguments)


def _instructions(app: App) -> dict[str, str]:
    listed = "\n".join(f"- `{feature.file}`" for feature in app.features)
    return {
        "": (
            f"Infer a specification of this app, {app.title}, from its code.\n\nWhat it can do is in these modules, one"
            f" feature in each; everything else only holds them together:\n\n{listed}\n\nRead each of them, then write"
            f" a goal for each purpose that you see, a feature for each module, and two or three requirements below it"
            f" with the limits and rules that the code shows.\n\n{_FORM}"
        ),
        "open": f"Infer a specification of the app in this folder from its code.\n\n{_FORM}",
        "broad": (
            "Infer everything that can be said about the product in this folder: its vision (write_vision), its goals,"
            " all of its features down to the last detail, and every requirement that its code meets."
            f"\n\n{_FORM}"
        ),
    }


_HARNESS = Harness(
    scopes=("bounded", "open", "broad"),
    tools=("read", "list", "grep", "write", "submit"),
    toolset="spectree",
    protected=("README.md", "main.py", "core/**", "ui/**"),
    allowed=("speclan/**",),
    placeholders=tuple(TEMPLATES.values()),
    baseline=Baselines(nop=0.0),
)
