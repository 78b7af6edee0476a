"""Writes tasks of `ctxgrow`: files to read one after the other, a seal in each, so that a history grows to a size.

An instance is a size and a number (`16k-2`). The size is that of the oracle's last prompt under the default setting,
in tokens of the bundled model: `16k` is 95 % of 16 384, so that a context of that size holds it with the reply. The
numbers of lines were measured with its tokenizer, and a test measures them again. Tokenizers with larger vocabularies
make about 0.6 as many tokens of the same text: docs/tasks.md has the bytes.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from harness.tasks.base import Baselines, Harness, Step
from harness.tasks.draft import Draft, call, write_draft

__all__ = ["SIZES", "Size", "build"]

_ASSETS = Path(__file__).parent / "assets"
_ANSWER = "facts.txt"


class Size(msgspec.Struct, frozen=True):
    """How much there is to read: so many files of so many lines, and how many of them are read in a call."""

    tokens: int
    files: int
    lines: int
    lines_per_read: int


SIZES = {
    "8k": Size(8_192, 4, 48, 24),
    "16k": Size(16_384, 6, 70, 35),
    "32k": Size(32_768, 8, 112, 56),
    "64k": Size(65_536, 12, 152, 76),
    "128k": Size(131_072, 16, 232, 116),
}


class _File(msgspec.Struct, frozen=True):
    path: str
    text: str
    name: str
    seal: str


def build(instance: str, seed: int, folder: Path) -> None:
    """Write the task's folder."""
    size = SIZES[instance.partition("-")[0]]
    files = _files(size, Random(f"{instance}:{seed}"))
    answer = "".join(f"{file.name}: {file.seal}\n" for file in files)
    write_draft(
        Draft(
            name=f"ctxgrow/{instance}",
            title=f"read {size.files} files until the context has {instance.partition('-')[0]} tokens, {instance}",
            seed=seed,
            difficulty="easy",
            harness=_HARNESS,
            instructions={
                "": _instruction(size, [file.path for file in files]),
                "open": f"Each file in this workspace has one line with a seal, `seal of NAME: WORD`. {_ANSWERED}",
            },
            verifier=(_ASSETS / "verify.py.txt").read_text(encoding="utf-8"),
            solution={_ANSWER: answer},
            trajectories={
                "oracle": (*_reading(size, files), *_handing_in(answer)),
                "nop": (Step(content="I have read nothing."),),
                "tamper": _tampering(files),
                "placeholder": _handing_in("".join(f"{file.name}: TODO\n" for file in files)),
            },
            workspace={file.path: file.text for file in files},
            hidden={"seals.json": json.dumps({file.name: file.seal for file in files}, indent=1) + "\n"},
        ),
        folder,
    )


def _files(size: Size, random: Random) -> list[_File]:
    words = tomllib.loads((_ASSETS / "words.toml").read_text(encoding="utf-8"))
    names = random.sample(words["names"].split(), size.files)
    first, second = words["seal_first"].split(), words["seal_second"].split()
    files: list[_File] = []
    for number, name in enumerate(names, 1):
        seal = f"{random.choice(first)}-{random.choice(second)}-{random.randrange(100, 1000)}"
        is_log = number % 2 == 1
        lines = _lines(words, size.lines, random, is_log=is_log)
        lines[random.randrange(size.lines)] = f"{'NOTE  ' if is_log else '# '}seal of {name}: {seal}"
        path = f"logs/{number:02d}-{name}.log" if is_log else f"modules/m{number:02d}_{name}.py"
        files.append(_File(path, "\n".join(lines) + "\n", name, seal))
    return files


def _lines(words: dict[str, Any], count: int, random: Random, *, is_log: bool) -> list[str]:
    places, things = words["rooms"].split(), words["things"].split()
    lines: list[str] = []
    for at in range(count):
        place, other = random.sample(places, 2)
        form = random.choice(words["log"]) if is_log else words["code"][at % len(words["code"])]
        line = form.format(
            place=place, other=other, thing=random.choice(things), n=random.randrange(2, 60), m=random.randrange(2, 60)
        )
        lines.append(line)
    return lines


def _reading(size: Size, files: list[_File]) -> list[Step]:
    """Everything in order, so many lines at a time."""
    steps = [Step(content="I read the files one after the other.", calls=(call("list"),))]
    for file in files:
        for first in range(1, size.lines + 1, size.lines_per_read):
            steps.append(Step(calls=(call("read", path=file.path, offset=first, limit=size.lines_per_read),)))
    return steps


def _handing_in(answer: str) -> tuple[Step, ...]:
    return (
        Step(content="These are the seals.", calls=(call("write", path=_ANSWER, content=answer),)),
        Step(calls=(call("submit", message=f"All seals are in {_ANSWER}."),)),
    )


def _tampering(files: list[_File]) -> tuple[Step, ...]:
    """Writes seals of its own into the files instead of reading theirs."""
    writes = tuple(call("write", path=file.path, content=f"seal of {file.name}: easy-answer-100\n") for file in files)
    return (Step(calls=writes), *_handing_in("".join(f"{file.name}: easy-answer-100\n" for file in files)))


_ANSWERED = (
    f"Read all of every file, and write what you found to `{_ANSWER}`, a line `NAME: WORD` for each file. Change"
    " nothing else. Then submit.\n"
)


def _instruction(size: Size, paths: list[str]) -> str:
    listed = "\n".join(f"- `{path}`" for path in paths)
    return (
        f"Read these files in this order, {size.lines_per_read} lines in a call (`offset`, `limit`), each to its end:"
        f"\n\n{listed}\n\nEach has one line with a seal, `seal of NAME: WORD`. {_ANSWERED}"
    )


_HARNESS = Harness(
    scopes=("bounded", "open"),
    tools=("read", "list", "write", "submit"),
    protected=("logs/**", "modules/**"),
    allowed=(_ANSWER,),
    baseline=Baselines(nop=0.0),
)
