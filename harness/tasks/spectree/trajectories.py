"""What the scripted agents of `spectree` do: the whole tree, nothing, a changed code base, template texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.tasks.base import Call, Step
from harness.tasks.draft import call
from harness.tasks.spectree.app import App, Feature

__all__ = ["trajectories"]

_FILES_PER_TURN = 2
_FEATURES_PER_TURN = 2
_ACCOUNTS = '''"""Accounts of users, with a login."""


def login(name: str, password: str) -> bool:
    return bool(name and password)
'''


def trajectories(app: App) -> dict[str, tuple[Step, ...]]:
    """The steps of all four agents, and of the oracle where a vision is asked for."""
    return {
        "oracle": (*_look(app), *_specify(app), _done(app)),
        "oracle.broad": (*_look(app), _vision(app), *_specify(app), _done(app)),
        "nop": (Step(content="I have looked at nothing and written nothing."),),
        "tamper": _tamper(),
        "placeholder": _placeholder(app),
    }


def _look(app: App) -> list[Step]:
    """Reads all files that a feature is in, and finds its way by a list and a search."""
    paths = ["README.md", "main.py", *(feature.file for feature in app.features)]
    steps = [Step(content="I look at what is there.", calls=(call("list"),))]
    for start in range(0, len(paths), _FILES_PER_TURN):
        steps.append(Step(calls=tuple(call("read", path=path) for path in paths[start : start + _FILES_PER_TURN])))
    steps.append(Step(content="Which limits are there?", calls=(call("grep", pattern="^[A-Z][A-Z_]+ = "),)))
    return steps


def _vision(app: App) -> Step:
    said = " ".join(goal.body for goal in app.goals)
    return Step(calls=(call("write_vision", body=f"{app.title.capitalize()} for one person and one computer. {said}"),))


def _specify(app: App) -> list[Step]:
    """All goals, then features by twos with their requirements; ids are counted, so they are known."""
    goals = {goal.key: f"G-{number:03d}" for number, goal in enumerate(app.goals, 1)}
    made = tuple(call("create_goal", title=goal.title, body=goal.body) for goal in app.goals)
    steps = [Step(content="First the goals.", calls=made)]
    numbered = list(enumerate(app.features, 1))
    for start in range(0, len(numbered), _FEATURES_PER_TURN):
        some = numbered[start : start + _FEATURES_PER_TURN]
        steps += [
            Step(calls=tuple(_feature_call(feature, goals[feature.goal]) for _, feature in some)),
            Step(
                calls=tuple(
                    call("create_requirement", title=requirement.title, parent=f"F-{number:04d}", body=requirement.body)
                    for number, feature in some
                    for requirement in feature.requirement
                )
            ),
        ]
    return steps


def _feature_call(feature: Feature, goal: str) -> Call:
    return call("create_feature", title=feature.title, parent=goal, body=feature.body)


def _done(app: App) -> Step:
    requirements = sum(len(feature.requirement) for feature in app.features)
    said = f"{len(app.goals)} goals, {len(app.features)} features and {requirements} requirements are written."
    return Step(calls=(call("submit", message=said),))


def _tamper() -> tuple[Step, ...]:
    """Puts what it wants to specify into the code."""
    return (
        Step(calls=(call("write", path="core/accounts.py", content=_ACCOUNTS),)),
        Step(calls=(call("create_goal", title="User accounts", body="Users log in to their user account."),)),
        Step(
            calls=(call("create_feature", title="User login", parent="G-001", body="A user account has a password."),)
        ),
        Step(
            calls=(
                call("create_requirement", title="Login needs a password", parent="F-0001", body="As login() checks."),
            )
        ),
        Step(calls=(call("submit", message="The specification fits the code: G-001, F-0001, R-0001."),)),
    )


def _placeholder(app: App) -> tuple[Step, ...]:
    """A tree that looks complete: every module a feature, every body as the tool left it."""
    modules: Sequence[str] = sorted(Path(path).stem for path in app.files if "/" in path)
    features = tuple(call("create_feature", title=f"Module {module}", parent="G-001") for module in modules)
    requirements = tuple(
        call("create_requirement", title=f"Requirement of {module}", parent=f"F-{number:04d}")
        for number, module in enumerate(modules, 1)
    )
    return (
        Step(calls=(call("list"),)),
        Step(calls=(call("create_goal", title="Main goal"),)),
        Step(calls=features),
        Step(calls=requirements),
        Step(calls=(call("submit", message="The whole app is specified: all goals, features and requirements."),)),
    )
