"""The documents say what is there: folders, commands with options, settings, make targets, links, changes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import msgspec
import pytest

from backends import engine_names, load

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
NOT_SOURCE = {"__pycache__", "build", "dist", "runs"}


def text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def code(document: str) -> list[str]:
    """Every line of the fenced blocks, without its prompt, and every piece of inline code."""
    fence = r"^```[a-z]*\n(.*?)^```"
    blocks = re.findall(fence, document, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(fence, "", document, flags=re.MULTILINE | re.DOTALL))
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [*lines, *inline]


def commands(program: str) -> list[tuple[str, str]]:
    found = (
        (name(file), line)
        for file in DOCUMENTS
        for line in code(text(file))
        if line == program or line.startswith(program + " ")
    )
    return list(dict.fromkeys(found))


@cache
def shown_help(*words: str) -> str:
    """What `dyno WORDS --help` prints; an unknown command fails here."""
    run = [sys.executable, "-c", "from harness.cli import main; main()", *words, "--help"]
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(run, env=environment, check=False, capture_output=True, text=True)
    assert shown.returncode == 0, f"dyno {' '.join(words)}: {shown.stderr.splitlines()[-1:]}"
    return shown.stdout


def shown_commands() -> set[str]:
    """The names in the list of commands of `dyno --help`."""
    _, _, listed = shown_help().partition("Commands")
    return set(re.findall(r"^[│|] ([a-z][a-z-]*)  ", listed, re.MULTILINE))


def tree_of(readme: str) -> set[str]:
    """The paths in the README's tree: two spaces a level, folders end in `/`."""
    section = readme.partition("\n## Files\n")[2].partition("\n## ")[0]
    found: set[str] = set()
    parents: list[str] = []
    for line in re.findall(r"^```text\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0].splitlines():
        entry = line.split()[0]
        parents = [*parents[: (len(line) - len(line.lstrip())) // 2], entry]
        found.add("".join(parents))
    return found


def test_the_tree_of_the_readme_is_the_real_one() -> None:
    def folders(place: Path) -> list[Path]:
        """Folders with a file somewhere inside: git keeps no others."""
        return [
            folder
            for folder in sorted(place.iterdir())
            if folder.is_dir()
            and folder.name not in NOT_SOURCE
            and not folder.name.startswith(".")
            and any(file.is_file() and "__pycache__" not in file.parts for file in folder.rglob("*"))
        ]

    real = {f"{name(folder)}/" for folder in folders(ROOT)}
    for parent in ("backends", "profiler", "harness", "profiles"):
        real |= {f"{name(folder)}/" for folder in folders(ROOT / parent)}
    real |= {"Makefile", "pyproject.toml", "constraints.txt"}
    assert tree_of(text(ROOT / "README.md")) == real


@pytest.mark.parametrize(("document", "line"), commands("dyno"))
def test_a_written_command_is_a_real_one(document: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command = [] if not words or words[0].startswith("-") else [words[0]]
    shown = shown_help(*command)
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", shown), f"{document}: {line}: no {option}"


def test_every_command_is_in_the_readme() -> None:
    written = {words[1] for _, line in commands("dyno") if len(words := line.split()) > 1}
    assert shown_commands()
    assert shown_commands() <= written


@pytest.mark.parametrize(("document", "line"), commands("make"))
def test_a_written_make_target_is_a_real_one(document: str, line: str) -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", text(ROOT / "Makefile"), re.MULTILINE))
    written = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
    assert set(written) <= targets, document


def test_every_make_target_has_a_line_of_help() -> None:
    makefile = text(ROOT / "Makefile")
    phony = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)[0].split()
    assert set(phony) == set(re.findall(r"^([a-z]+):.*## \w", makefile, re.MULTILINE))


@pytest.mark.parametrize("engine", engine_names())
def test_every_setting_of_an_engine_is_explained(engine: str) -> None:
    """The table in an engine's section of docs/targets.md lists the fields of its `Options`, all of them."""
    fields = {field.name for field in msgspec.structs.fields(load(engine).Options)}
    section = text(ROOT / "docs" / "targets.md").partition(f"\n## {engine}\n")[2].partition("\n## ")[0]
    rows = [row for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)]
    assert {setting for row in rows for setting in re.findall(r"`(\w+)`", row)} == fields


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text(document))
    broken = [
        link for link in links if not link.startswith(("http://", "https://")) and not (document.parent / link).exists()
    ]
    assert not broken


def test_the_change_log_knows_this_version() -> None:
    changes = text(ROOT / "CHANGELOG.md")
    version = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["version"]
    latest = re.findall(r"^## (.*)", changes, re.MULTILINE)[0]
    assert latest in {"Unreleased", version}
    assert set(re.findall(r"^### (.*)", changes, re.MULTILINE)) <= {"Features", "Bugfixes", "Other"}
