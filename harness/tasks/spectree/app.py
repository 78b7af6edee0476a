"""Assembles a small local-first app from authored blocks: what it can do is known, because it was put together.

Every app has the same frame (`blocks/base.toml`), the four features of its kind (`blocks/<kind>.toml`) and six of those
that any app may have (`blocks/generic.toml`), two for each goal, drawn by the seed. Writes nothing.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from backends.base import JsonObject

__all__ = ["KINDS", "App", "Feature", "Goal", "Requirement", "assemble", "forbidden_terms"]

KINDS = ("sketchpad", "recipes", "habits", "zones", "flashcards", "plants")
_BLOCKS = Path(__file__).parent / "blocks"
_DRAWN_PER_GOAL = 2
_GOALS = {
    "safety": ("Nothing is ever lost", "Whatever somebody does or whatever breaks, no <<noun>> is lost."),
    "speed": ("Everything is reached quickly", "With many <<nouns>>, the right one is found and opened in a moment."),
    "portable": ("The data is the owner's", "All <<nouns>> can leave the app for paper or another program, and back."),
}


class Requirement(msgspec.Struct, frozen=True):
    """What a feature has to do. `keywords` are groups of which a text that names it has one each."""

    title: str
    body: str
    keywords: tuple[tuple[str, ...], ...]


class Feature(msgspec.Struct, frozen=True):
    """A planted feature: which goal it serves, its words, the file that holds it, and its requirements."""

    key: str
    goal: str
    title: str
    body: str
    file: str
    command: str
    keywords: tuple[tuple[str, ...], ...]
    code: str
    requirement: tuple[Requirement, ...]


class Goal(msgspec.Struct, frozen=True):
    """Why some features are there."""

    key: str
    title: str
    body: str


class App(msgspec.Struct, frozen=True):
    """An assembled app: its files as texts by relative path, its goals, and its features in order of their goals."""

    name: str
    title: str
    files: dict[str, str]
    goals: tuple[Goal, ...]
    features: tuple[Feature, ...]


def assemble(kind: str, random: Random) -> App:
    """An app of a kind; equal states of `random` give equal apps.

    Raises:
        KeyError: there is no such kind.
    """
    if kind not in KINDS:
        raise KeyError(kind)
    own = _read(kind)
    names: dict[str, str] = own["app"]
    generic = [_feature(table, names) for table in _read("generic")["feature"]]
    features = [_feature(table, names) for table in own["feature"]]
    for goal in _GOALS:
        among = [feature for feature in generic if feature.goal == goal]
        drawn = random.sample(among, _DRAWN_PER_GOAL)
        features += [feature for feature in among if feature in drawn]
    goals = [Goal("craft", own["goal"]["title"], own["goal"]["body"])]
    goals += [Goal(key, title, _filled(body, names)) for key, (title, body) in _GOALS.items()]
    files = {table["path"]: _filled(table["text"], {**names, **_wiring(features)}) for table in _read("base")["file"]}
    files |= {feature.file: feature.code.lstrip("\n") for feature in features}
    return App(names["app"], names["title"], files, tuple(goals), tuple(features))


def forbidden_terms() -> tuple[str, ...]:
    """What none of the apps has, and what is often made up for one."""
    lines = (_BLOCKS / "forbidden.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _wiring(features: list[Feature]) -> dict[str, str]:
    """The lines of `main.py` that name the parts with a command."""
    parts = [(feature.command, Path(feature.file).stem) for feature in features if feature.command]
    imports = ", ".join(sorted(module for _, module in parts))
    return {
        "imports": f"from core import {imports}",
        "parts": "\n".join(f'    "{command}": {module},' for command, module in parts),
    }


def _feature(table: JsonObject, names: dict[str, str]) -> Feature:
    # Filled in as JSON: the words go into texts and keywords alike, and none of them needs an escape.
    return msgspec.json.decode(_filled(msgspec.json.encode(table).decode(), names), type=Feature)


def _filled(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"<<{name}>>", value.strip("\n"))
    return text.lstrip("\n")


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_BLOCKS / f"{name}.toml").read_text(encoding="utf-8"))
